//! The journal, for administrators: what came, what became of it, and another try for what went wrong.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data, Path},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use cti_actors::{
    event::schema::DialpadId,
    id::{AppId, JournalId},
};
use serde::Serialize;
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use tokio::time::{Instant, sleep};
use tracing::info;
use utoipa::ToSchema;

use crate::http::{
    crm::status::named,
    extract::{
        auth::Administrator,
        body::Fields,
        lists,
        query::{Query, next_link},
    },
    state::AppState,
};
use crate::{
    http::error::{ApiError, ErrorCode},
    store::journal::{
        replay::Replay,
        views::{JournalEntry, JournalFilter},
    },
};

const STATUSES: [&str; 4] = ["pending", "processed", "failed", "unrouted"];
const PARAMETERS: [&str; 8] = ["status", "app_id", "event_type", "since", "until", "limit", "cursor", "ids"];
/// How long an answer waits for the engine to deal with what is replayed.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(15);

pub(crate) async fn list(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &PARAMETERS)?;
    let filter = JournalFilter {
        status: query.word("status", &STATUSES)?.map(str::to_owned),
        app: named(&shared, query.text("app_id")).await?,
        event_type: query.text("event_type").map(str::to_owned),
        since: query.instant("since")?,
        until: query.instant("until")?,
    };
    let ids_as_text = query.ids_as_text()?;
    let page = shared.store.journal().list(&filter, query.cursor()?, lists::limit(&query)?).await?;
    let mut answer = HttpResponse::Ok();
    if let Some(next) = page.next {
        answer.insert_header((header::LINK, next_link(&request, &[("cursor", &next.encode())])));
    }
    Ok(answer.json(page.items.iter().map(|entry| Shown::of(entry, ids_as_text)).collect::<Vec<_>>()))
}

pub(crate) async fn one(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let ids_as_text = Query::of(&request, &["ids"])?.ids_as_text()?;
    let id = id.parse().map_err(|_| not_found())?;
    let entry = shared.store.journal().entry(id).await?.ok_or_else(not_found)?;
    Ok(HttpResponse::Ok().json(Shown::of(&entry, ids_as_text)))
}

/// Processes a webhook that failed, or routes one anew that waits, and says what became of it.
pub(crate) async fn replay(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    id: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    let ids_as_text = Query::of(&request, &["ids"])?.ids_as_text()?;
    let body = Fields::of_optional(&body, &["app_id"])?;
    let owner = match body.get("app_id") {
        None => None,
        Some(Value::String(text)) => named(&shared, Some(text)).await?,
        Some(_) => return Err(ApiError::invalid("app_id: must be a UUID")),
    };
    let id: JournalId = id.parse().map_err(|_| not_found())?;
    let before = shared.store.journal().entry(id).await?.ok_or_else(not_found)?;
    let entry = match shared.store.journal().replay(id, owner).await? {
        Replay::NotFound => return Err(not_found()),
        Replay::AlreadyProcessed => {
            return Err(ApiError::new(ErrorCode::AlreadyProcessed, "The webhook was processed already"));
        }
        Replay::BelongsToAnotherApp => {
            return Err(ApiError::invalid("app_id: the webhook belongs to another app"));
        }
        Replay::Duplicate => JournalEntry { status: "duplicate".into(), reason: None, ..before },
        Replay::Kept => shared.store.journal().entry(id).await?.ok_or_else(not_found)?,
        Replay::Taken(apps) => {
            info!(webhook.id = %id, "a webhook is replayed");
            apps.iter().for_each(|app| shared.engine.notify(*app));
            outcome(&shared, id).await?
        }
    };
    Ok(HttpResponse::Ok().json(Shown::of(&entry, ids_as_text)))
}

/// The webhook once it is dealt with; as it is, should that take long.
async fn outcome(shared: &AppState, id: JournalId) -> Result<JournalEntry, ApiError> {
    let began = Instant::now();
    loop {
        let entry = shared.store.journal().entry(id).await?.ok_or_else(not_found)?;
        if entry.status != "pending" || began.elapsed() >= PATIENCE {
            return Ok(entry);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::WebhookEventNotFound, "There is no such webhook in the journal")
}

/// A webhook of the journal as administrators see it.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookEvent)]
pub(crate) struct Shown<'e> {
    id: JournalId,
    app_id: Option<AppId>,
    /// The organization that it names.
    #[schema(value_type = Option<DialpadId>)]
    dialpad_org_id: Value,
    /// Its `event_type` or `state`, in the sender's words.
    event_type: &'e str,
    /// `pending`, `processed`, `failed` or `unrouted`; of a replay, `duplicate` where the app has had the same one.
    status: &'e str,
    /// Why it waits, or failed.
    reason: Option<&'e str>,
    /// How often it was tried in vain.
    attempts: i32,
    received_at: DateTime<Utc>,
    processed_at: Option<DateTime<Utc>>,
    /// The body to the letter (of a JWS, its claims), or its bytes as Base64.
    #[schema(value_type = Value)]
    payload: Box<RawValue>,
    /// `json` or `base64`.
    payload_encoding: &'static str,
}

impl<'e> Shown<'e> {
    fn of(entry: &'e JournalEntry, ids_as_text: bool) -> Self {
        let organization = entry.organization_id;
        let (payload, payload_encoding) = payload(&entry.payload);
        Self {
            id: entry.id,
            app_id: entry.app,
            dialpad_org_id: match organization {
                Some(id) if ids_as_text => id.to_string().into(),
                id => json!(id),
            },
            event_type: &entry.event_type,
            status: &entry.status,
            reason: entry.reason.as_deref(),
            attempts: entry.attempts,
            received_at: entry.received_at,
            processed_at: entry.processed_at,
            payload,
            payload_encoding,
        }
    }
}

/// The payload to the letter where that is JSON which everybody can read; else its bytes as Base64.
fn payload(bytes: &[u8]) -> (Box<RawValue>, &'static str) {
    let is_json = serde_json::from_slice::<Value>(bytes).is_ok();
    let as_it_is = is_json.then(|| RawValue::from_string(String::from_utf8_lossy(bytes).into_owned()).ok());
    match as_it_is.flatten() {
        Some(json) => (json, "json"),
        None => {
            let text = BASE64_STANDARD.encode(bytes);
            (to_raw_value(&text).expect("a text is JSON"), "base64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_shown_to_the_letter_or_as_its_bytes() {
        let big = br#"{ "call_id" : 12345678901234567890, "a": 1, "a": 2 }"#;
        let (shown, encoding) = payload(big);
        assert_eq!((shown.get().as_bytes(), encoding), (&big[..], "json"));
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        for odd in [&b"\xff\xfe"[..], b"", b"{", b"\xef\xbb\xbf{}", b"1e400", deep.as_bytes()] {
            let (shown, encoding) = payload(odd);
            let text: String = serde_json::from_str(shown.get()).expect("a text");
            assert_eq!((BASE64_STANDARD.decode(text).expect("Base64"), encoding), (odd.to_vec(), "base64"));
        }
    }
}
