//! How a supervisor continues after a batch.

use std::time::Duration;

/// How long the work of an app pauses when the database is unavailable.
pub(super) const STORE_BACKOFF: Duration = Duration::from_millis(500);

/// What a supervisor does after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    /// Take the next batch at once.
    Again,
    /// Wait for a wake: nothing is pending.
    Idle,
    /// Take no batch any more: another process owns the app.
    End,
    /// Take the next batch after this time: something outside is wrong.
    After(Duration),
}
