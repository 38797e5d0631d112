//! Consumers whose connections share the work: joining one, and keeping the store and this process in agreement.

use tokio::{sync::watch, time::Instant};

use super::{CLOSED_BY_RESET, Consumers, LOST, TAKEN_OVER};
use crate::{
    consumer::{
        Consumer, JoinError, Mode,
        entry::Entry,
        progress::Progress,
        shared::{Save, Shared},
    },
    error::StoreError,
    id::{Seq, SessionId},
    model::sharing::Sharing,
    ports::{Bounds, SharingSave, StoredSharing},
};

/// How often a save is tried again that another process was faster than.
const MAX_TRIES: usize = 10;

/// What to do with a consumer, as the store was found to have it.
enum Found {
    Save(Save),
    /// It is no longer this process's, for this reason.
    Lost(&'static str),
    /// The feed was reset.
    Reset,
    /// This process has none of it.
    Gone,
}

impl Consumers {
    /// Makes a connection one of those that share a consumer. Returns what wakes the connection, and the cursor.
    pub(super) async fn join_shared(
        &self,
        consumer: &Consumer,
        member: SessionId,
        start: Seq,
        bounds: Bounds,
    ) -> Result<(watch::Receiver<()>, Seq), JoinError> {
        if self.mode_here(&consumer.name) == Some(Mode::Exclusive) {
            // What its connection has acknowledged counts.
            self.cursor_store.flush(&[self]).await?;
        }
        let _guard = self.cursor_store.lock_shared().await;
        let _syncing = self.syncing.lock().await;
        let opened = self.log.open_shared(self.app_id, &consumer.name, start, bounds.epoch).await?;
        let Some(mut found) = opened else { return Err(JoinError::TooMany) };
        let sharing = found.sharing.take().filter(|sharing| sharing.epoch == bounds.epoch);
        let mut sharing = sharing
            .unwrap_or_else(|| Sharing::new(bounds.epoch, found.is_current, found.acked.min(bounds.head)));
        // Events that are no longer kept need no acknowledgement.
        sharing.advance(Seq(bounds.oldest.0 - 1));
        let position = sharing.high_water();
        found.sharing = Some(sharing);
        let changed = self.enter_shared(consumer, member, position, bounds);
        let joined = self.sync(&consumer.name, Some(found)).await;
        let low_water = self.entries.lock().get(&consumer.name).map(|entry| entry.progress.low_water());
        match (joined, low_water) {
            (Ok(()), Some(low_water)) => Ok((changed, low_water)),
            (Ok(()), None) => {
                Err(StoreError::Unavailable("the consumer was taken over meanwhile".into()).into())
            }
            (Err(failure), _) => {
                self.leave(&consumer.name, member);
                Err(failure.into())
            }
        }
    }

    fn enter_shared(
        &self,
        consumer: &Consumer,
        member: SessionId,
        position: Seq,
        bounds: Bounds,
    ) -> watch::Receiver<()> {
        let mut entries = self.entries.lock();
        let outdated = match entries.get(&consumer.name) {
            Some(entry) if entry.epoch != bounds.epoch => {
                entries.remove(&consumer.name).map(|entry| (entry, CLOSED_BY_RESET))
            }
            Some(entry) if entry.progress.mode() != Mode::Share => {
                entries.remove(&consumer.name).map(|entry| (entry, TAKEN_OVER))
            }
            _ => None,
        };
        let entry = entries.entry(consumer.name.clone()).or_insert_with(|| {
            let shared = Shared::new(Instant::now());
            Entry::new(Progress::Shared(Box::new(shared)), bounds.epoch, false)
        });
        if let Progress::Shared(shared) = &mut entry.progress {
            shared.join(member, position);
        }
        let changed = entry.subscribe();
        entry.wake();
        drop(entries);
        if let Some((entry, reason)) = outdated {
            self.close_members(&entry, reason);
        }
        changed
    }

    /// Returns the mode of a consumer that this process holds.
    pub(super) fn mode_here(&self, name: &str) -> Option<Mode> {
        self.entries.lock().get(name).map(|entry| entry.progress.mode())
    }

    /// Prepares what is to be stored of the consumers that are due, and names those for which the store must be read first.
    pub(in crate::consumer) fn due_saves(&self) -> (Vec<(SharingSave, Save)>, Vec<String>) {
        let now = Instant::now();
        let (mut saves, mut unknown) = (Vec::new(), Vec::new());
        for (name, entry) in self.entries.lock().iter_mut() {
            let Progress::Shared(shared) = &mut entry.progress else { continue };
            if !shared.is_due(now) {
                continue;
            }
            match shared.prepare(self.cursor_store.holder(), None, now) {
                Some(save) => {
                    let save = with_acks(save, entry.is_current);
                    saves.push((self.stored_form(name, &save), save));
                }
                None => unknown.push(name.clone()),
            }
        }
        (saves, unknown)
    }

