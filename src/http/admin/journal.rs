//! The journal, for administrators: every authentic webhook, the result of processing it, and replays.

use std::time::Duration;

use actix_web::web::{Data, Path};
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use cti_actors::{
    event::schema::DialpadId,
    id::{AppId, JournalId},
};
use serde::{Deserialize, Serialize};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use tokio::time::{Instant, sleep};
use tracing::info;
use utoipa::{IntoParams, ToSchema};

use crate::{
    http::{
        error::{
            ApiError,
            ErrorCode::{AlreadyProcessed, AppNotFound, WebhookEventNotFound},
        },
        extract::{
            app::{AppFilter, AppRef, another_apps},
            auth::Administrator,
            body::OptionalJson,
            ids::{Ids, Listing, Reply},
            lists::Paging,
            query::parameters,
            values::{Timestamp, not_null},
        },
        openapi::{
            admin_examples,
            errors::{ADMINISTRATOR, BODY, CHANGE, Errors, codes},
            tags,
        },
        state::AppState,
    },
    store::{
        journal::{
            replay::Replay,
            views::{JournalEntry, JournalFilter},
        },
        views::listing::Page,
    },
};

/// How long an answer waits until the engine has processed a replayed webhook.
const PROCESSING_TIMEOUT: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(15);

/// The state of a webhook.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JournalStatus {
    Pending,
    Processed,
    Failed,
    Unrouted,
}

impl JournalStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processed => "processed",
            Self::Failed => "failed",
            Self::Unrouted => "unrouted",
        }
    }
}

/// The webhooks that are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WebhookEventFilter {
    /// Only webhooks with this status.
    #[param(inline)]
    status: Option<JournalStatus>,
    /// Only webhooks with this `event_type` or `state`.
    event_type: Option<String>,
    /// Only webhooks that were received at or after this time. RFC 3339, unix seconds or unix milliseconds.
    #[param(inline)]
    since: Option<Timestamp>,
    /// Only webhooks that were received before this time. RFC 3339, unix seconds or unix milliseconds.
    #[param(inline)]
    until: Option<Timestamp>,
}

parameters! {
    /// The parameters of the list of webhooks.
    pub(crate) struct ListWebhookEvents {
        filter: WebhookEventFilter,
        app: AppFilter,
        paging: Paging,
        ids: Ids,
    }
}

/// A webhook in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct WebhookEventPath {
    /// The `event_id` with which the webhook was acknowledged.
    #[param(value_type = Uuid)]
    id: String,
}

/// How a webhook is replayed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Replay)]
pub(crate) struct ReplayRequest {
    /// The app that the webhook is for, if the webhook does not say so itself.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = Option<Uuid>, nullable = false)]
    app_id: Option<AppRef>,
}

/// A webhook in the journal.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookEvent)]
pub(crate) struct WebhookEvent {
    id: JournalId,
    app_id: Option<AppId>,
    /// The organization that the webhook names.
    #[schema(value_type = Option<DialpadId>)]
    dialpad_org_id: Value,
    /// Its `event_type` or `state`, as sent.
    event_type: String,
    /// `pending`, `processed`, `failed` or `unrouted`; of a replay, `duplicate` if the app has the same webhook
    /// already.
    status: String,
    /// Why it waits, or failed.
    reason: Option<String>,
    /// The number of failed attempts.
    attempts: i32,
    received_at: DateTime<Utc>,
    processed_at: Option<DateTime<Utc>>,
    /// The body exactly as received (of a JWS, its claims), or its bytes in Base64.
    #[schema(value_type = Value)]
    payload: Box<RawValue>,
    /// `json` or `base64`.
    payload_encoding: &'static str,
}

impl WebhookEvent {
    fn new(entry: JournalEntry, ids: Ids) -> Self {
        let (payload, payload_encoding) = payload(&entry.payload);
        Self {
            id: entry.id,
            app_id: entry.app,
            // Not rewritten by `Reply`: the ids in the payload stay as received.
            dialpad_org_id: match entry.organization_id {
                Some(id) if ids.as_text() => id.to_string().into(),
                id => json!(id),
            },
            event_type: entry.event_type,
            status: entry.status,
            reason: entry.reason,
            attempts: entry.attempts,
            received_at: entry.received_at,
            processed_at: entry.processed_at,
            payload,
            payload_encoding,
        }
    }
}

/// Lists received webhooks.
///
/// The newest first. A page ends before its payloads exceed 4 MiB.
#[utoipa::path(
    get, path = "/internal/webhook-events", operation_id = "list_webhook_events", tag = tags::JOURNAL,
    params(ListWebhookEvents),
    responses(
        (status = 200, description = "A page of webhooks.", body = Vec<WebhookEvent>,
         headers(("Link" = String, description = "The next page. Absent on the last page.")),
         example = json!([admin_examples::unrouted_webhook_event()])),
        Errors<{ ADMINISTRATOR | codes(&[AppNotFound]) }>,
    ),
)]
pub(crate) async fn list(
    administrator: Administrator<ListWebhookEvents>,
    state: Data<AppState>,
) -> Result<Listing<WebhookEvent>, ApiError> {
    let ListWebhookEvents { filter, app, paging, ids } = administrator.query;
    let filter = JournalFilter {
        status: filter.status.map(|status| status.as_str().to_owned()),
        app: app.find(&state).await?,
        event_type: filter.event_type,
        since: filter.since.map(|time| time.0),
        until: filter.until.map(|time| time.0),
        digits: Vec::new(),
    };
    let page = state.store.journal().list(&filter, paging.cursor(), paging.limit()).await?;
    let items = page.items.into_iter().map(|entry| WebhookEvent::new(entry, ids)).collect();
    Ok(Listing::new(Page { items, next: page.next }, Ids::default()))
}

