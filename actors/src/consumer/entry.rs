//! One consumer that this process holds.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use super::{Mode, progress::Progress};
use crate::id::{Epoch, Seq};

/// How long the store believes that the connections of a shared consumer are open without hearing of them again. For what is
/// shown only: when a process goes on for another one, [`shared`](super::shared) says.
const SHARE_LEASE: Duration = Duration::from_secs(4);
/// The same of a single connection.
const EXCLUSIVE_LEASE: Duration = Duration::from_secs(40);

/// One consumer that this process holds.
pub(super) struct Entry {
    pub(super) progress: Progress,
    /// The epoch that its progress belongs to.
    pub(super) epoch: Epoch,
    /// Whether it has acknowledged something in this epoch. Until then the store keeps its cursor of the epoch before, so that
    /// its next connection gets a gap as well.
    pub(super) is_current: bool,
    /// Wakes connections that wait for something else than events.
    changed: watch::Sender<()>,
    /// When a connection last joined, after the store had confirmed the holder.
    joined_at: Instant,
    /// What the store has; `None`: that is not known.
    stored: Option<StoredState>,
    /// When the lease in the store must be renewed.
    renew_at: Instant,
}

/// What the store has of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredState {
    pub(super) acked: Seq,
    pub(super) is_current: bool,
    pub(super) connections: usize,
}

impl Entry {
    pub(super) fn new(progress: Progress, epoch: Epoch, is_current: bool) -> Self {
        let now = Instant::now();
        let changed = watch::channel(()).0;
        Self { progress, epoch, is_current, changed, joined_at: now, stored: None, renew_at: now }
    }

    pub(super) fn joined_before(&self, instant: Instant) -> bool {
        self.joined_at < instant
    }

    /// Wakes the connections: one of them may have something new to read.
    pub(super) fn wake(&self) {
        self.changed.send_replace(());
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn state(&self) -> StoredState {
        let (acked, connections) = (self.progress.low_water(), self.progress.members().len());
        StoredState { acked, is_current: self.is_current, connections }
    }

    /// Whether the cursor of an exclusive consumer must be written: the store has something else, or the lease must be renewed.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        if matches!(self.progress, Progress::Shared(_)) {
            return false;
        }
        let state = self.state();
        self.stored != Some(state) || (state.connections > 0 && now >= self.renew_at)
    }

    /// Records what was written to the store. Returns whether the entry can be dropped, because the store has all of it.
    pub(super) fn mark_stored(&mut self, stored: StoredState) -> bool {
        self.stored = Some(stored);
        self.renew_at = Instant::now() + EXCLUSIVE_LEASE / 4;
        let state = self.state();
        state.connections == 0 && state == stored
    }
}

/// Returns how long the store believes that a consumer's connections are open.
pub(super) fn lease(mode: Mode) -> Duration {
    match mode {
        Mode::Exclusive => EXCLUSIVE_LEASE,
        Mode::Share => SHARE_LEASE,
    }
}
