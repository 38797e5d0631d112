//! The consumers of an app that this process holds, or shares with others.

mod acks;
mod shared;

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::{
    Consumer, ConsumerKey, CursorStore, JoinError, Mode,
    entry::{Entry, StoredState},
    exclusive::Exclusive,
    partitions::ReadState,
    progress::{Counted, Progress},
};
use crate::{
    error::StoreError,
    feed::Batch,
    id::{AppId, Seq, SessionId},
    ports::{Acquire, Acquired, Bounds, EventLog, StoredConsumer, StoredCursor},
};

/// The close reasons for connections.
const TAKEN_OVER: &str = "a newer connection of this consumer has taken over";
const CLOSED_BY_RESET: &str = "the feed was reset: reconnect";
/// This process has lost the consumer.
pub(super) const LOST: &str = "another server has taken the consumer over, or it was deleted";

/// Closes the connections of consumers. The sessions of an app implement it.
pub(crate) trait CloseConnection: Send + Sync + 'static {
    /// Closes a connection that is no longer its consumer's.
    fn close_taken_over(&self, connection: SessionId, reason: &str);

    /// Closes a connection whose feed was reset: its consumer goes on with the next connection.
    fn close_reset(&self, connection: SessionId, reason: &str);
}

/// The consumers of one app.
pub struct Consumers {
    app_id: AppId,
    log: Arc<dyn EventLog>,
    connections: Arc<dyn CloseConnection>,
    cursor_store: Arc<CursorStore>,
    entries: Mutex<HashMap<String, Entry>>,
    /// Held while what is shared is brought into agreement with the store, unless the lock of the cursor store is.
    syncing: tokio::sync::Mutex<()>,
}

impl Consumers {
    pub(crate) fn new(
        app_id: AppId,
        log: Arc<dyn EventLog>,
        connections: Arc<dyn CloseConnection>,
        cursor_store: Arc<CursorStore>,
    ) -> Arc<Self> {
        Arc::new(Self {
            app_id,
            log,
            connections,
            cursor_store,
            entries: Mutex::default(),
            syncing: tokio::sync::Mutex::default(),
        })
    }

    /// Returns a consumer's cursor in the store. `None`: there is no consumer of this name.
    pub(crate) async fn cursor(&self, name: &str) -> Result<Option<StoredCursor>, StoreError> {
        self.log.consumer(self.app_id, name).await
    }

