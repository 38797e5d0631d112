//! The cursors of named consumers in memory.

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    consumer::{Acked, ConsumerKey, Mode},
    error::StoreError,
    id::{AppId, Epoch, Seq},
    ports::{Acquire, Acquired, Cursors, StoredConsumer, StoredCursor},
};

/// A consumer. Its lease never ends: the store has no clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    mode: Mode,
    acked: Seq,
    epoch: Epoch,
    holder: i64,
    connections: usize,
}

#[async_trait]
impl Cursors for MemoryStore {
    async fn consumer(&self, app: AppId, name: &str) -> Result<Option<StoredCursor>, StoreError> {
        let state = self.state();
        let row = state.consumers.get(&(app, name.to_owned()));
        Ok(row.map(|row| StoredCursor { acked: row.acked, epoch: Some(row.epoch) }))
    }

    async fn acquire(&self, wish: Acquire<'_>) -> Result<Acquired, StoreError> {
        let Acquire { app_id, name, mode, start, epoch, head, holder, held_until: _ } = wish;
        let (mut state, key) = (self.state(), (app_id, name.to_owned()));
        let known = state.consumers.get(&key).copied();
        let is_shared = |row: Row| mode == Mode::Share && row.mode == Mode::Share && row.connections > 0;
        if known.is_some_and(|row| row.holder != holder && is_shared(row)) {
            return Ok(Acquired::Elsewhere);
        }
        let acked = known.map_or(start, |row| row.acked.min(head));
        let is_current = known.is_none_or(|row| row.epoch == epoch);
        let epoch = known.map_or(epoch, |row| row.epoch);
        state.consumers.insert(key, Row { mode, acked, epoch, holder, connections: 1 });
        Ok(Acquired::Held { is_current, acked, before: known.map(|row| row.holder) })
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

    async fn advance_consumer(&self, app: AppId, name: &str, acked: Seq) -> Result<Acked, StoreError> {
        let mut state = self.state();
        let epoch = state.epoch;
        let Some(row) = state.consumers.get_mut(&(app, name.to_owned())) else { return Ok(Acked::Unknown) };
        if row.mode == Mode::Share && row.connections > 0 {
            return Ok(Acked::Elsewhere);
        }
        row.acked = if row.epoch == epoch { row.acked.max(acked) } else { acked };
        row.epoch = epoch;
        Ok(Acked::Counted)
    }

    async fn remove_consumer(&self, app: AppId, name: &str) -> Result<bool, StoreError> {
        Ok(self.state().consumers.remove(&(app, name.to_owned())).is_some())
    }
}
