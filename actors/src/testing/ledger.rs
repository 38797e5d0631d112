//! The journal and the ledger in memory.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    MemoryStore, RowStatus,
    store::{Row, State},
};
use crate::{
    error::{Duplicate, StoreError},
    event::Frame,
    id::{AppId, DialpadCallId, Fence, InteractionId, JournalId},
    model::{
        call::{Direction, StoredCall},
        interaction::{StoredInteraction, waits_for},
        message::StoredMessage,
    },
    ports::{Journal, Ledger, PendingEvent, RecentCalls, Window},
    unit::{IncomingStatus, Receipt, Unit},
};

impl State {
    fn calls_where(&self, app: AppId, wanted: impl Fn(&StoredCall) -> bool) -> Vec<StoredCall> {
        let of_app =
            self.calls.iter().filter(|((owner, _), _)| *owner == app).map(|(_, record)| &record.call);
        of_app.filter(|call| wanted(call)).cloned().collect()
    }

    fn check(&self, unit: &Unit) -> Result<(), StoreError> {
        if unit.fence != Fence::UNCHECKED
            && self.fences.get(&unit.app_id).is_some_and(|now| *now != unit.fence)
        {
            return Err(StoreError::Fenced);
        }
        if let Some(refused) = &self.refused
            && unit.events.iter().any(|event| event.stored_body().contains(refused))
        {
            return Err(StoreError::Rejected(format!("the text {refused} can't be stored")));
        }
        let duplicates: Vec<Duplicate> = unit
            .incoming
            .iter()
            .filter_map(|(row, _)| {
                let same = |(_, known): &(&JournalId, &Row)| {
                    known.app_id == unit.app_id && known.dedup_key == Some(row.dedup_key)
                };
                let (first, _) = self.journal.iter().find(same)?;
                Some(Duplicate { webhook: row.id, first: *first })
            })
            .collect();
        if !duplicates.is_empty() {
            return Err(StoreError::Duplicates(duplicates));
        }
        let names = |call: &StoredCall| call.facts.leg_ids().into_iter().flatten().map(DialpadCallId);
        for leg in &unit.unseen {
            let is_named =
                |call: &StoredCall| call.dialpad_call_id == *leg || names(call).any(|name| name == *leg);
            if !self.calls_where(unit.app_id, is_named).is_empty() {
                return Err(StoreError::Conflict(format!("leg {leg}")));
            }
        }
        for record in &unit.calls {
            let key = (unit.app_id, record.call.dialpad_call_id);
            let version = self.calls.get(&key).map_or(0, |known| known.call.version);
            if version + 1 != record.call.version {
                return Err(StoreError::Conflict(format!("call {}", record.call.dialpad_call_id)));
            }
        }
        for interaction in &unit.interactions {
            let key = (unit.app_id, interaction.id);
            let version = self.interactions.get(&key).map_or(0, |known| known.version);
            if version + 1 != interaction.version {
                return Err(StoreError::Conflict(format!("interaction {}", interaction.id)));
            }
        }
        for message in &unit.messages {
            let key = (unit.app_id, message.dialpad_message_id.clone());
            let version = self.messages.get(&key).map_or(0, |known| known.version);
            if version + 1 != message.version {
                return Err(StoreError::Conflict(format!("message {}", message.dialpad_message_id)));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Journal for MemoryStore {
    async fn pending(&self, app: AppId, limit: usize) -> Result<Vec<PendingEvent>, StoreError> {
        let state = self.state();
        let pending =
            state.journal.values().filter(|row| row.app_id == app && row.status == RowStatus::Pending);
        Ok(pending.take(limit).map(|row| row.event.clone()).collect())
    }

    async fn backlog(&self, since: DateTime<Utc>) -> Result<Vec<AppId>, StoreError> {
        let state = self.state();
        let late =
            state.journal.values().filter(|row| row.status == RowStatus::Pending && row.received_at < since);
        let mut apps: Vec<AppId> = late.map(|row| row.app_id).collect();
        apps.dedup();
        Ok(apps)
    }
}

#[async_trait]
impl Ledger for MemoryStore {
    async fn relatives(&self, app: AppId, legs: &[DialpadCallId]) -> Result<Vec<StoredCall>, StoreError> {
        Ok(self.state().calls_where(app, |call| {
            let names = call.facts.leg_ids().into_iter().flatten().map(DialpadCallId);
            names.chain([call.dialpad_call_id]).any(|name| legs.contains(&name))
        }))
    }

    async fn legs(&self, app: AppId, interactions: &[InteractionId]) -> Result<Vec<StoredCall>, StoreError> {
        Ok(self.state().calls_where(app, |call| interactions.contains(&call.interaction_id)))
    }

    async fn calls_in(&self, app: AppId, windows: &[Window]) -> Result<Vec<StoredCall>, StoreError> {
        Ok(self.state().calls_where(app, |call| {
            let ended_at = call.facts.ended_at();
            windows.iter().any(|window| {
                call.facts.target_id() == Some(window.target)
                    && ended_at.is_none_or(|at| (window.from..=window.until).contains(&at))
            })
        }))
    }

    async fn waiting_in(&self, app: AppId, windows: &[Window]) -> Result<Vec<StoredCall>, StoreError> {
        Ok(self.state().calls_where(app, |call| {
            let Some((target, at)) = waits_for(&call.facts) else { return false };
            windows.iter().any(|it| it.target == target && (it.from..=it.until).contains(&at))
        }))
    }

    async fn recent_calls(
        &self,
        app: AppId,
        first_seen_since: DateTime<Utc>,
        waiting_since: DateTime<Utc>,
    ) -> Result<RecentCalls, StoreError> {
        let state = self.state();
        let is_recent = |call: &StoredCall| {
            let seen_at = call.id.generated_at();
            call.facts.direction() == Some(Direction::Inbound) && seen_at >= Some(first_seen_since)
        };
        let mut first_seen = state.calls_where(app, is_recent);
        first_seen.sort_by_key(|call| call.id);
        let mut waited_for: BTreeMap<i64, DateTime<Utc>> = BTreeMap::new();
        for call in state.calls_where(app, |_| true) {
            if let Some((target, at)) = waits_for(&call.facts).filter(|(_, at)| *at >= waiting_since) {
                let latest = waited_for.entry(target).or_insert(at);
                *latest = at.max(*latest);
            }
        }
        Ok(RecentCalls { first_seen, waited_for: waited_for.into_iter().collect() })
    }

    async fn interactions(
        &self,
        app: AppId,
        ids: &[InteractionId],
    ) -> Result<Vec<StoredInteraction>, StoreError> {
        let state = self.state();
        Ok(ids.iter().filter_map(|id| state.interactions.get(&(app, *id))).cloned().collect())
    }

    async fn unsettled(
        &self,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(AppId, InteractionId)>, StoreError> {
        let state = self.state();
        let due = |it: &StoredInteraction| it.settles_at.filter(|at| *at <= until);
        let mut found: Vec<_> =
            state.interactions.iter().filter_map(|(key, it)| due(it).map(|at| (at, *key))).collect();
        found.sort_unstable();
        Ok(found.into_iter().take(limit).map(|(_, key)| key).collect())
    }

    async fn crm_users(&self, app: AppId, users: &[i64]) -> Result<BTreeMap<i64, String>, StoreError> {
        let state = self.state();
        let name = |user: &i64| state.crm_users.get(&(app, *user)).map(|name| (*user, name.clone()));
        Ok(users.iter().filter_map(name).collect())
    }

    async fn messages(&self, app: AppId, ids: &[String]) -> Result<Vec<StoredMessage>, StoreError> {
        let state = self.state();
        Ok(ids.iter().filter_map(|id| state.messages.get(&(app, id.clone()))).cloned().collect())
    }

    async fn commit(&self, unit: Arc<Unit>) -> Result<Receipt, StoreError> {
        self.is_released().await;
        let mut state = self.state();
        if std::mem::take(&mut state.panics) {
            drop(state);
            panic!("a commit panics on purpose");
        }
        if let Some(failure) = state.failures.pop() {
            return Err(failure);
        }
        state.check(&unit)?;
        for record in &unit.calls {
            state.calls.insert((unit.app_id, record.call.dialpad_call_id), record.clone());
        }
        for interaction in &unit.interactions {
            state.interactions.insert((unit.app_id, interaction.id), interaction.clone());
        }
        for message in &unit.messages {
            state.messages.insert((unit.app_id, message.dialpad_message_id.clone()), message.clone());
        }
        let last_seq_before = state.head(unit.app_id);
        let mut seq = last_seq_before;
        for event in &unit.events {
            seq = seq.next();
            let frame = Frame::new(seq, event);
            state.events.insert((unit.app_id, seq), frame);
        }
        for (row, status) in &unit.incoming {
            let (status, attempts) = match status {
                IncomingStatus::Processed => (RowStatus::Processed, 0),
                IncomingStatus::Retried => (RowStatus::Pending, 1),
                IncomingStatus::Failed(reason) => (RowStatus::Failed(reason.clone()), 1),
            };
            let content =
                state.contents.get(&row.id).cloned().ok_or_else(|| "the content is not known".to_owned());
            let event = PendingEvent { id: row.id, attempts, content, incoming: None };
            let (received_at, dedup_key) = (row.received_at, Some(row.dedup_key));
            let row = Row { app_id: unit.app_id, event, status, received_at, dedup_key };
            state.journal.insert(row.event.id, row);
        }
        let mut mark = |id: &JournalId, status: RowStatus| {
            if let Some(row) = state.journal.get_mut(id) {
                row.status = status;
            }
        };
        unit.processed.iter().for_each(|id| mark(id, RowStatus::Processed));
        unit.failed.iter().for_each(|(id, reason)| mark(id, RowStatus::Failed(reason.clone())));
        for id in &unit.retried {
            if let Some(row) = state.journal.get_mut(id) {
                row.event.attempts += 1;
            }
        }
        Ok(Receipt { last_seq_before })
    }
}
