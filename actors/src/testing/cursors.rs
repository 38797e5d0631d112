//! The cursors of named consumers in memory.

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    consumer::{Acked, ConsumerKey, Mode},
    error::StoreError,
    id::{AppId, Seq},
    ports::{Cursors, KeptConsumer, KnownConsumer, TakeUp, TakenUp},
};

/// A consumer. Nobody's lease ends here: the store has no clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    mode: Mode,
    acked: Seq,
    holder: i64,
    connections: usize,
}

#[async_trait]
impl Cursors for MemoryStore {
    async fn consumer(&self, app: AppId, name: &str) -> Result<Option<KnownConsumer>, StoreError> {
        let state = self.state();
        let row = state.consumers.get(&(app, name.to_owned()));
        Ok(row.map(|row| KnownConsumer { acked: row.acked, holder: row.holder }))
    }

    async fn take_up(&self, wish: TakeUp<'_>) -> Result<TakenUp, StoreError> {
        let TakeUp { app_id, name, mode, start, head, holder, held_until: _ } = wish;
        let new = Row { mode, acked: start, holder, connections: 1 };
        let mut state = self.state();
        let row = state.consumers.entry((app_id, name.to_owned())).or_insert(new);
        let both_share = mode == Mode::Share && row.mode == Mode::Share;
        if row.holder != holder && both_share && row.connections > 0 {
            return Ok(TakenUp::Elsewhere);
        }
        *row = Row { acked: row.acked.min(head), ..new };
        Ok(TakenUp::At(row.acked))
    }

    async fn keep_consumers(
        &self,
        holder: i64,
        cursors: &[KeptConsumer],
    ) -> Result<Vec<ConsumerKey>, StoreError> {
        let mut state = self.state();
        let mut kept = Vec::new();
        for cursor in cursors {
            let key = (cursor.app_id, cursor.name.clone());
            if let Some(row) = state.consumers.get_mut(&key).filter(|row| row.holder == holder) {
                row.acked = row.acked.max(cursor.acked);
                row.connections = cursor.connections;
                kept.push(key);
            }
        }
        Ok(kept)
    }

    async fn consumers_of(&self, holder: i64) -> Result<Vec<ConsumerKey>, StoreError> {
        let state = self.state();
        let held = state.consumers.iter().filter(|(_, row)| row.holder == holder);
        Ok(held.map(|(key, _)| key.clone()).collect())
    }

    async fn advance_consumer(&self, app: AppId, name: &str, acked: Seq) -> Result<Acked, StoreError> {
        let mut state = self.state();
        let Some(row) = state.consumers.get_mut(&(app, name.to_owned())) else { return Ok(Acked::Unknown) };
        if row.mode == Mode::Share && row.connections > 0 {
            return Ok(Acked::Elsewhere);
        }
        row.acked = row.acked.max(acked);
        Ok(Acked::Counted)
    }

    async fn remove_consumer(&self, app: AppId, name: &str) -> Result<bool, StoreError> {
        Ok(self.state().consumers.remove(&(app, name.to_owned())).is_some())
    }
}
