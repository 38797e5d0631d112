//! What can be set of the engine, and how it is set if nobody says otherwise.

use std::time::Duration;

/// How the engine runs.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// How many threads the actors share.
    pub threads: usize,
    /// How often the journal is looked through for webhooks that nobody was woken for.
    pub sweep_interval: Duration,
    /// How often tokens are looked for that are due.
    pub token_check_interval: Duration,
    /// How often open sessions are looked after.
    pub session_watch_interval: Duration,
    /// How many sessions an app may have.
    pub max_sessions_per_app: usize,
    /// How long a session may take nothing of what it is given.
    pub stuck_session_timeout: Duration,
    /// How many readers may read the past from the store at a time, so that everybody else still gets to it.
    pub max_store_readers: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            threads: 1,
            sweep_interval: Duration::from_secs(5),
            token_check_interval: Duration::from_secs(1),
            session_watch_interval: Duration::from_secs(1),
            max_sessions_per_app: 10_000,
            stuck_session_timeout: Duration::from_secs(60),
            max_store_readers: 2,
        }
    }
}
