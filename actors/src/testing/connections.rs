//! Connections in memory, and a Dialpad that answers as a test wants.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::{ManualClock, MemoryStore};
use crate::{
    clock::Clock,
    error::StoreError,
    event::{ConnectionEvent, Frame, connection_event},
    id::AppId,
    model::token::{
        DuePair, Outcome, TokenPair,
        schedule::{self, Jitter},
    },
    ports::{Connections, Ledger, Renewal},
    unit::Unit,
};

/// Connections in memory.
pub struct MemoryConnections {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    state: Mutex<State>,
    /// Whether Dialpad holds its answers back.
    holding: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    connections: BTreeMap<AppId, Connection>,
    /// What Dialpad answers next; by default it renews.
    answers: VecDeque<Answer>,
    asked: usize,
    panics: usize,
}

#[derive(Clone, Copy)]
struct Connection {
    generation: i64,
    life: TimeDelta,
    due_at: Option<DateTime<Utc>>,
    failures: u32,
}

/// What Dialpad answers.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// A new pair.
    Tokens,
    /// The refresh token is invalid.
    Refusal,
    /// Any other failure.
    Trouble,
}

impl MemoryConnections {
    /// Returns a port without connections.
    #[must_use]
    pub fn new(store: Arc<MemoryStore>, clock: Arc<ManualClock>) -> Arc<Self> {
        let (holding, _) = watch::channel(false);
        Arc::new(Self { store, clock, state: Mutex::default(), holding })
    }

    /// Connects an app with tokens of this lifetime.
    pub fn connect(&self, app: AppId, life: TimeDelta) -> TokenPair {
        let now = self.clock.now();
        let due_at = Some(schedule::due(now, now + life, middle()));
        let connection = Connection { generation: 1, life, due_at, failures: 0 };
        self.state().connections.insert(app, connection);
        TokenPair { app_id: app, generation: 1 }
    }

    /// Adds an answer of Dialpad, after those added before.
    pub fn answer(&self, answer: Answer) {
        self.state().answers.push_back(answer);
    }

    /// Holds the answers of Dialpad back, or releases them.
    pub fn hold(&self, holding: bool) {
        self.holding.send_replace(holding);
    }

    /// Makes the next renewal panic, as a bug would.
    pub fn panic_next(&self) {
        self.state().panics += 1;
    }

    /// Returns how often Dialpad was asked for tokens.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.state().asked
    }

    /// Returns the generation of an app's current pair.
    #[must_use]
    pub fn generation(&self, app: AppId) -> Option<i64> {
        self.state().connections.get(&app).map(|connection| connection.generation)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    async fn emit(&self, app: AppId, change: ConnectionEvent<'_>) -> Result<Vec<Frame>, StoreError> {
        let now = self.clock.now();
        let event = connection_event(app, change, "sandbox", Some(1), now);
        let unit = Unit { events: vec![event.clone()], ..Unit::new(app, now) };
        let receipt = self.store.commit(Arc::new(unit)).await?;
        Ok(vec![Frame::new(receipt.last_seq_before.next(), &event)])
    }
}

fn middle() -> Jitter {
    Jitter::of(1000)
}

#[async_trait]
impl Connections for MemoryConnections {
    async fn due(&self, until: DateTime<Utc>, limit: usize) -> Result<Vec<DuePair>, StoreError> {
        let state = self.state();
        let due = state.connections.iter().filter_map(|(app, it)| {
            let pair = TokenPair { app_id: *app, generation: it.generation };
            Some(DuePair { pair, at: it.due_at.filter(|at| *at <= until)? })
        });
        Ok(due.take(limit).collect())
    }

    async fn renew(&self, pair: TokenPair) -> Result<Renewal, StoreError> {
        let app = pair.app_id;
        {
            let mut state = self.state();
            if std::mem::take(&mut state.panics) > 0 {
                drop(state);
                panic!("a renewal that panics on purpose");
            }
            let current = state.connections.get(&app).copied();
            let Some(current) = current.filter(|it| it.generation == pair.generation) else {
                return Ok(Outcome::Superseded.into());
            };
            if current.failures > 0
                && let Some(until) = current.due_at.filter(|at| *at > self.clock.now())
            {
                return Ok(Outcome::TooSoon { until, reason: "trouble".into() }.into());
            }
            state.asked += 1;
        }
        // An error means that the test is over.
        let _ = self.holding.subscribe().wait_for(|holding| !holding).await;
        let now = self.clock.now();
        let (outcome, change) = {
            let mut state = self.state();
            let answer = state.answers.pop_front().unwrap_or(Answer::Tokens);
            let Some(connection) = state.connections.get_mut(&app) else {
                return Ok(Outcome::Superseded.into());
            };
            match answer {
                Answer::Tokens => {
                    let recovered = connection.failures > 0;
                    let due_at = schedule::due(now, now + connection.life, middle());
                    connection.generation += 1;
                    (connection.due_at, connection.failures) = (Some(due_at), 0);
                    (Outcome::Renewed, recovered.then_some(ConnectionEvent::Recovered))
                }
                Answer::Refusal => {
                    connection.due_at = None;
                    (Outcome::Expired, Some(ConnectionEvent::Expired))
                }
                Answer::Trouble => {
                    connection.failures += 1;
                    let backoff = schedule::backoff(connection.failures, None, middle());
                    connection.due_at = Some(now + backoff);
                    let first = connection.failures == 1;
                    (
                        Outcome::Failed("trouble".into()),
                        first.then_some(ConnectionEvent::Degraded { reason: "trouble" }),
                    )
                }
            }
        };
        let events = match change {
            Some(change) => self.emit(app, change).await?,
            None => Vec::new(),
        };
        Ok(Renewal { outcome, events })
    }
}
