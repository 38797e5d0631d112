//! What can be set of the engine, with the defaults.

use std::time::Duration;

/// Which apps the process works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owned {
    /// All: no other process can.
    AllApps,
    /// Those that [`Engine::own`](crate::Engine::own) names.
    LeasedApps,
}

/// The settings of the engine.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// How many threads the actors share. With none, they share the thread that starts the engine.
    pub threads: usize,
    /// Which apps the process works on. Sessions of the others are served all the same.
    pub owned: Owned,
    /// How often the journal is swept for webhooks whose wake was lost.
    pub sweep_interval: Duration,
    /// How often it is checked which tokens are due.
    pub token_check_interval: Duration,
    /// How long nothing must come of a human call that is over before its end is emitted.
    pub interaction_settle: Duration,
    /// How many webhooks of an app must wait for the next batch to be decided on while one is written.
    pub min_ahead: usize,
    /// How often it is checked which human calls are over.
    pub settle_check_interval: Duration,
    /// How often open sessions are checked.
    pub session_watch_interval: Duration,
    /// How many sessions an app may have.
    pub max_sessions_per_app: usize,
    /// How long a session may take nothing of what it is given.
    pub stuck_session_timeout: Duration,
    /// How many call actors the process keeps. Beyond that, those that have been idle for longest are stopped; their calls
    /// are read from the store when their next webhook comes.
    pub max_call_actors: usize,
    /// How many readers may read old events from the store at a time, so that the store serves the others as well.
    pub max_store_readers: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            threads: 1,
            owned: Owned::AllApps,
            sweep_interval: Duration::from_secs(5),
            token_check_interval: Duration::from_secs(1),
            interaction_settle: Duration::from_secs(10),
            min_ahead: 16,
            settle_check_interval: Duration::from_millis(500),
            session_watch_interval: Duration::from_secs(1),
            max_sessions_per_app: 10_000,
            stuck_session_timeout: Duration::from_secs(60),
            max_call_actors: 10_000,
            max_store_readers: 2,
        }
    }
}