    /// Makes the store and this process agree on a consumer that is shared. The caller holds `syncing`, or the lock of the
    /// cursor store.
    pub(in crate::consumer) async fn sync(
        &self,
        name: &str,
        mut found: Option<StoredSharing>,
    ) -> Result<(), StoreError> {
        for _ in 0..MAX_TRIES {
            let row = match found.take() {
                Some(row) => Some(row),
                None => self.log.sharing(self.app_id, name).await.inspect_err(|_| self.mark_failed(name))?,
            };
            match self.prepare(name, row) {
                Found::Gone => return Ok(()),
                Found::Lost(reason) => {
                    self.evict(name, reason);
                    return Ok(());
                }
                Found::Reset => {
                    self.evict(name, CLOSED_BY_RESET);
                    return Ok(());
                }
                Found::Save(save) => {
                    let stored = self.stored_form(name, &save);
                    let saved = self.log.save_sharings(std::slice::from_ref(&stored)).await;
                    if !saved.inspect_err(|_| self.mark_failed(name))?.is_empty() {
                        self.adopt(name, stored.version, save);
                        return Ok(());
                    }
                }
            }
        }
        self.mark_failed(name);
        Ok(())
    }

    fn prepare(&self, name: &str, row: Option<StoredSharing>) -> Found {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(name) else { return Found::Gone };
        let Progress::Shared(shared) = &mut entry.progress else { return Found::Gone };
        let Some(row) = row else { return Found::Lost(LOST) };
        if row.epoch != entry.epoch {
            return Found::Reset;
        }
        if row.is_exclusive && shared.is_established() {
            return Found::Lost(TAKEN_OVER);
        }
        let sharing = row.sharing.filter(|sharing| sharing.epoch == entry.epoch);
        let sharing = sharing.unwrap_or_else(|| Sharing::new(entry.epoch, row.is_current, row.acked));
        let prepared =
            shared.prepare(self.cursor_store.holder(), Some((row.version, sharing)), Instant::now());
        prepared.map_or(Found::Gone, |save| Found::Save(with_acks(save, entry.is_current)))
    }

    /// Records what the store has now.
    pub(in crate::consumer) fn adopt(&self, name: &str, version: i64, save: Save) {
        let concerns_others = save.concerns_others;
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(name) else { return };
        let Progress::Shared(shared) = &mut entry.progress else { return };
        if shared.adopt(self.cursor_store.holder(), version, save, Instant::now()) {
            // What it took may be behind where its connections read.
            entry.wake();
        } else if shared.is_over() {
            entries.remove(name);
        }
        drop(entries);
        if concerns_others {
            self.cursor_store.announcements().consumers(self.app_id);
        }
    }

    /// Says that what is known of a consumer could not be stored.
    pub(in crate::consumer) fn mark_failed(&self, name: &str) {
        if let Some(Entry { progress: Progress::Shared(shared), .. }) = self.entries.lock().get_mut(name) {
            shared.mark_failed();
        }
    }

    /// Makes the consumers that are shared look at the store soon: another process has changed something.
    pub(crate) fn mark_outdated(&self) {
        for entry in self.entries.lock().values_mut() {
            if let Progress::Shared(shared) = &mut entry.progress {
                shared.mark_outdated();
            }
        }
        self.cursor_store.mark_dirty();
    }

    /// Stores what a request changes. `false`: another process was faster.
    pub(super) async fn save_alone(
        &self,
        name: &str,
        known: i64,
        sharing: Sharing,
    ) -> Result<bool, StoreError> {
        let save = Save { known, sharing, at: Instant::now(), concerns_others: true };
        let stored = self.stored_form(name, &save);
        Ok(!self.log.save_sharings(&[stored]).await?.is_empty())
    }

    fn stored_form(&self, name: &str, save: &Save) -> SharingSave {
        SharingSave {
            app_id: self.app_id,
            name: name.to_owned(),
            known: save.known,
            version: SessionId::generate().0.as_u64_pair().1.cast_signed(),
            sharing: save.sharing.clone(),
            held_until: self.cursor_store.lease_end(Mode::Share),
        }
    }
}

/// Says that something was acknowledged in this epoch.
fn with_acks(mut save: Save, is_current: bool) -> Save {
    save.sharing.is_current |= is_current;
    save
}
