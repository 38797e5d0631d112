//! Webhooks from Dialpad: verified, read, routed and stored. They are answered only once they are durable: in the
//! database, or in the spool while the database can't take them.
//!
//! A webhook that an app's supervisor takes at once is stored together with everything that follows from it, in one
//! commit. Any other is appended to the journal, from where the supervisor or an administrator takes it up.
//!
//! An authentic webhook never gets a 4xx, because Dialpad does not repeat it after one: a webhook without an app, and
//! one that can't be read, is kept in the journal with the reason.

mod answer;
mod authenticity;
pub(crate) mod canary;
mod spooled;

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data, Path},
};
use chrono::{DateTime, Utc};
use cti_actors::{
    Stored,
    error::StoreError,
    id::{AppId, JournalId},
    unit::IncomingWebhook,
};
use futures_util::future::try_join_all;
use metrics::histogram;
use tokio::time::{Instant, timeout};
use tracing::{Span, debug, field};

pub(super) use self::spooled::SpoolEntry;
use self::{
    answer::{Taken, Unprocessed, record},
    authenticity::{Verified, not_authentic, verify},
};
use super::{
    error::{ApiError, ErrorCode},
    metrics::WebhookOutcome,
    openapi::{
        errors::{CHANGE, Codes, Errors, codes},
        tags,
        webhook_bodies::{WebhookBody, WorkflowWebhook},
    },
    state::AppState,
};
use crate::{
    jobs::unrouted,
    store::journal::append::Appended,
    telemetry::traces,
    webhook::{
        new_webhook::NewWebhook,
        payload::{self, Family, Reading},
        routing::{self, Addressee, Disposition},
    },
};

/// What webhooks can be refused with.
const WEBHOOK: Codes = CHANGE
    | codes(&[
        ErrorCode::InvalidSignature,
        ErrorCode::RequestTimeout,
        ErrorCode::PayloadTooLarge,
        ErrorCode::UnsupportedMediaType,
        ErrorCode::DatabaseUnavailable,
        ErrorCode::Internal,
    ]);
/// How long the database may take before it is asked whether it can be written at all. Dialpad waits 5 s for an answer, and
/// all that is promised without the database is one second.
const DATABASE_TIMEOUT: Duration = Duration::from_millis(600);
/// How long the database may take for that answer before webhooks go to the spool.
const CHECK_TIMEOUT: Duration = Duration::from_millis(250);
/// How much longer a webhook may take while the database can be written: then this server is slow.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a webhook waits for the app's supervisor to begin with it. After that it is only appended to the journal.
const TAKE_TIMEOUT: Duration = Duration::from_millis(300);

/// Receives a webhook.
///
/// The payload's organization decides which apps it goes to. An authentic webhook is a JSON body with its HMAC-SHA256 in
/// `x-dialpad-signature` (hexadecimal or Base64, with or without `sha256=`), or a compact JWS with `alg` HS256; the body
/// decides which of the two it is. The response is 200 once the webhook is durable, and always for an authentic one: a
/// webhook that belongs to no app, or can't be read, is stored with the reason.
#[utoipa::path(
    post, path = "/webhooks", operation_id = "receive_webhook", tag = tags::WEBHOOKS,
    request_body(content(
        (inline(WebhookBody) = "application/json", example = json!(WorkflowWebhook::example())),
        (String = "application/jwt"),
    )),
    responses(
        (status = 200, description = "The webhook is kept. `status` and `reason` say why it is not processed yet.",
         body = Taken, example = json!(Taken::example())),
        Errors<{ WEBHOOK }>,
    ),
)]
pub(super) async fn shared(
    request: HttpRequest,
    state: Data<AppState>,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    receive(&request, &state, &body, None).await
}

