//! Rate limit and circuit breaker of each company. Every request to Dialpad passes through one of them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dashmap::DashMap;
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::{breaker::Breaker, metrics::Outcome, rate_limit::DialpadLimits, request::ApiRequest};
use crate::dialpad::oauth::access::Access;

/// How long an unused throttle is kept. Longer than any rate limit looks back.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// What a throttle belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Organization(i64),
    /// The SHA-256 of a token whose organization is not known yet.
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

/// Why a request may not be sent now; each says after which time it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// It would exceed Dialpad's rate limits.
    RateLimited(Duration),
    /// Dialpad keeps failing.
    CircuitOpen(Duration),
}

/// The throttles of all companies.
#[derive(Debug, Default)]
pub(crate) struct OrgThrottles {
    throttles: DashMap<Owner, Arc<OrgThrottle>>,
}

impl OrgThrottles {
    /// Returns the throttle for requests with this access.
    pub(crate) fn of(&self, access: &Access, now: Instant) -> Arc<OrgThrottle> {
        let owner = Owner::of(access);
        if let Some(throttle) = self.throttles.get(&owner) {
            return Arc::clone(&throttle);
        }
        self.throttles.retain(|_, throttle| throttle.state.lock().used_at + IDLE_TIMEOUT > now);
        let new = || Arc::new(OrgThrottle::new(access.organization, now));
        Arc::clone(&self.throttles.entry(owner).or_insert_with(new))
    }
}

/// The throttle of one company.
#[derive(Debug)]
pub(crate) struct OrgThrottle {
    organization: Option<i64>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rate_limits: DialpadLimits,
    breaker: Breaker,
    used_at: Instant,
}

impl OrgThrottle {
    fn new(organization: Option<i64>, now: Instant) -> Self {
        let state =
            State { rate_limits: DialpadLimits::default(), breaker: Breaker::default(), used_at: now };
        Self { organization, state: Mutex::new(state) }
    }

    /// Counts a request that is about to be sent, unless it is rejected.
    pub(crate) fn acquire(&self, request: &ApiRequest, now: Instant) -> Result<(), Rejected> {
        let mut state = self.state.lock();
        state.used_at = now;
        if let Some(pause) = state.breaker.pause(now) {
            return Err(Rejected::CircuitOpen(pause));
        }
        if let Some(wait) = state.rate_limits.wait(request, now) {
            return Err(Rejected::RateLimited(wait));
        }
        state.rate_limits.take(request, now);
        state.breaker.begin(now);
        Ok(())
    }

    /// Records that Dialpad answered 429 and takes no more such requests for this time.
    pub(crate) fn close(&self, request: &ApiRequest, pause: Duration, now: Instant) {
        self.state.lock().rate_limits.close(request, pause, now);
    }

    /// Records the result of a request.
    pub(crate) fn record(&self, outcome: Outcome, now: Instant) {
        let mut state = self.state.lock();
        if !outcome.is_failure() {
            let was_open = !matches!(state.breaker, Breaker::Closed { .. });
            state.breaker.succeed();
            drop(state);
            if was_open {
                info!(organization = self.organization, "Dialpad works again");
            }
            return;
        }
        let has_opened = state.breaker.fail(now);
        drop(state);
        if has_opened {
            warn!(
                organization = self.organization,
                "Dialpad keeps failing; no requests are sent for a while"
            );
        }
    }
}
