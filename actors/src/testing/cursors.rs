//! The cursors of named consumers in memory.

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    consumer::ConsumerKey,
    error::StoreError,
    id::{AppId, Epoch, Seq},
    model::sharing::Sharing,
    ports::{Acquire, Acquired, Cursors, SharingSave, StoredConsumer, StoredCursor, StoredSharing},
};

/// A consumer. Its lease never ends: the store has no clock.
#[derive(Clone, Debug)]
pub(super) struct Row {
    acked: Seq,
    epoch: Epoch,
    holder: i64,
    connections: usize,
    /// What processes share, unless it is exclusive.
    sharing: Option<Sharing>,
}

#[async_trait]
impl Cursors for MemoryStore {
    async fn consumer(&self, app: AppId, name: &str) -> Result<Option<StoredCursor>, StoreError> {
        let state = self.state();
        let row = state.consumers.get(&(app, name.to_owned()));
        Ok(row.map(|row| StoredCursor { acked: row.acked, epoch: Some(row.epoch) }))
    }

    async fn acquire(&self, wish: Acquire<'_>) -> Result<Acquired, StoreError> {
        let Acquire { app_id, name, start, epoch, head, holder, held_until: _ } = wish;
        let (mut state, key) = (self.state(), (app_id, name.to_owned()));
        let known = state.consumers.get(&key).cloned();
        let known = known.as_ref();
        let acked = known.map_or(start, |row| row.acked.min(head));
        let is_current = known.is_none_or(|row| row.epoch == epoch);
        let epoch = known.map_or(epoch, |row| row.epoch);
        let before = known.map(|row| row.holder);
        state.consumers.insert(key, Row { acked, epoch, holder, connections: 1, sharing: None });
        Ok(Acquired::Held { is_current, acked, before })
    }

    async fn save_cursors(
        &self,
        holder: i64,
        cursors: &[StoredConsumer],
    ) -> Result<Vec<ConsumerKey>, StoreError> {
        let mut state = self.state();
        let epoch = state.epoch;
        let mut kept = Vec::new();
        for cursor in cursors {
            let key = (cursor.app_id, cursor.name.clone());
            if let Some(row) = state.consumers.get_mut(&key).filter(|row| row.holder == holder) {
                if cursor.epoch == Some(epoch) && (cursor.acked > row.acked || row.epoch != epoch) {
                    (row.acked, row.epoch) = (cursor.acked, epoch);
                }
                row.connections = cursor.connections;
                kept.push(key);
            }
        }
        Ok(kept)
    }

    async fn held_by(&self, holder: i64) -> Result<Vec<ConsumerKey>, StoreError> {
        let state = self.state();
        let held = state.consumers.iter().filter(|(_, row)| row.holder == holder);
        Ok(held.map(|(key, _)| key.clone()).collect())
    }

    async fn advance_consumer(&self, app: AppId, name: &str, acked: Seq) -> Result<bool, StoreError> {
        let mut state = self.state();
        let epoch = state.epoch;
        let Some(row) = state.consumers.get_mut(&(app, name.to_owned())) else { return Ok(false) };
        if row.sharing.is_some() {
            return Ok(false);
        }
        row.acked = if row.epoch == epoch { row.acked.max(acked) } else { acked };
        row.epoch = epoch;
        Ok(true)
    }

    async fn open_shared(
        &self,
        app: AppId,
        name: &str,
        start: Seq,
        epoch: Epoch,
    ) -> Result<Option<StoredSharing>, StoreError> {
        let new = Row { acked: start, epoch, holder: 0, connections: 0, sharing: None };
        self.state().consumers.entry((app, name.to_owned())).or_insert(new);
        self.sharing(app, name).await
    }

    async fn sharing(&self, app: AppId, name: &str) -> Result<Option<StoredSharing>, StoreError> {
        let state = self.state();
        let row = state.consumers.get(&(app, name.to_owned()));
        Ok(row.map(|row| StoredSharing {
            version: row.holder,
            acked: row.acked,
            is_current: row.epoch == state.epoch,
            epoch: state.epoch,
            is_exclusive: row.sharing.is_none(),
            is_live: row.connections > 0,
            sharing: row.sharing.clone(),
        }))
    }

    async fn save_sharings(&self, saves: &[SharingSave]) -> Result<Vec<ConsumerKey>, StoreError> {
        let mut state = self.state();
        let epoch = state.epoch;
        let mut saved = Vec::new();
        for save in saves {
            let key = (save.app_id, save.name.clone());
            let row = state.consumers.get_mut(&key).filter(|row| row.holder == save.known);
            let Some(row) = row.filter(|_| save.sharing.epoch == epoch) else { continue };
            if save.sharing.is_current {
                (row.acked, row.epoch) = (save.sharing.low_water(), epoch);
            }
            (row.holder, row.connections) = (save.version, save.sharing.connections());
            row.sharing = Some(save.sharing.clone());
            saved.push(key);
        }
        Ok(saved)
    }

    async fn remove_consumer(&self, app: AppId, name: &str) -> Result<bool, StoreError> {
        Ok(self.state().consumers.remove(&(app, name.to_owned())).is_some())
    }
}