/// Receives a webhook for an app.
///
/// The server registers this address at Dialpad, with a secret of the app's own.
#[utoipa::path(
    post, path = "/webhooks/{app_id}", operation_id = "receive_webhook_of_app", tag = tags::WEBHOOKS,
    params(("app_id" = Uuid, Path, description = "The app. An app that does not exist returns 401.")),
    request_body(content(
        (inline(WebhookBody) = "application/json", example = json!(WorkflowWebhook::example())),
        (String = "application/jwt"),
    )),
    responses(
        (status = 200, description = "The webhook is kept. `status` and `reason` say why it is not processed yet.",
         body = Taken, example = json!(Taken::example())),
        Errors<{ WEBHOOK }>,
    ),
)]
pub(super) async fn own(
    request: HttpRequest,
    state: Data<AppState>,
    app_id: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    // A path that names no app answers like one with a wrong signature.
    let app_id = app_id.parse().map_err(|_| not_authentic())?;
    receive(&request, &state, &body, Some(app_id)).await
}

async fn receive(
    request: &HttpRequest,
    state: &AppState,
    body: &[u8],
    app: Option<AppId>,
) -> Result<HttpResponse, ApiError> {
    let started = Instant::now();
    refuse_compressed(request)?;
    let mut is_direct = state.spool.is_direct();
    if !is_direct {
        is_direct = state.spool.becomes_direct().await;
    }
    let accepted = if is_direct { accept_in_time(request, state, body, app).await } else { Ok(None) };
    let answer = match accepted {
        Ok(Some(taken)) => Ok(taken),
        Ok(None) => traces::step("spool", SpoolEntry::of(state).take(request, body, app)).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &answer {
        WebhookOutcome::of(error).count(Family::Unknown);
    }
    histogram!("cti_webhook_ack_seconds").record(started.elapsed());
    answer
}

/// Refuses a compressed body: its signature would be one of other bytes.
pub(super) fn refuse_compressed(request: &HttpRequest) -> Result<(), ApiError> {
    let encoding = request.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType, "The body must not be compressed"));
    }
    Ok(())
}

/// Stores a webhook in the database. `None`: the database can't take it now, and the next ones don't try.
async fn accept_in_time(
    request: &HttpRequest,
    state: &AppState,
    body: &[u8],
    app: Option<AppId>,
) -> Result<Option<HttpResponse>, ApiError> {
    let began = Instant::now();
    // Boxed, because the layers around a handler move its future several times, and this one is large.
    let mut accepting = Box::pin(accept(request, state, body, app));
    let mut accepted = timeout(DATABASE_TIMEOUT, &mut accepting).await;
    if accepted.is_err() {
        accepted = match timeout(CHECK_TIMEOUT, state.store.check_writable_since(began.into_std())).await {
            Ok(Ok(())) => timeout(BUSY_TIMEOUT, accepting).await,
            Ok(Err(failure)) => Ok(Err(Failure::Store(failure))),
            Err(elapsed) => Err(elapsed),
        };
    }
    let failure = match accepted {
        Ok(Ok(answer)) => return Ok(Some(answer)),
        Ok(Err(Failure::NotAuthentic)) => return Err(not_authentic()),
        // Secrets that can't be decrypted concern only their app.
        Ok(Err(Failure::Store(failure @ StoreError::Corrupt { .. }))) => return Err(failure.into()),
        Ok(Err(Failure::Store(failure))) => failure,
        Err(_) => StoreError::Unavailable("it took too long".into()),
    };
    state.spool.database_failed(&failure);
    Ok(None)
}

/// Why a webhook is not in the database.
enum Failure {
    NotAuthentic,
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(failure: StoreError) -> Self {
        Self::Store(failure)
    }
}

/// Verifies, reads, routes and appends a webhook, and answers it.
async fn accept(
    request: &HttpRequest,
    state: &AppState,
    body: &[u8],
    app: Option<AppId>,
) -> Result<HttpResponse, Failure> {
    let verified = verify(request, state, body, app).await?;

    let received_at = state.clock.now();
    let reading = payload::read_webhook(&verified.payload, received_at);

    let webhooks = route(state, &reading, verified, received_at).await?;
    let unprocessed = Unprocessed::of(&webhooks);
    let (event_id, duplicate) = store(state, webhooks, received_at).await?;
    if let Some(id) = event_id {
        Span::current().record("webhook.id", field::display(id));
        traces::describe("webhook.id", &id);
        debug!(webhook.id = %id, event_type = reading.event_type, duplicate, "a webhook was taken");
    }

    record(&reading, &unprocessed, duplicate, received_at);
    Ok(HttpResponse::Ok().json(Taken::stored(event_id, duplicate, unprocessed)))
}

