//! The store in memory: what it holds, what a test puts into it and takes out, and how it fails on purpose.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::{ManualClock, MemoryConnections, cursors};
use crate::{
    consumer::ConsumerKey,
    error::{AuthError, StoreError},
    event::Frame,
    id::{AppId, DialpadCallId, Epoch, Fence, InteractionId, JournalId, KeyId, Seq},
    model::{call::CallRecord, interaction::StoredInteraction, message::StoredMessage},
    ports::{AuthenticatedKey, Authenticator, Inbound, PendingEvent, Ports},
    unit::{DedupKey, IncomingWebhook},
};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    /// Whether commits wait.
    holding: watch::Sender<bool>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) journal: BTreeMap<JournalId, Row>,
    /// What can be read of webhooks that are not in the journal yet.
    pub(super) contents: BTreeMap<JournalId, Inbound>,
    pub(super) calls: BTreeMap<(AppId, DialpadCallId), CallRecord>,
    pub(super) interactions: BTreeMap<(AppId, InteractionId), StoredInteraction>,
    pub(super) messages: BTreeMap<(AppId, String), StoredMessage>,
    pub(super) events: BTreeMap<(AppId, Seq), Frame>,
    pub(super) epoch: Epoch,
    pub(super) keys: BTreeMap<String, AuthenticatedKey>,
    /// The fence of the present owner of each app.
    pub(super) fences: BTreeMap<AppId, Fence>,
    pub(super) crm_users: BTreeMap<(AppId, i64), String>,
    pub(super) consumers: BTreeMap<ConsumerKey, cursors::Row>,
    /// Errors that the next commits return, the last one first.
    pub(super) failures: Vec<StoreError>,
    /// Whether the next commit panics.
    pub(super) panics: bool,
    /// A text that the store refuses to write, as a database refuses bytes that it can't represent.
    pub(super) refused: Option<String>,
}

/// A webhook in the journal.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) app_id: AppId,
    pub(super) event: PendingEvent,
    pub(super) status: RowStatus,
    pub(super) received_at: DateTime<Utc>,
    pub(super) dedup_key: Option<DedupKey>,
}

/// The status of a webhook in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowStatus {
    /// It is to be processed.
    Pending,
    /// It was processed.
    Processed,
    /// It was given up, for this reason.
    Failed(String),
}

impl MemoryStore {
    /// Returns a store, its clock, and the ports over both.
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

    /// Writes a webhook into the journal, as a request of Dialpad does before it is answered.
    pub fn append(
        &self,
        app_id: AppId,
        received_at: DateTime<Utc>,
        content: Result<Inbound, String>,
    ) -> PendingEvent {
        let event = PendingEvent { id: JournalId::generate(), attempts: 0, content, incoming: None };
        let row =
            Row { app_id, event: event.clone(), status: RowStatus::Pending, received_at, dedup_key: None };
        self.state().journal.insert(event.id, row);
        event
    }

    /// Gives an app to an owner with this fence: units of work with another one are refused.
    pub fn fence(&self, app: AppId, fence: Fence) {
        self.state().fences.insert(app, fence);
    }

    /// Makes a webhook that is not in the journal, for [`Engine::submit`](crate::Engine::submit). Two with the same
    /// `key` are the same one.
    pub fn incoming(
        &self,
        key: u16,
        received_at: DateTime<Utc>,
        content: Inbound,
    ) -> (IncomingWebhook, Inbound) {
        let id = JournalId::generate();
        self.state().contents.insert(id, content.clone());
        let webhook = IncomingWebhook {
            trace: None,
            id,
            organization_id: None,
            dedup_key: std::array::from_fn(|place| key.to_be_bytes()[place % 2]),
            event_type: "test".to_owned(),
            payload: Arc::from(*b"{}"),
            remark: None,
            received_at,
        };
        (webhook, content)
    }

    /// Makes the next commit fail.
    pub fn fail_next_commit(&self, failure: StoreError) {
        self.state().failures.push(failure);
    }

    /// Makes the next commit panic, as a bug would.
    pub fn panic_next_commit(&self) {
        self.state().panics = true;
    }

    /// Makes commits wait, or lets them continue.
    pub fn hold_commits(&self, holding: bool) {
        self.holding.send_replace(holding);
    }

    pub(super) async fn is_released(&self) {
        // The sender is the store itself: it can't be gone.
        let _ = self.holding.subscribe().wait_for(|holding| !holding).await;
    }

    /// Makes every commit fail that would write an event with this text.
    pub fn refuse(&self, text: &str) {
        self.state().refused = Some(text.to_owned());
    }

    /// Maps a Dialpad user to a user of the CRM.
    pub fn map_user(&self, app: AppId, dialpad_user_id: i64, crm_user_id: &str) {
        self.state().crm_users.insert((app, dialpad_user_id), crm_user_id.to_owned());
    }

    /// Adds an API key.
    pub fn add_key(&self, api_key: &str, key: AuthenticatedKey) {
        self.state().keys.insert(api_key.to_owned(), key);
    }

    /// Returns the status of a webhook.
    #[must_use]
    pub fn status(&self, id: JournalId) -> Option<RowStatus> {
        self.state().journal.get(&id).map(|row| row.status.clone())
    }

    /// Returns how many webhooks are pending.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.state().journal.values().filter(|row| row.status == RowStatus::Pending).count()
    }

    /// Returns the events of an app, in order.
    #[must_use]
    pub fn events(&self, app: AppId) -> Vec<Frame> {
        self.state()
            .events
            .iter()
            .filter(|((owner, _), _)| *owner == app)
            .map(|(_, frame)| frame.clone())
            .collect()
    }

    /// Returns a call as it was last written.
    #[must_use]
    pub fn call(&self, app: AppId, id: DialpadCallId) -> Option<CallRecord> {
        self.state().calls.get(&(app, id)).cloned()
    }

    /// Returns an interaction as it was last written.
    #[must_use]
    pub fn interaction(&self, app: AppId, id: InteractionId) -> Option<StoredInteraction> {
        self.state().interactions.get(&(app, id)).cloned()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[async_trait]
impl Authenticator for MemoryStore {
    async fn authenticate(&self, api_key: &str) -> Result<AuthenticatedKey, AuthError> {
        self.state().keys.get(api_key).copied().ok_or(AuthError::UnknownKey)
    }

    async fn still_valid(&self, keys: &[KeyId]) -> Result<Vec<KeyId>, StoreError> {
        let state = self.state();
        let valid = state.keys.values().map(|key| key.key_id);
        Ok(valid.filter(|key| keys.contains(key)).collect())
    }
}
