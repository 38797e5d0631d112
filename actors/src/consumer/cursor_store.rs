//! Keeps in the store where the consumers of this process stand. Acknowledgements are many and cheap: the first one
//! after a quiet time is kept at once, and what comes while that is written is kept together, a moment later.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::{
    sync::{Notify, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Instant,
};
use tracing::info;

use super::{Consumers, Entry, Mode};
use crate::{
    error::StoreError,
    id::{Seq, SessionId},
    ports::{Clock, EventLog, StoredConsumer},
};

/// How long the store believes that connections are here when it does not hear of them: where they share the work,
/// another process waits for that.
const SHARE_LEASE: Duration = Duration::from_secs(4);
/// The same of a single connection, for which nobody waits.
const LEASE: Duration = Duration::from_secs(40);
/// What those hear whose consumer is lost to this process.
const LOST: &str = "another server has taken the consumer over, or it was deleted";

/// What the store has of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    acked: Seq,
    connections: usize,
}

/// What the consumers of all apps have in common: the way to the store.
pub(crate) struct CursorStore {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    /// This process, among those that share the store.
    holder: i64,
    dirty: Notify,
    /// Written to by whoever changes what this process holds, read by those who enter it meanwhile.
    turn: RwLock<()>,
}

impl CursorStore {
    pub(crate) fn new(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> Arc<Self> {
        // A process is told from an earlier one that has died as from one that runs beside it.
        let holder = SessionId::generate().0.as_u64_pair().1.cast_signed();
        Arc::new(Self { log, clock, holder, dirty: Notify::new(), turn: RwLock::default() })
    }

    pub(super) fn holder(&self) -> i64 {
        self.holder
    }

    /// Until when the store believes that the connections of a consumer are here.
    pub(super) fn lease(&self, mode: Mode) -> chrono::DateTime<chrono::Utc> {
        self.clock.now() + TimeDelta::from_std(lease(mode)).unwrap_or_default()
    }

    /// Says that there is something to keep.
    pub(crate) fn notify(&self) {
        self.dirty.notify_one();
    }

    /// Waits until there is something to keep.
    pub(crate) async fn dirty(&self) {
        self.dirty.notified().await;
    }

    /// Nobody enters a consumer while this is held.
    pub(super) async fn turn(&self) -> RwLockWriteGuard<'_, ()> {
        self.turn.write().await
    }

    /// Nothing of what this process holds is let go of while this is held.
    pub(super) async fn entering(&self) -> RwLockReadGuard<'_, ()> {
        self.turn.read().await
    }

    /// Keeps where these consumers stand. When this returns, it is durable.
    pub(crate) async fn keep(&self, all: &[&Consumers]) -> Result<(), StoreError> {
        let _turn = self.turn().await;
        let (mut owners, mut cursors) = (Vec::new(), Vec::new());
        for of_app in all {
            cursors.extend(of_app.to_be_kept(self));
            owners.resize(cursors.len(), *of_app);
        }
        if cursors.is_empty() {
            return Ok(());
        }
        let kept: HashSet<_> = self.log.keep_consumers(self.holder, &cursors).await?.into_iter().collect();
        for (of_app, cursor) in owners.into_iter().zip(cursors) {
            if kept.contains(&(cursor.app_id, cursor.name.clone())) {
                of_app.was_kept(&cursor);
            } else {
                of_app.forget(&cursor.name, LOST);
            }
        }
        Ok(())
    }

    /// Lets go of what another process has taken over, or has removed.
    pub(crate) async fn evict_lost(&self, all: &[Arc<Consumers>]) -> Result<(), StoreError> {
        if all.is_empty() {
            return Ok(());
        }
        let _turn = self.turn().await;
        let held: HashSet<_> = self.log.consumers_of(self.holder).await?.into_iter().collect();
        for of_app in all {
            let names: Vec<String> = of_app.lock().keys().cloned().collect();
            for name in names {
                if !held.contains(&(of_app.app, name.clone())) {
                    info!(app.id = %of_app.app, consumer = name, "a consumer is no longer held here");
                    of_app.forget(&name, LOST);
                }
            }
        }
        Ok(())
    }
}

impl Consumers {
    /// What the store has otherwise, or is to hear of again.
    fn to_be_kept(&self, cursor_store: &CursorStore) -> Vec<StoredConsumer> {
        let now = Instant::now();
        let entries = self.lock();
        let standing = entries.iter().map(|(name, entry)| (name, entry, entry.stands()));
        let due = standing.filter(|(_, entry, is)| {
            entry.kept != Some(*is) || (is.connections > 0 && now >= entry.renew_at)
        });
        let due = due.map(|(name, entry, is)| StoredConsumer {
            app_id: self.app,
            name: name.clone(),
            acked: is.acked,
            connections: is.connections,
            held_until: cursor_store.lease(entry.progress.mode()),
        });
        due.collect()
    }

    /// This is in the store now. What nobody has to know any more is forgotten.
    fn was_kept(&self, kept: &StoredConsumer) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(&kept.name) else { return };
        entry.kept = Some(Kept { acked: kept.acked, connections: kept.connections });
        entry.renew_at = Instant::now() + lease(entry.progress.mode()) / 4;
        let is = entry.stands();
        if is.connections == 0 && entry.kept == Some(is) && !entry.progress.is_uneven() {
            entries.remove(&kept.name);
        }
    }
}

impl Entry {
    fn stands(&self) -> Kept {
        Kept { acked: self.progress.low_water(), connections: self.progress.members().len() }
    }
}

fn lease(mode: Mode) -> Duration {
    match mode {
        Mode::Exclusive => LEASE,
        Mode::Share => SHARE_LEASE,
    }
}