/// Makes a row for each destination of a webhook.
async fn route(
    state: &AppState,
    reading: &Reading,
    verified: Verified,
    received_at: DateTime<Utc>,
) -> Result<Vec<NewWebhook>, StoreError> {
    let addressee = match (&verified.own, reading.organization_id) {
        (Some((app, own)), _) => own.addressee(*app),
        (None, Some(organization)) => {
            Addressee::Organization(state.store.routes().of_organization(organization).await?)
        }
        (None, None) => Addressee::Organization(Vec::new()),
    };
    let payload: Arc<[u8]> = verified.payload.into();
    let destinations = routing::route(reading, &addressee).into_iter();
    Ok(destinations.map(|to| NewWebhook::new(reading, to, Arc::clone(&payload), received_at)).collect())
}

/// Stores a webhook for each of its destinations. Returns the id of the first one and whether all of them were there
/// before.
async fn store(
    state: &AppState,
    webhooks: Vec<NewWebhook>,
    received_at: DateTime<Utc>,
) -> Result<(Option<JournalId>, bool), StoreError> {
    for app in webhooks.iter().filter_map(|webhook| webhook.app_id) {
        state.silence.note(app, received_at);
    }
    let stored = try_join_all(webhooks.into_iter().map(|webhook| store_one(state, webhook))).await?;
    let is_known = |stored: &Stored| matches!(stored, Stored::Duplicate(_));
    let first = stored.first().map(|first| match first {
        Stored::New(id) | Stored::Duplicate(id) => *id,
    });
    Ok((first, stored.iter().all(is_known)))
}

/// Stores a webhook with what follows from it, if its app's supervisor takes it now, else alone.
async fn store_one(state: &AppState, webhook: NewWebhook) -> Result<Stored, StoreError> {
    let NewWebhook { app_id: Some(app), disposition: Disposition::Pending(content), .. } = webhook else {
        return append(state, webhook, None).await;
    };
    let id = JournalId::generate();
    let incoming = IncomingWebhook {
        id,
        organization_id: webhook.organization_id,
        dedup_key: webhook.dedup_key.into_bytes(),
        event_type: webhook.event_type.clone(),
        payload: Arc::clone(&webhook.payload),
        remark: webhook.unreadable.clone(),
        received_at: webhook.received_at,
        trace: traces::current(),
    };
    if let Ok(submission) = state.engine.submit(app, incoming, *content)
        && let Ok(stored) = submission.stored(TAKE_TIMEOUT).await
    {
        return Ok(stored);
    }
    // Read again, because this is rare, and keeping a copy of the content for it would not be.
    let content = payload::read_webhook(&webhook.payload, webhook.received_at).content;
    let disposition =
        content.map_or_else(Disposition::Failed, |content| Disposition::Pending(Box::new(content)));
    let stored = append(state, NewWebhook { disposition, ..webhook }, Some(id)).await?;
    // Before the answer: a webhook that the sender sends next must not overtake this one.
    state.engine.notify(app);
    Ok(stored)
}

/// Appends a webhook to the journal. `submitted` is the id under which a supervisor that died may have stored it.
async fn append(
    state: &AppState,
    webhook: NewWebhook,
    submitted: Option<JournalId>,
) -> Result<Stored, StoreError> {
    let (app, key) = (webhook.app_id, webhook.dedup_key);
    let awaits_activation = webhook.disposition.awaits_activation();
    let journal = state.store.journal();
    let appended = traces::step("journal", journal.append(vec![webhook])).await?;
    if let Some(app) = app.filter(|_| awaits_activation) {
        unrouted::release_if_active(&state.store, &state.engine, app).await;
    }
    if let Some(Appended::New(id)) = appended.first() {
        return Ok(Stored::New(*id));
    }
    match journal.find_duplicate(app, key).await? {
        Some(first) if Some(first) == submitted => Ok(Stored::New(first)),
        Some(first) => Ok(Stored::Duplicate(first)),
        // It has expired meanwhile.
        None => Err(StoreError::Unavailable("the webhook was deleted while it came again".into())),
    }
}
