//! What the server found out by itself, on its way into the journal.

use cti_actors::{error::StoreError, id::AppId};

use super::append::{Appended, Disposition, NewWebhook};
use crate::store::JournalStore;
use crate::webhook::payload::{self, Finding};

impl JournalStore<'_> {
    /// Writes a finding about one of the app's calls into its journal, from where it is processed like a webhook. One
    /// that says what an earlier one has said is a duplicate.
    ///
    /// # Errors
    /// There is no durable place for it now.
    pub async fn append_finding(self, app: AppId, finding: &Finding) -> Result<Appended, StoreError> {
        let (bytes, now) = (finding.payload().to_string().into_bytes(), self.store.now());
        let reading = payload::read(&bytes, now);
        let disposition = match reading.content {
            Ok(inbound) => Disposition::Pending(Box::new(inbound)),
            Err(reason) => Disposition::Failed(reason),
        };
        let (key, kind) = (reading.dedup_key, reading.event_type);
        let row = NewWebhook::new(Some(app), None, key, kind, bytes.into(), disposition, now);
        let appended = self.append(vec![row]).await?;
        Ok(appended.first().copied().unwrap_or(Appended::Duplicate))
    }
}
