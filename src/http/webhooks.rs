//! The door for Dialpad. What comes in here is verified, read, and written; only when it is durable is it answered.
//!
//! An authentic webhook never gets a 4xx, because Dialpad never repeats one after that: what nobody is responsible
//! for, and what can't be read, is kept with the reason.

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data, Path},
};
use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, JournalId},
};
use metrics::{counter, histogram};
use secrecy::SecretString;
use serde::Serialize;
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

use super::{
    error::{ApiError, ErrorCode},
    openapi::{
        errors::{CHANGE, Codes, Errors, codes},
        tags,
        webhook_bodies::{WebhookBody, WorkflowWebhook},
    },
    state::AppState,
};
use crate::{
    jobs::unrouted,
    store::{
        journal::append::{Appended, Disposition, NewWebhook, waiting_for},
        tenants::routes::{OwnRoute, Route},
    },
    webhook::{
        payload::{self, DedupKey, Family, Reading},
        signature,
    },
};

/// What webhooks can be refused with.
const WEBHOOK: Codes = CHANGE
    | codes(&[
        ErrorCode::InvalidSignature,
        ErrorCode::PayloadTooLarge,
        ErrorCode::UnsupportedMediaType,
        ErrorCode::DatabaseUnavailable,
        ErrorCode::Internal,
    ]);
/// Dialpad waits 5 s and then repeats; a clear "not now" well before that keeps its retries for when we are back.
const PATIENCE: Duration = Duration::from_millis(800);

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
        (status = 200, description = "The webhook is stored. `status` and `reason` say why it is not processed.",
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
        (status = 200, description = "The webhook is stored. `status` and `reason` say why it is not processed.",
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
    // An address that can't exist answers as one that doesn't.
    let app_id = app_id.parse().map_err(|_| not_authentic())?;
    receive(&request, &state, &body, Some(app_id)).await
}

async fn receive(
    request: &HttpRequest,
    state: &AppState,
    body: &[u8],
    addressed_to: Option<AppId>,
) -> Result<HttpResponse, ApiError> {
    let began = Instant::now();
    let encoding = request.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType, "The body must not be compressed"));
    }
    // Boxed, because the layers around a handler move its future several times, and this one is large.
    let received = timeout(PATIENCE, Box::pin(take_in(request, state, body, addressed_to))).await;
    let no_time = || Err(StoreError::Unavailable("the database took too long".into()).into());
    let answer = received.unwrap_or_else(|_| no_time());
    if let Err(error) = &answer {
        let outcome = if error.code == ErrorCode::InvalidSignature { "unauthentic" } else { "unavailable" };
        counter!("cti_webhooks_total", "family" => "unknown", "outcome" => outcome).increment(1);
    }
    histogram!("cti_webhook_ack_seconds").record(began.elapsed());
    answer
}

async fn take_in(
    request: &HttpRequest,
    state: &AppState,
    body: &[u8],
    addressed_to: Option<AppId>,
) -> Result<HttpResponse, ApiError> {
    let (own_route, payload) = verified(request, state, body, addressed_to).await?;

    let received_at = state.clock.now();
    let reading = payload::read_webhook(&payload, received_at);
    let webhooks = address(state, &reading, payload.into(), own_route, received_at).await?;
    let told = Told::of(&webhooks);
    let first = webhooks.first().map(|webhook| (webhook.app_id, webhook.dedup_key));
    for app in webhooks.iter().filter_map(|webhook| webhook.app_id) {
        state.silence.note(app, received_at);
    }
    let sleeping = sleeping_apps(&webhooks);
    let appended = state.store.journal().append(webhooks).await?;
    for app in sleeping {
        look_again(state, app).await;
    }
    let duplicate = appended.iter().all(|it| *it == Appended::Duplicate);
    let event_id = first_id(state, first, &appended).await?;
    record(&reading, &told, duplicate, received_at);

    let Told { status, reason } = told;
    Ok(HttpResponse::Ok().json(Taken { success: true, event_id, duplicate, status, reason }))
}

/// The payload of an authentic webhook, and where its address leads.
async fn verified(
    request: &HttpRequest,
    state: &AppState,
    body: &[u8],
    addressed_to: Option<AppId>,
) -> Result<(Option<(AppId, OwnRoute)>, Vec<u8>), ApiError> {
    let header = request.headers().get(&state.config.signature_header).and_then(|value| value.to_str().ok());
    let Some(app) = addressed_to else {
        let payload = signature::verify(body, header, &state.config.webhook_secrets);
        return Ok((None, payload.map_err(|_| not_authentic())?));
    };
    let mut route = state.store.routes().of_app(app).await?.ok_or_else(not_authentic)?;
    let mut payload = signature::verify(body, header, &secrets(state, &route));
    if payload.is_err() {
        // Another process may have made a new secret since this one looked.
        route = state.store.routes().of_app_now(app).await?.ok_or_else(not_authentic)?;
        payload = signature::verify(body, header, &secrets(state, &route));
    }
    Ok((Some((app, route)), payload.map_err(|_| not_authentic())?))
}

fn not_authentic() -> ApiError {
    ApiError::new(ErrorCode::InvalidSignature, "The signature is missing or wrong")
}