/// Returns a received webhook.
#[utoipa::path(
    get, path = "/internal/webhook-events/{id}", operation_id = "get_webhook_event", tag = tags::JOURNAL,
    params(WebhookEventPath, Ids),
    responses(
        (status = 200, description = "The webhook.", body = WebhookEvent,
         example = json!(admin_examples::unrouted_webhook_event())),
        Errors<{ ADMINISTRATOR | codes(&[WebhookEventNotFound]) }>,
    ),
)]
pub(crate) async fn one(
    administrator: Administrator<Ids>,
    state: Data<AppState>,
    path: Path<WebhookEventPath>,
) -> Result<Reply<WebhookEvent>, ApiError> {
    let id = path.id.parse().map_err(|_| not_found())?;
    let entry = state.store.journal().entry(id).await?.ok_or_else(not_found)?;
    Ok(reply(entry, administrator.query))
}

/// Processes a webhook again.
///
/// A failed webhook is processed again, an unrouted one is routed again. Returns the webhook with the result.
#[utoipa::path(
    post, path = "/internal/webhook-events/{id}/replay", operation_id = "replay_webhook_event",
    tag = tags::JOURNAL, params(WebhookEventPath, Ids),
    request_body(content = Option<ReplayRequest>, example = json!({"app_id": crate::http::openapi::examples::APP})),
    responses(
        (status = 200, description = "The webhook with the result.", body = WebhookEvent,
         example = json!(admin_examples::replayed_webhook_event())),
        Errors<{
            ADMINISTRATOR | CHANGE | BODY | codes(&[WebhookEventNotFound, AppNotFound, AlreadyProcessed])
        }>,
    ),
)]
pub(crate) async fn replay(
    administrator: Administrator<Ids, OptionalJson<ReplayRequest>>,
    state: Data<AppState>,
    path: Path<WebhookEventPath>,
) -> Result<Reply<WebhookEvent>, ApiError> {
    let Administrator { query: ids, body: OptionalJson(ReplayRequest { app_id }) } = administrator;
    let owner = match app_id {
        Some(app) => Some(app.find(&state).await?),
        None => None,
    };
    let id: JournalId = path.id.parse().map_err(|_| not_found())?;
    Ok(reply(replay_webhook(&state, id, owner).await?, ids))
}

/// Processes a webhook again, and returns it with the result.
///
/// # Errors
/// There is no such webhook, it was processed already, it belongs to another app than `owner`, or the database is
/// unavailable.
pub(crate) async fn replay_webhook(
    state: &AppState,
    id: JournalId,
    owner: Option<AppId>,
) -> Result<JournalEntry, ApiError> {
    let before = state.store.journal().entry(id).await?.ok_or_else(not_found)?;
    Ok(match state.store.journal().replay(id, owner).await? {
        Replay::NotFound => return Err(not_found()),
        Replay::AlreadyProcessed => {
            return Err(ApiError::new(AlreadyProcessed, "The webhook was processed already"));
        }
        Replay::BelongsToAnotherApp => return Err(another_apps("the webhook belongs to another app")),
        Replay::Duplicate => JournalEntry { status: "duplicate".into(), reason: None, ..before },
        Replay::Kept => state.store.journal().entry(id).await?.ok_or_else(not_found)?,
        Replay::Taken(apps) => {
            info!(webhook.id = %id, "a webhook is replayed");
            apps.iter().for_each(|app| state.engine.notify(*app));
            processed(state, id).await?
        }
    })
}

fn reply(entry: JournalEntry, ids: Ids) -> Reply<WebhookEvent> {
    Reply(WebhookEvent::new(entry, ids), Ids::default())
}

/// Returns a webhook once it is processed, or as it is after [`PROCESSING_TIMEOUT`].
async fn processed(state: &AppState, id: JournalId) -> Result<JournalEntry, ApiError> {
    let started = Instant::now();
    loop {
        let entry = state.store.journal().entry(id).await?.ok_or_else(not_found)?;
        if entry.status != "pending" || started.elapsed() >= PROCESSING_TIMEOUT {
            return Ok(entry);
        }
        sleep(POLL_INTERVAL).await;
    }
}

pub(crate) fn not_found() -> ApiError {
    ApiError::new(WebhookEventNotFound, "There is no such webhook in the journal")
}

/// Returns the payload exactly as received if every client can parse it as JSON; otherwise its bytes in Base64.
fn payload(bytes: &[u8]) -> (Box<RawValue>, &'static str) {
    let is_json = serde_json::from_slice::<Value>(bytes).is_ok();
    let verbatim = is_json.then(|| RawValue::from_string(String::from_utf8_lossy(bytes).into_owned()).ok());
    match verbatim.flatten() {
        Some(json) => (json, "json"),
        None => {
            let text = BASE64_STANDARD.encode(bytes);
            (to_raw_value(&text).expect("a string is JSON"), "base64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_shown_exactly_or_as_its_bytes() {
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
