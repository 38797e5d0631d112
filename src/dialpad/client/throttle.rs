//! The line to each company: how much it may still carry, and whether it works. All that is asked of Dialpad goes
//! over one of them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use dashmap::DashMap;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::{breaker::Breaker, metrics::Outcome, rate_limit::Allowance, request::ApiRequest};
use crate::dialpad::oauth::access::Access;

/// After how long a line that nobody uses is forgotten. Longer than any limit looks back.
const IDLE: Duration = Duration::from_secs(3600);

/// Whose line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Organization(i64),
    /// Nobody knows yet whose token this is. Only a digest of it is kept.
    Token([u8; 32]),
}

impl Owner {
    fn of(access: &Access) -> Self {
        match access.organization {
            Some(organization) => Self::Organization(organization),
            None => Self::Token(Sha256::digest(access.token.expose_secret().as_bytes()).into()),
        }
    }
}

/// Why a question may not be asked right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// There is no place within the limits before so long.
    NoPlace(Duration),
    /// Dialpad keeps failing.
    CircuitOpen(Duration),
}

/// All lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: DashMap<Owner, Arc<Line>>,
}

impl Lines {
    /// The line of whoever has this right.
    pub(crate) fn of(&self, access: &Access, now: Instant) -> Arc<Line> {
        let owner = Owner::of(access);
        if let Some(line) = self.lines.get(&owner) {
            return Arc::clone(&line);
        }
        self.lines.retain(|_, line| line.lock().used + IDLE > now);
        let line =
            || Arc::new(Line { organization: access.organization, state: Mutex::new(State::new(now)) });
        Arc::clone(&self.lines.entry(owner).or_insert_with(line))
    }
}

/// The line to one company.
#[derive(Debug)]
pub(crate) struct Line {
    organization: Option<i64>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    allowance: Allowance,
    breaker: Breaker,
    used: Instant,
}

impl State {
    fn new(now: Instant) -> Self {
        Self { allowance: Allowance::default(), breaker: Breaker::default(), used: now }
    }
}

impl Line {
    /// Takes a place for a question, if there is one.
    pub(crate) fn take(&self, question: &ApiRequest, now: Instant) -> Result<(), Held> {
        let mut state = self.lock();
        state.used = now;
        if let Some(rest) = state.breaker.rests(now) {
            return Err(Held::CircuitOpen(rest));
        }
        if let Some(wait) = state.allowance.wait(question, now) {
            return Err(Held::NoPlace(wait));
        }
        state.allowance.take(question, now);
        state.breaker.begin(now);
        Ok(())
    }

    /// Dialpad takes no more of these for so long.
    pub(crate) fn close(&self, question: &ApiRequest, rest: Duration, now: Instant) {
        self.lock().allowance.close(question, rest, now);
    }

    /// Notes what became of a question.
    pub(crate) fn note(&self, outcome: Outcome, now: Instant) {
        let mut state = self.lock();
        if !outcome.is_failure() {
            let was_open = !matches!(state.breaker, Breaker::Closed { .. });
            state.breaker.succeed();
            drop(state);
            if was_open {
                info!(organization = self.organization, "Dialpad is back");
            }
            return;
        }
        let opened = state.breaker.fail(now);
        drop(state);
        if opened {
            warn!(organization = self.organization, "Dialpad keeps failing and is left alone for a while");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