    /// Removes a consumer and closes its connections. `false`: there is no consumer of this name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn remove(&self, name: &str) -> Result<bool, StoreError> {
        // An unavailable store is noticed before waiting for the lock.
        if self.log.consumer(self.app_id, name).await?.is_none() {
            return Ok(false);
        }
        // Nothing of it is flushed meanwhile: that would move the cursor of the next consumer of this name.
        let _guard = self.cursor_store.lock_exclusive().await;
        let existed = self.log.remove_consumer(self.app_id, name).await?;
        self.evict(name, "the consumer was deleted");
        Ok(existed)
    }

    /// Returns how many consumers this process holds.
    pub(crate) fn held(&self) -> usize {
        self.entries.lock().len()
    }

    /// Whether this process holds none of them.
    pub(crate) fn is_idle(&self) -> bool {
        self.entries.lock().is_empty()
    }

    /// Makes a connection one of a consumer's. Returns what wakes the connection, and the cursor.
    pub(super) async fn join(
        &self,
        consumer: &Consumer,
        member: SessionId,
        start: Seq,
        bounds: Bounds,
    ) -> Result<(watch::Receiver<()>, Seq), JoinError> {
        if consumer.mode == Mode::Share {
            return self.join_shared(consumer, member, start, bounds).await;
        }
        if self.mode_here(&consumer.name) == Some(Mode::Share) {
            // What its connections have acknowledged counts.
            self.cursor_store.flush(&[self]).await?;
        }
        let _guard = self.cursor_store.lock_shared().await;
        let asked_at = Instant::now();
        let request = Acquire {
            app_id: self.app_id,
            name: &consumer.name,
            start,
            epoch: bounds.epoch,
            head: bounds.head,
            holder: self.cursor_store.holder(),
            held_until: self.cursor_store.lease_end(consumer.mode),
        };
        let (is_current, acked, previous_holder) = match self.log.acquire(request).await? {
            Acquired::Held { is_current, acked, before } => (is_current, acked, before),
            Acquired::TooMany => return Err(JoinError::TooMany),
        };
        if previous_holder != Some(self.cursor_store.holder()) {
            self.evict_older(&consumer.name, asked_at);
        }
        // Events that are no longer kept need no acknowledgement.
        let acked = acked.max(Seq(bounds.oldest.0 - 1));
        let joined = self.enter(consumer, member, (acked, is_current), bounds);
        self.cursor_store.mark_dirty();
        Ok(joined)
    }

    /// Drops what this process knows of a consumer from before another one held it, unless a connection has joined since.
    fn evict_older(&self, name: &str, asked_at: Instant) {
        let is_older = self.entries.lock().get(name).is_some_and(|entry| entry.joined_before(asked_at));
        if is_older {
            self.evict(name, "the consumer was taken over meanwhile");
        }
    }

    fn enter(
        &self,
        consumer: &Consumer,
        member: SessionId,
        (acked, is_current): (Seq, bool),
        bounds: Bounds,
    ) -> (watch::Receiver<()>, Seq) {
        let mut entries = self.entries.lock();
        let mut exclusive = Exclusive::new(acked);
        let mut is_current = is_current;
        let replaced = entries.remove(&consumer.name);
        let mut reason = TAKEN_OVER;
        match &replaced {
            // What is known of an earlier epoch says nothing about this one.
            Some(entry) if entry.epoch != bounds.epoch => reason = CLOSED_BY_RESET,
            Some(Entry { progress: Progress::Exclusive(before), is_current: was_current, .. }) => {
                exclusive = before.clone();
                is_current |= *was_current;
            }
            _ => {}
        }
        exclusive.join(member, acked);
        let entry = Entry::new(Progress::Exclusive(exclusive), bounds.epoch, is_current);
        let joined = (entry.subscribe(), entry.progress.low_water());
        entries.insert(consumer.name.clone(), entry);
        drop(entries);
        if let Some(replaced) = replaced {
            self.close_members(&replaced, reason);
        }
        joined
    }

    fn close_members(&self, entry: &Entry, reason: &str) {
        for member in entry.progress.members() {
            if reason == CLOSED_BY_RESET {
                self.connections.close_reset(member, reason);
            } else {
                self.connections.close_taken_over(member, reason);
            }
        }
    }

    pub(super) fn leave(&self, name: &str, member: SessionId) {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get_mut(name)
            && entry.progress.leave(member)
        {
            entry.wake();
        }
        drop(entries);
        self.cursor_store.mark_dirty();
    }

    pub(super) fn read_state(&self, name: &str, member: SessionId) -> ReadState {
        let entries = self.entries.lock();
        let now = Instant::now();
        entries.get(name).map_or(ReadState::NotMember, |entry| entry.progress.read_state(member, now))
    }

    /// Leaves in a batch that a connection has read after `from` the events that are delivered to it. `false`: it has to
    /// read again, from elsewhere.
    pub(super) fn deliver(&self, name: &str, member: SessionId, from: Seq, batch: &mut Batch) -> bool {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(name) else { return false };
        let delivered = entry.progress.deliver(member, from, batch, Instant::now());
        drop(entries);
        self.cursor_store.mark_dirty();
        delivered
    }

    /// Counts an acknowledgement. `None`: this process does not hold the consumer.
    pub(super) fn count_ack(&self, name: &str, connection: Option<SessionId>, seq: Seq) -> Option<Counted> {
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(name)?;
        let counted = entry.progress.ack(connection, seq);
        entry.is_current |= counted != Counted::NotHere;
        if counted == (Counted::Yes { has_more: true }) {
            entry.wake();
        }
        drop(entries);
        self.cursor_store.mark_dirty();
        Some(counted)
    }

    /// Returns the cursors that must be written to the store.
    pub(super) fn due_cursors(&self) -> Vec<StoredConsumer> {
        let now = Instant::now();
        let entries = self.entries.lock();
        let due = entries.iter().filter(|(_, entry)| entry.is_due(now)).map(|(name, entry)| {
            let StoredState { acked, is_current, connections } = entry.state();
            let held_until = self.cursor_store.lease_end(Mode::Exclusive);
            let (app_id, name, epoch) = (self.app_id, name.clone(), is_current.then_some(entry.epoch));
            StoredConsumer { app_id, name, acked, epoch, connections, held_until }
        });
        due.collect()
    }

    /// Records that a cursor is in the store.
    pub(super) fn mark_stored(&self, stored: &StoredConsumer) {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(&stored.name) else { return };
        let StoredConsumer { acked, epoch, connections, .. } = *stored;
        if entry.mark_stored(StoredState { acked, is_current: epoch.is_some(), connections }) {
            entries.remove(&stored.name);
        }
    }

    /// Returns the consumers that this process holds alone.
    pub(super) fn exclusive_keys(&self) -> Vec<ConsumerKey> {
        let entries = self.entries.lock();
        let exclusive = entries.iter().filter(|(_, entry)| entry.progress.mode() == Mode::Exclusive);
        exclusive.map(|(name, _)| (self.app_id, name.clone())).collect()
    }

    /// Drops a consumer and closes its connections. The caller holds the lock of the cursor store.
    pub(super) fn evict(&self, name: &str, reason: &str) {
        let entry = self.entries.lock().remove(name);
        if let Some(entry) = entry {
            self.close_members(&entry, reason);
        }
    }
}