/// An app's own secrets, once Dialpad signs with them, are the only ones that open its own address.
fn secrets(state: &AppState, route: &OwnRoute) -> Vec<SecretString> {
    let global = state.config.webhook_secrets.iter().filter(|_| !route.is_confirmed);
    route.secrets.iter().chain(global).cloned().collect()
}

/// Addresses a webhook: a row for each app that it goes to, or one that waits.
async fn address(
    state: &AppState,
    reading: &Reading,
    payload: Arc<[u8]>,
    own_route: Option<(AppId, OwnRoute)>,
    received_at: DateTime<Utc>,
) -> Result<Vec<NewWebhook>, ApiError> {
    let row = |app: Option<AppId>, waits: Option<&'static str>| {
        let disposition = match (&reading.content, waits) {
            (Err(reason), _) => Disposition::Failed(reason.clone()),
            (Ok(_), Some(reason)) => Disposition::Unrouted(reason),
            (Ok(inbound), None) => Disposition::Pending(Box::new(inbound.clone())),
        };
        NewWebhook::new(
            app,
            reading.organization_id,
            reading.dedup_key,
            reading.event_type.clone(),
            Arc::clone(&payload),
            disposition,
            received_at,
        )
    };
    if let Some((app, route)) = own_route {
        let waits = if route.is_foreign(reading.organization_id) {
            Some(waiting_for::ANOTHER_ORGANIZATION)
        } else {
            (!route.is_active).then_some(waiting_for::ACTIVATION)
        };
        return Ok(vec![row(Some(app), waits)]);
    }
    let Some(organization) = reading.organization_id else {
        return Ok(vec![row(None, Some(waiting_for::AN_ORGANIZATION))]);
    };
    let routes = state.store.routes().of_organization(organization).await?;
    if routes.is_empty() {
        return Ok(vec![row(None, Some(waiting_for::AN_APP))]);
    }
    let to_app =
        |route: &Route| row(Some(route.app_id), (!route.is_active).then_some(waiting_for::ACTIVATION));
    Ok(routes.iter().map(to_app).collect())
}

/// The apps that these webhooks wait for to be switched on.
fn sleeping_apps(webhooks: &[NewWebhook]) -> Vec<AppId> {
    let sleeps = |webhook: &&NewWebhook| matches!(webhook.disposition, Disposition::Unrouted(reason) if reason == waiting_for::ACTIVATION);
    webhooks.iter().filter(sleeps).filter_map(|webhook| webhook.app_id).collect()
}

/// The app may have been switched on while its webhook was written: then nobody else comes for it soon.
async fn look_again(state: &AppState, app: AppId) {
    if let Ok(Some(route)) = state.store.routes().of_app(app).await
        && route.is_active
    {
        unrouted::release(&state.store, &state.engine, app).await;
    }
}

/// The id of the first app's row: the new one, or the one that was there before.
async fn first_id(
    state: &AppState,
    first: Option<(Option<AppId>, DedupKey)>,
    appended: &[Appended],
) -> Result<Option<JournalId>, ApiError> {
    match (appended.first(), first) {
        (Some(Appended::New(id)), _) => Ok(Some(*id)),
        (Some(Appended::Duplicate), Some((app, dedup_key))) => {
            Ok(state.store.journal().find_duplicate(app, dedup_key).await?)
        }
        _ => Ok(None),
    }
}

/// The answer to a webhook that is kept.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTaken)]
pub(super) struct Taken {
    success: bool,
    /// Its id in the journal; of one that was seen before, that of the first.
    event_id: Option<JournalId>,
    /// Whether it was seen before. Then nothing is processed or told again.
    duplicate: bool,
    /// `unrouted` or `failed`, where it is kept without being processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    status: Option<&'static str>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

impl Taken {
    fn example() -> Self {
        let event_id = "018cc4e5-2270-7c12-8f01-6a7b8c9d0e1f".parse().ok();
        Self { success: true, event_id, duplicate: false, status: None, reason: None }
    }
}

/// What the answer says of webhooks that are not simply processed.
struct Told {
    status: Option<&'static str>,
    reason: Option<String>,
}

impl Told {
    fn of(webhooks: &[NewWebhook]) -> Self {
        // One row that is processed is enough for the webhook to count as taken.
        let waits = webhooks.iter().all(|webhook| !matches!(webhook.disposition, Disposition::Pending(_)));
        let first = webhooks.first().filter(|_| waits).map(|webhook| &webhook.disposition);
        let reason = first.and_then(|disposition| match disposition {
            Disposition::Pending(_) => None,
            Disposition::Unrouted(reason) => Some((*reason).to_owned()),
            Disposition::Failed(reason) => Some(reason.clone()),
        });
        Self { status: first.map(Disposition::status), reason }
    }
}

fn record(reading: &Reading, told: &Told, duplicate: bool, received_at: DateTime<Utc>) {
    let outcome = if duplicate { "duplicate" } else { told.status.unwrap_or("accepted") };
    counter!("cti_webhooks_total", "family" => reading.family.as_str(), "outcome" => outcome).increment(1);
    if let (Some(at), Family::Native | Family::Workflow) = (reading.at, reading.family) {
        let lag = (received_at - at).to_std().unwrap_or_default();
        histogram!("cti_webhook_lag_seconds").record(lag);
    }
}
