//! The ports in memory, for tests that take milliseconds. Kept honest by the contract test that the SQL store
//! passes as well.

mod clock;
mod connections;
mod cursors;
mod feed;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use self::{
    clock::ManualClock,
    connections::{Answer, MemoryConnections},
};
use crate::{
    consumer::ConsumerKey,
    error::{AuthError, StoreError},
    event::Frame,
    id::{AppId, DialpadCallId, InteractionId, JournalId, KeyId, Seq},
    model::{
        call::{CallRecord, StoredCall},
        message::StoredMessage,
    },
    ports::{AuthenticatedKey, Authenticator, Inbound, Journal, Ledger, PendingEvent, Ports},
    unit::{Receipt, Unit},
};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    journal: BTreeMap<JournalId, Row>,
    calls: BTreeMap<(AppId, DialpadCallId), CallRecord>,
    messages: BTreeMap<(AppId, String), StoredMessage>,
    events: BTreeMap<(AppId, Seq), Frame>,
    keys: BTreeMap<String, AuthenticatedKey>,
    crm_users: BTreeMap<(AppId, i64), String>,
    consumers: BTreeMap<ConsumerKey, cursors::Row>,
    /// Errors that the next commits answer, newest first.
    failures: Vec<StoreError>,
    /// A text that the store refuses to write, as a database refuses bytes that it can't represent.
    refused: Option<String>,
}

#[derive(Clone, Debug)]
struct Row {
    app_id: AppId,
    event: PendingEvent,
    status: RowStatus,
    received_at: DateTime<Utc>,
}

/// Where a webhook in the journal stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowStatus {
    /// To be processed.
    Pending,
    /// Done.
    Processed,
    /// Given up, and why.
    Failed(String),
}

impl MemoryStore {
    /// The store and the ports over it.
    #[must_use]
    pub fn ports() -> (Arc<Self>, Arc<ManualClock>, Ports) {
        let (store, clock) = (Arc::new(Self::default()), Arc::new(ManualClock::default()));
        let ports = Ports {
            journal: store.clone(),
            ledger: store.clone(),
            log: store.clone(),
            gate: store.clone(),
            connections: MemoryConnections::new(store.clone(), clock.clone()),
            clock: clock.clone(),
        };
        (store, clock, ports)
    }

    /// Writes a webhook into the journal, as its acknowledgement would promise.
    pub fn append(
        &self,
        app_id: AppId,
        received_at: DateTime<Utc>,
        content: Result<Inbound, String>,
    ) -> PendingEvent {
        let event = PendingEvent { id: JournalId::generate(), attempts: 0, content };
        let row = Row { app_id, event: event.clone(), status: RowStatus::Pending, received_at };
        self.state().journal.insert(event.id, row);
        event
    }

    /// Lets the next commit fail.
    pub fn fail_next_commit(&self, failure: StoreError) {
        self.state().failures.push(failure);
    }

    /// Lets every commit fail that would write an event with this text.
    pub fn refuse(&self, text: &str) {
        self.state().refused = Some(text.to_owned());
    }

    /// From now on, the CRM calls this Dialpad user so.
    pub fn map_user(&self, app: AppId, dialpad_user_id: i64, crm_user_id: &str) {
        self.state().crm_users.insert((app, dialpad_user_id), crm_user_id.to_owned());
    }

    /// Lets a key open what it says.
    pub fn let_in(&self, api_key: &str, admission: AuthenticatedKey) {
        self.state().keys.insert(api_key.to_owned(), admission);
    }

    /// Where a webhook stands.
    #[must_use]
    pub fn status(&self, id: JournalId) -> Option<RowStatus> {
        self.state().journal.get(&id).map(|row| row.status.clone())
    }

    /// How many webhooks are pending.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.state().journal.values().filter(|row| row.status == RowStatus::Pending).count()
    }

    /// Everything that was told to an app, in order.
    #[must_use]
    pub fn told(&self, app: AppId) -> Vec<Frame> {
        self.state()
            .events
            .iter()
            .filter(|((owner, _), _)| *owner == app)
            .map(|(_, frame)| frame.clone())
            .collect()
    }

    /// A call as it was last written.
    #[must_use]
    pub fn call(&self, app: AppId, id: DialpadCallId) -> Option<CallRecord> {
        self.state().calls.get(&(app, id)).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn calls_where(&self, app: AppId, wanted: impl Fn(&StoredCall) -> bool) -> Vec<StoredCall> {
        let of_app =
            self.calls.iter().filter(|((owner, _), _)| *owner == app).map(|(_, record)| &record.call);
        of_app.filter(|call| wanted(call)).cloned().collect()
    }

    fn check(&self, unit: &Unit) -> Result<(), StoreError> {
        if let Some(refused) = &self.refused
            && unit.events.iter().any(|event| event.stored_body().contains(refused))
        {
            return Err(StoreError::Rejected(format!("the text {refused} can't be stored")));
        }
        for record in &unit.calls {
            let key = (unit.app_id, record.call.dialpad_call_id);
            let version = self.calls.get(&key).map_or(0, |known| known.call.version);
            if version + 1 != record.call.version {
                return Err(StoreError::Conflict(format!("call {}", record.call.dialpad_call_id)));
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

    async fn recent_calls_of(
        &self,
        app: AppId,
        targets: &[i64],
        since: DateTime<Utc>,
    ) -> Result<Vec<StoredCall>, StoreError> {
        let state = self.state();
        let is_one = |call: &StoredCall| call.facts.target_id().is_some_and(|id| targets.contains(&id));
        Ok(state.calls_where(app, |call| is_one(call) && call.updated_at >= since))
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
        let mut state = self.state();
        if let Some(failure) = state.failures.pop() {
            return Err(failure);
        }
        state.check(&unit)?;
        for record in &unit.calls {
            state.calls.insert((unit.app_id, record.call.dialpad_call_id), record.clone());
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

#[async_trait]
impl Authenticator for MemoryStore {
    async fn authenticate(&self, api_key: &str) -> Result<AuthenticatedKey, AuthError> {
        self.state().keys.get(api_key).copied().ok_or(AuthError::UnknownKey)
    }

    async fn still_valid(&self, keys: &[KeyId]) -> Result<Vec<KeyId>, StoreError> {
        let state = self.state();
        let valid = state.keys.values().map(|admission| admission.key_id);
        Ok(valid.filter(|key| keys.contains(key)).collect())
    }
}
