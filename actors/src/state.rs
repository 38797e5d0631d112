//! What can be observed of the running engine: a snapshot of counters, cheap to take and never waited for.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::id::AppId;

/// The state of the engine of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EngineState {
    /// The apps that this process has had work for, by id.
    pub apps: Vec<SupervisorState>,
    /// How many sessions are open.
    pub sessions: usize,
    /// How many named consumers this process holds.
    pub consumers: usize,
    /// The renewal of tokens.
    pub token_refresher: TokenRefresherState,
}

impl EngineState {
    /// Whether no app has a batch under way or webhooks in memory, and no tokens are being renewed. Webhooks may be
    /// pending in the journal.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let is_busy = |app: &SupervisorState| app.batch_in_progress || app.inbox > 0;
        !self.apps.iter().any(is_busy) && self.token_refresher.renewals_in_progress == 0
    }
}

/// The state of one app's supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SupervisorState {
    /// The app.
    pub app_id: AppId,
    /// Whether this process processes the webhooks of the app.
    pub owned: bool,
    /// Whether a batch of webhooks is under way, or about to begin.
    pub batch_in_progress: bool,
    /// How many webhooks wait in memory. More may be pending in the journal.
    pub inbox: usize,
    /// How many call actors are live: one per call with recent webhooks.
    pub live_calls: usize,
    /// How often the supervisor has died and was started again.
    pub restarts: usize,
    /// How many calls have their webhooks applied one at a time, because their actor died over several.
    pub quarantined: usize,
    /// How many sessions of the app are open.
    pub sessions: usize,
    /// The last error of the supervisor.
    pub last_error: Option<LastError>,
}

/// The state of the token refresher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenRefresherState {
    /// How many tokens are being renewed.
    pub renewals_in_progress: usize,
    /// How often the refresher has died and was started again.
    pub restarts: usize,
    /// The last error of the refresher.
    pub last_error: Option<LastError>,
}

/// An error and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LastError {
    /// The error.
    pub message: String,
    /// When it occurred.
    pub at: DateTime<Utc>,
}

/// Counts what exists at a moment: one for each [`LiveGuard`] that is not dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveCount(Arc<AtomicUsize>);

impl LiveCount {
    pub(crate) fn guard(&self) -> LiveGuard {
        self.0.fetch_add(1, Ordering::AcqRel);
        LiveGuard(Arc::clone(&self.0))
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// Counts until it is dropped, which also happens when its owner panics.
#[derive(Debug)]
pub(crate) struct LiveGuard(Arc<AtomicUsize>);

impl Drop for LiveGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
