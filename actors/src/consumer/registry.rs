//! The consumers of an app that this process holds.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::{
    Acked, Consumer, ConsumerKey, CursorStore, JoinError,
    entry::{Entry, StoredState},
    partitions::ReadState,
    progress::Progress,
};
use crate::{
    error::StoreError,
    feed::Batch,
    id::{AppId, Seq, SessionId},
    ports::{Acquire, Acquired, Bounds, EventLog, StoredConsumer, StoredCursor},
};

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
}

impl Consumers {
    pub(crate) fn new(
        app_id: AppId,
        log: Arc<dyn EventLog>,
        connections: Arc<dyn CloseConnection>,
        cursor_store: Arc<CursorStore>,
    ) -> Arc<Self> {
        Arc::new(Self { app_id, log, connections, cursor_store, entries: Mutex::default() })
    }

    /// Returns a consumer's cursor in the store. `None`: there is no consumer of this name.
    pub(crate) async fn cursor(&self, name: &str) -> Result<Option<StoredCursor>, StoreError> {
        self.log.consumer(self.app_id, name).await
    }

    /// Acknowledges everything up to `seq`. Where several connections share the work, it is everything up to there that
    /// was delivered to `connection`. Without connections, the cursor moves as asked. It never goes back.
    ///
    /// # Errors
    /// The store failed.
    pub async fn ack(
        &self,
        name: &str,
        connection: Option<SessionId>,
        seq: Seq,
    ) -> Result<Acked, StoreError> {
        match self.count_ack(name, connection, seq) {
            Some(true) => self.cursor_store.flush(&[self]).await?,
            Some(false) => return Ok(Acked::Ambiguous),
            None => {}
        }
        if self.entries.lock().contains_key(name) {
            return Ok(Acked::Counted);
        }
        // Another process holds it, as the flush may have found out, or none does.
        self.log.advance_consumer(self.app_id, name, seq).await
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
        let _guard = self.cursor_store.lock_shared().await;
        let asked_at = Instant::now();
        let request = Acquire {
            app_id: self.app_id,
            name: &consumer.name,
            mode: consumer.mode,
            start,
            epoch: bounds.epoch,
            head: bounds.head,
            holder: self.cursor_store.holder(),
            held_until: self.cursor_store.lease_end(consumer.mode),
        };
        let (is_current, acked, previous_holder) = match self.log.acquire(request).await? {
            Acquired::Held { is_current, acked, before } => (is_current, acked, before),
            Acquired::Elsewhere => return Err(JoinError::Elsewhere),
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
        // What is known of an earlier epoch says nothing about this one.
        let outdated = match entries.get(&consumer.name) {
            Some(entry) if entry.epoch != bounds.epoch => entries.remove(&consumer.name),
            _ => None,
        };
        let entry = entries
            .entry(consumer.name.clone())
            .or_insert_with(|| Entry::new(Progress::new(consumer.mode, acked), bounds.epoch, is_current));
        let members_before = entry.progress.members();
        entry.progress.join(consumer.mode, member, acked);
        entry.mark_joined();
        let joined = (entry.subscribe(), entry.progress.low_water());
        let members = entry.progress.members();
        drop(entries);
        for member in outdated.map(|entry| entry.progress.members()).unwrap_or_default() {
            self.connections.close_reset(member, "the feed was reset: reconnect");
        }
        for replaced in members_before.into_iter().filter(|member| !members.contains(member)) {
            let reason = "a newer connection of this consumer has taken over";
            self.connections.close_taken_over(replaced, reason);
        }
        joined
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
        entries.get(name).map_or(ReadState::NotMember, |entry| entry.progress.read_state(member))
    }

    /// Leaves in a batch that a connection has read after `from` the events that are delivered to it. `false`: it has to
    /// read again, from elsewhere.
    pub(super) fn deliver(&self, name: &str, member: SessionId, from: Seq, batch: &mut Batch) -> bool {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(name) else { return false };
        let delivered = entry.progress.deliver(member, from, batch);
        drop(entries);
        self.cursor_store.mark_dirty();
        delivered
    }

    /// Counts an acknowledgement. `None`: this process does not hold the consumer; `false`: it names no connection, and
    /// several share the work.
    pub(super) fn count_ack(&self, name: &str, connection: Option<SessionId>, seq: Seq) -> Option<bool> {
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(name)?;
        let counted = entry.progress.ack(connection, seq);
        entry.is_current |= counted.is_some();
        if counted == Some(true) {
            entry.wake();
        }
        drop(entries);
        self.cursor_store.mark_dirty();
        Some(counted.is_some())
    }

    /// Returns the cursors that must be written to the store.
    pub(super) fn due_cursors(&self) -> Vec<StoredConsumer> {
        let now = Instant::now();
        let entries = self.entries.lock();
        let due = entries.iter().filter(|(_, entry)| entry.is_due(now)).map(|(name, entry)| {
            let StoredState { acked, is_current, connections } = entry.state();
            let held_until = self.cursor_store.lease_end(entry.progress.mode());
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

    /// Returns the consumers that this process holds.
    pub(super) fn keys(&self) -> Vec<ConsumerKey> {
        self.entries.lock().keys().map(|name| (self.app_id, name.clone())).collect()
    }

    /// Drops a consumer and closes its connections. The caller holds the lock of the cursor store.
    pub(super) fn evict(&self, name: &str, reason: &str) {
        let entry = self.entries.lock().remove(name);
        for member in entry.map(|entry| entry.progress.members()).unwrap_or_default() {
            self.connections.close_taken_over(member, reason);
        }
    }
}
