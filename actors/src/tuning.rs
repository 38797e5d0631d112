//! What can be set of the engine, and how it is set if nobody says otherwise.

use std::time::Duration;

/// How the engine runs.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// How many threads the actors share.
    pub threads: usize,
    /// How often the journal is looked through for webhooks that nobody was woken for.
    pub sweep_every: Duration,
    /// How often tokens are looked for that are due.
    pub tend_every: Duration,
    /// How often open sessions are looked after.
    pub watch_every: Duration,
    /// How many sessions an app may have.
    pub sessions_per_app: usize,
    /// How long a session may take nothing of what it is given.
    pub stuck_after: Duration,
    /// How many readers may read the past from the store at a time, so that everybody else still gets to it.
    pub readers_of_the_past: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            threads: 1,
            sweep_every: Duration::from_secs(5),
            tend_every: Duration::from_secs(1),
            watch_every: Duration::from_secs(1),
            sessions_per_app: 10_000,
            stuck_after: Duration::from_secs(60),
            readers_of_the_past: 2,
        }
    }
}
