//! What can be observed of a supervisor while it works: counters beside it, which outlive it.

use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::state::{LastError, LiveCount};

/// The counters of one app. Written by the supervisor, its pipeline and its call actors, read by the tenant.
#[derive(Debug, Default)]
pub(crate) struct SupervisorStats {
    /// Batches under way: one or none.
    pub(crate) batches: LiveCount,
    /// Call actors.
    pub(crate) calls: LiveCount,
    quarantined: AtomicUsize,
    restarts: AtomicUsize,
    last_error: Mutex<Option<LastError>>,
}

impl SupervisorStats {
    pub(super) fn set_quarantined(&self, calls: usize) {
        self.quarantined.store(calls, Ordering::Relaxed);
    }

    pub(crate) fn record_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn record_error(&self, message: impl ToString, at: DateTime<Utc>) {
        *self.last_error.lock() = Some(LastError { message: message.to_string(), at });
    }

    pub(crate) fn quarantined(&self) -> usize {
        self.quarantined.load(Ordering::Relaxed)
    }

    pub(crate) fn restarts(&self) -> usize {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn last_error(&self) -> Option<LastError> {
        self.last_error.lock().clone()
    }
}
