//! Writes the cursors of this process's consumers to the store. `engine::cursor_flush` says when.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tracing::info;

use super::{Consumers, Mode, entry::lease, registry::LOST};
use crate::{
    error::StoreError,
    feed::Announcements,
    id::SessionId,
    ports::{Clock, EventLog},
};

/// What the consumers of all apps share: the way to the store.
pub(crate) struct CursorStore {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    announcements: Arc<Announcements>,
    /// The number of this process. It differs from that of an earlier process, and of those that run beside it.
    holder: i64,
    dirty: Notify,
    /// Locked for writing by what changes which consumers this process holds, for reading while a connection joins one.
    holding: RwLock<()>,
}

impl CursorStore {
    pub(crate) fn new(
        log: Arc<dyn EventLog>,
        clock: Arc<dyn Clock>,
        announcements: Arc<Announcements>,
    ) -> Arc<Self> {
        let holder = SessionId::generate().0.as_u64_pair().1.cast_signed();
        Arc::new(Self { log, clock, announcements, holder, dirty: Notify::new(), holding: RwLock::default() })
    }

    pub(super) fn announcements(&self) -> &Announcements {
        &self.announcements
    }

    pub(super) fn holder(&self) -> i64 {
        self.holder
    }

    /// Returns when a hold that begins now ends, unless it is renewed.
    pub(super) fn lease_end(&self, mode: Mode) -> DateTime<Utc> {
        self.clock.now() + TimeDelta::from_std(lease(mode)).unwrap_or_default()
    }

    /// Records that a cursor must be flushed.
    pub(crate) fn mark_dirty(&self) {
        self.dirty.notify_one();
    }

    /// Waits until a cursor must be flushed.
    pub(crate) async fn dirty(&self) {
        self.dirty.notified().await;
    }

    /// Keeps connections from joining a consumer while the guard is held.
    pub(super) async fn lock_exclusive(&self) -> RwLockWriteGuard<'_, ()> {
        self.holding.write().await
    }

    /// Keeps this process from releasing a consumer while the guard is held.
    pub(super) async fn lock_shared(&self) -> RwLockReadGuard<'_, ()> {
        self.holding.read().await
    }

    /// Writes the cursors of these consumers that have changed. When this returns, they are durable.
    pub(crate) async fn flush(&self, all: &[&Consumers]) -> Result<(), StoreError> {
        let _guard = self.lock_exclusive().await;
        self.flush_exclusive(all).await?;
        self.flush_shared(all).await
    }

    async fn flush_exclusive(&self, all: &[&Consumers]) -> Result<(), StoreError> {
        let mut owners = Vec::new();
        let mut cursors = Vec::new();
        for consumers in all {
            cursors.extend(consumers.due_cursors());
            owners.resize(cursors.len(), *consumers);
        }
        if cursors.is_empty() {
            return Ok(());
        }
        let held: HashSet<_> = self.log.save_cursors(self.holder, &cursors).await?.into_iter().collect();
        for (consumers, cursor) in owners.into_iter().zip(cursors) {
            if held.contains(&(cursor.app_id, cursor.name.clone())) {
                consumers.mark_stored(&cursor);
            } else {
                consumers.evict(&cursor.name, LOST);
            }
        }
        Ok(())
    }

    /// Writes what this process has of the consumers that are shared: in one statement, as far as no other process was faster.
    async fn flush_shared(&self, all: &[&Consumers]) -> Result<(), StoreError> {
        let (mut owners, mut stored, mut saves, mut behind) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for consumers in all {
            let (due, unknown) = consumers.due_saves();
            for (form, save) in due {
                owners.push(*consumers);
                stored.push(form);
                saves.push(save);
            }
            behind.extend(unknown.into_iter().map(|name| (*consumers, name)));
        }
        if !stored.is_empty() {
            let saved = self.log.save_sharings(&stored).await;
            let all = owners.into_iter().zip(stored).zip(saves);
            match saved {
                Ok(saved) => {
                    let saved: HashSet<_> = saved.into_iter().collect();
                    for ((consumers, form), save) in all {
                        if saved.contains(&(form.app_id, form.name.clone())) {
                            consumers.adopt(&form.name, form.version, save);
                        } else {
                            behind.push((consumers, form.name));
                        }
                    }
                }
                Err(failure) => {
                    all.for_each(|((consumers, form), _)| consumers.mark_failed(&form.name));
                    return Err(failure);
                }
            }
        }
        for (consumers, name) in behind {
            consumers.sync(&name, None).await?;
        }
        Ok(())
    }

    /// Releases the consumers that another process has taken over or removed.
    pub(crate) async fn evict_lost(&self, all: &[Arc<Consumers>]) -> Result<(), StoreError> {
        if all.is_empty() {
            return Ok(());
        }
        let _guard = self.lock_exclusive().await;
        let held: HashSet<_> = self.log.held_by(self.holder).await?.into_iter().collect();
        for consumers in all {
            for key in consumers.exclusive_keys().into_iter().filter(|key| !held.contains(key)) {
                let (app_id, name) = key;
                info!(app.id = %app_id, consumer = name, "this process no longer holds a consumer");
                consumers.evict(&name, LOST);
            }
        }
        Ok(())
    }
}
