//! What can be observed of a supervisor while it works: counters beside it, which outlive it.

use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::state::{LastError, LiveCount, LiveGuard};

/// The call actors of all apps of the process.
#[derive(Clone, Debug)]
pub(crate) struct ProcessCalls {
    live: LiveCount,
    /// How many there may be. Those that a batch starts may exceed it until the batch ends.
    pub(crate) max: usize,
}

impl ProcessCalls {
    pub(crate) fn new(max: usize) -> Self {
        Self { live: LiveCount::default(), max }
    }

    pub(crate) fn live(&self) -> usize {
        self.live.get()
    }
}

/// Counts a call actor, of its app and of the process.
#[derive(Debug)]
pub(crate) struct CallGuard {
    _of_app: LiveGuard,
    _of_process: LiveGuard,
}

/// The counters of one app. Written by the supervisor, its pipeline and its call actors, read by the tenant.
#[derive(Debug)]
pub(crate) struct SupervisorStats {
    /// Batches under way: one or none.
    pub(crate) batches: LiveCount,
    /// Call actors.
    pub(crate) calls: LiveCount,
    /// Call actors of all apps.
    pub(crate) process_calls: ProcessCalls,
    quarantined: AtomicUsize,
    restarts: AtomicUsize,
    last_error: Mutex<Option<LastError>>,
}

impl SupervisorStats {
    pub(crate) fn new(process_calls: ProcessCalls) -> Self {
        Self {
            batches: LiveCount::default(),
            calls: LiveCount::default(),
            process_calls,
            quarantined: AtomicUsize::default(),
            restarts: AtomicUsize::default(),
            last_error: Mutex::default(),
        }
    }

    /// Counts a call actor until the guard is dropped.
    pub(super) fn call_guard(&self) -> CallGuard {
        CallGuard { _of_app: self.calls.guard(), _of_process: self.process_calls.live.guard() }
    }

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
