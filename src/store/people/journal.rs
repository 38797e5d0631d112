//! The webhooks of a person: their payloads are deleted. The keys stay, so that a repeated webhook is still a duplicate.

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId, JournalId},
    ports::Inbound,
};
use uuid::Uuid;

use super::Person;
use crate::{
    store::{Store, db::types::Id, on_db},
    webhook::payload,
};

const PAGE_OF_APP: &str = "SELECT id, payload, received_at FROM webhook_events
    WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3";
/// What waits for the app because it came before its organization was connected.
const PAGE_OF_ORGANIZATION: &str = "SELECT id, payload, received_at FROM webhook_events
    WHERE status = 'unrouted' AND app_id IS NULL AND id > $2
    AND organization_id = (SELECT dialpad_org_id FROM dialpad_connections WHERE app_id = $1) ORDER BY id LIMIT $3";
/// What is still pending then could not be processed for a while, and can't be any more.
const ERASE: &str =
    "UPDATE webhook_events SET payload = $2, reason = $3, processed_at = COALESCE(processed_at, $4),
    status = CASE WHEN status IN ('pending', 'unrouted') THEN 'failed' ELSE status END WHERE id = $1";
const PENDING: &str = "SELECT id FROM webhook_events
    WHERE app_id = $1 AND status = 'pending' AND id <= $2 ORDER BY id LIMIT 1";

/// A payload has up to 256 KiB.
const PAGE: i64 = 64;
/// What the journal says of a webhook without its payload.
const REASON: &str = "the payload was erased";

type PayloadRow = (Id, Vec<u8>, DateTime<Utc>);

/// Deletes the payloads of a person's webhooks. Returns how many.
pub(super) async fn erase(store: &Store, person: &Person) -> Result<u64, StoreError> {
    let mut erased = 0;
    for page in [PAGE_OF_APP, PAGE_OF_ORGANIZATION] {
        let mut last = Id(Uuid::nil());
        loop {
            let rows: Vec<PayloadRow> = on_db!(store, read db => {
                sqlx::query_as(page).bind(Id::from(person.app)).bind(last).bind(PAGE).fetch_all(db).await
            })?;
            let Some((end, ..)) = rows.last() else { break };
            last = *end;
            let found: Vec<Id> = rows
                .iter()
                .filter(|(_, payload, at)| person.is_in_payload(payload, *at))
                .map(|row| row.0)
                .collect();
            erased += found.len() as u64;
            erase_payloads(store, &found).await?;
            tokio::task::yield_now().await;
        }
    }
    Ok(erased)
}

async fn erase_payloads(store: &Store, ids: &[Id]) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let now = store.now();
    on_db!(store, write db => {
        let mut transaction = db.begin().await?;
        for id in ids {
            sqlx::query(ERASE).bind(*id).bind(Vec::<u8>::new()).bind(REASON).bind(now)
                .execute(&mut *transaction).await?;
        }
        transaction.commit().await
    })
}

pub(super) async fn has_pending(store: &Store, app: AppId, before: JournalId) -> Result<bool, StoreError> {
    let found: Option<(Id,)> = on_db!(store, read db => {
        sqlx::query_as(PENDING).bind(Id::from(app)).bind(Id::from(before)).fetch_optional(db).await
    })?;
    Ok(found.is_some())
}

impl Person {
    /// Whether a payload is about a call or message of the person, or contains the number.
    fn is_in_payload(&self, payload: &[u8], received_at: DateTime<Utc>) -> bool {
        if payload.is_empty() {
            return false;
        }
        if self.search.is_in_bytes(payload) {
            return true;
        }
        let may_be_about = !self.calls.is_empty() || !self.messages.is_empty();
        let is_escaped = payload.contains(&b'\\') || !payload.is_ascii();
        if !may_be_about && !is_escaped {
            return false;
        }
        match payload::read(payload, received_at).content {
            Ok(Inbound::Call(event)) if self.is_of_calls(event.dialpad_call_id) => return true,
            Ok(Inbound::Message(event)) if self.is_of_messages(&event.dialpad_message_id) => return true,
            Ok(_) | Err(_) => {}
        }
        is_escaped && serde_json::from_slice(payload).is_ok_and(|json| self.search.is_in_json(&json))
    }

    fn is_of_calls(&self, call: DialpadCallId) -> bool {
        self.calls.contains(&call)
    }

    fn is_of_messages(&self, message: &str) -> bool {
        self.messages.iter().any(|(_, id)| id == message)
    }
}
