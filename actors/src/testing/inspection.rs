//! What a simulation reads of the store in memory, and what it writes as a request or another process does.

use super::{MemoryStore, RowStatus, store::Row};
use crate::{
    app::Stored,
    id::{AppId, DialpadCallId, JournalId},
    model::{call::CallRecord, interaction::StoredInteraction, message::StoredMessage},
    ports::{Inbound, PendingEvent},
    unit::{DedupKey, IncomingWebhook},
};

/// A webhook in the journal, as a test sees it.
#[derive(Clone, Debug)]
pub struct JournalRow {
    /// Its id.
    pub id: JournalId,
    /// What makes two webhooks the same one; `None` where the test did not say.
    pub dedup_key: Option<DedupKey>,
    /// Its status.
    pub status: RowStatus,
    /// What it says.
    pub content: Result<Inbound, String>,
}

impl MemoryStore {
    /// Appends a webhook to the journal, as a request does whose webhook no supervisor has taken.
    pub fn append_incoming(&self, app_id: AppId, webhook: &IncomingWebhook, content: Inbound) -> Stored {
        let mut state = self.state();
        let is_same = |row: &&Row| row.app_id == app_id && row.dedup_key == Some(webhook.dedup_key);
        if let Some(first) = state.journal.values().find(is_same) {
            return Stored::Duplicate(first.event.id);
        }
        let event =
            PendingEvent { id: JournalId::generate(), attempts: 0, content: Ok(content), incoming: None };
        let id = event.id;
        let (received_at, dedup_key) = (webhook.received_at, Some(webhook.dedup_key));
        let row = Row { app_id, event, status: RowStatus::Pending, received_at, dedup_key };
        state.journal.insert(id, row);
        Stored::New(id)
    }

    /// Writes a call again without a change, as another process does that decides on it at the same time.
    pub fn rewrite_call(&self, app_id: AppId, call: DialpadCallId) {
        if let Some(record) = self.state().calls.get_mut(&(app_id, call)) {
            record.call.version += 1;
        }
    }

    /// Changes the status of a webhook, as nothing in the server does.
    pub fn set_status(&self, id: JournalId, status: RowStatus) {
        if let Some(row) = self.state().journal.get_mut(&id) {
            row.status = status;
        }
    }

    /// Returns the webhooks of an app, in the order of the journal.
    #[must_use]
    pub fn journal(&self, app_id: AppId) -> Vec<JournalRow> {
        let state = self.state();
        let rows = state.journal.values().filter(|row| row.app_id == app_id);
        rows.map(|row| JournalRow {
            id: row.event.id,
            dedup_key: row.dedup_key,
            status: row.status.clone(),
            content: row.event.content.clone(),
        })
        .collect()
    }

    /// Returns the calls of an app.
    #[must_use]
    pub fn calls(&self, app_id: AppId) -> Vec<CallRecord> {
        let state = self.state();
        let calls = state.calls.iter().filter(|((owner, _), _)| *owner == app_id);
        calls.map(|(_, record)| record.clone()).collect()
    }

    /// Returns the interactions of an app, those that became part of another one included.
    #[must_use]
    pub fn interactions(&self, app_id: AppId) -> Vec<StoredInteraction> {
        let state = self.state();
        let interactions = state.interactions.iter().filter(|((owner, _), _)| *owner == app_id);
        interactions.map(|(_, interaction)| interaction.clone()).collect()
    }

    /// Returns the messages of an app.
    #[must_use]
    pub fn messages(&self, app_id: AppId) -> Vec<StoredMessage> {
        let state = self.state();
        let messages = state.messages.iter().filter(|((owner, _), _)| *owner == app_id);
        messages.map(|(_, message)| message.clone()).collect()
    }
}
