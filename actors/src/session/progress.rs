//! Whether a client takes what it is sent, seen from outside: a session whose socket is full does not run, so it can't
//! notice itself.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// The progress of the deliveries of one session.
#[derive(Debug, Default)]
pub(super) struct DeliveryProgress {
    /// When the batch was sent that has not been taken yet, and how many bytes it has.
    sent: Mutex<Option<(Instant, usize)>>,
    /// Whether the session was closed because of it.
    is_stalled: AtomicBool,
}

impl DeliveryProgress {
    /// Records that a batch of so many bytes was sent.
    pub(super) fn sent(&self, bytes: usize) {
        *self.sent.lock() = Some((Instant::now(), bytes));
    }

    /// Records that the batch before was taken.
    pub(super) fn taken(&self) {
        *self.sent.lock() = None;
    }

    /// Returns for how long the batch that was sent last has not been taken.
    pub(super) fn stalled_for(&self) -> Duration {
        self.sent.lock().map_or(Duration::ZERO, |(sent_at, _)| sent_at.elapsed())
    }

    /// Returns how many bytes were sent and not taken yet.
    pub(super) fn queued_bytes(&self) -> usize {
        self.sent.lock().map_or(0, |(_, bytes)| bytes)
    }

    /// Records that the session is closed because of it. Returns whether that is new.
    pub(super) fn mark_stalled(&self) -> bool {
        !self.is_stalled.swap(true, Ordering::Relaxed)
    }

    /// Whether the session was closed because of it, even if the close code could not be sent any more.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::Relaxed)
    }
}
