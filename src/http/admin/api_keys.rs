//! The API keys of an app, for administrators. A key is shown once, when it is made; from then on there are hints.

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    rt,
    web::{Bytes, Data, Path},
};
use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{error::StoreError, id::AppId, session::CloseCode};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::info;
use utoipa::ToSchema;
use uuid::Uuid;

use super::apps::{SCOPE, made};
use crate::http::{
    crm::status::existing,
    extract::{
        auth::Administrator,
        body::Fields,
        idempotency::once,
        lists,
        query::{Query, next_link},
    },
    state::AppState,
};
use crate::{http::error::ApiError, store::tenants::api_keys::NewKey};

/// The longest time for which an old key may stay valid: a week.
const LONGEST_GRACE: i64 = 7 * 24 * 3600;

/// A new key.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyMade<'a> {
    app_id: AppId,
    /// `raw_` and 64 hex digits. Shown this once: only a hash is kept.
    api_key: &'a str,
    /// For people.
    message: &'static str,
    created_at: DateTime<Utc>,
}

/// Keys that were ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeysRevoked {
    app_id: AppId,
    /// For people.
    message: &'static str,
    /// How they began and ended.
    revoked: Vec<String>,
}

/// Which keys of an app are valid.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyStatus {
    app_id: AppId,
    has_active_key: bool,
    /// How the newest begins and ends.
    key_hint: Option<String>,
    /// When a key was last replaced; null for as long as the first one never was.
    last_rotated: Option<DateTime<Utc>>,
    /// All that are valid, those in grace too.
    keys: Vec<ValidKey>,
}

/// A valid key.
#[derive(Serialize, ToSchema)]
pub(crate) struct ValidKey {
    /// How it begins and ends.
    key_hint: String,
    created_at: DateTime<Utc>,
    /// When it ends, if that is known already.
    expires_at: Option<DateTime<Utc>>,
}

/// Something that was done to an app's keys.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyAudit)]
pub(crate) struct Audited {
    id: Uuid,
    /// `created`, `rotated` or `revoked`.
    action: String,
    /// How the key that ended begins and ends.
    old_key_hint: Option<String>,
    /// How the new key does.
    new_key_hint: Option<String>,
    created_at: DateTime<Utc>,
}

/// Gives an app a new key.
pub(crate) async fn rotate(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    app_id: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    let body = Fields::of_optional(&body, &["grace_seconds"])?;
    let grace = match body.get("grace_seconds") {
        None | Some(Value::Null) => 0,
        Some(_) => body.number("grace_seconds", 0, LONGEST_GRACE)?.unwrap_or_default(),
    };
    let app = existing(&shared, &app_id).await?;
    let worker = shared.clone();
    // One that nobody heard the end of is simply done again: whatever key it made, nobody has seen it.
    once(&request, &shared, SCOPE.to_owned(), &json!([grace]), move |_| async move {
        made(replace(&worker, app, grace).await)
    })
    .await
}

async fn replace(shared: &AppState, app: AppId, grace: i64) -> Result<Value, StoreError> {
    let key = NewKey::generate();
    let old = shared.store.api_keys().rotate(app, &key, TimeDelta::seconds(grace)).await?;
    let tenant = shared.engine.tenant(app);
    for old in old {
        if grace == 0 {
            tenant.sessions().close_of_key(old.id(), CloseCode::Forbidden, "the API key was replaced");
        } else {
            let tenant = Arc::clone(&tenant);
            let grace = Duration::from_secs(grace.unsigned_abs());
            rt::spawn(async move {
                sleep(grace).await;
                tenant.sessions().close_of_key(old.id(), CloseCode::Forbidden, "the API key was replaced");
            });
        }
    }
    info!(app.id = %app, grace_s = grace, "an API key was rotated");
    Ok(json!(KeyMade {
        app_id: app,
        api_key: key.key.expose_secret(),
        message: "API key replaced. SAVE THE API KEY - it will not be shown again.",
        created_at: shared.clock.now(),
    }))
}

/// Ends all keys of an app at once. It has none then, until it gets a new one.
pub(crate) async fn revoke(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    app_id: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    Fields::of_optional(&body, &[])?;
    let app = existing(&shared, &app_id).await?;
    let revoked = shared.store.api_keys().revoke(app).await?;
    // None of the app's sessions has a key any more, whichever it was.
    shared.engine.close_sessions_of(app, CloseCode::Forbidden, "the API key was revoked");
    info!(app.id = %app, keys = revoked.len(), "API keys were revoked");
    let message = if revoked.is_empty() { "App had no API key" } else { "API keys revoked" };
    let revoked = revoked.into_iter().map(|key| key.hint).collect();
    Ok(HttpResponse::Ok().json(KeysRevoked { app_id: app, message, revoked }))
}

pub(crate) async fn status(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    app_id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    let app = existing(&shared, &app_id).await?;
    let (keys, last_rotated) =
        (shared.store.api_keys().valid(app).await?, shared.store.api_keys().last_rotated(app).await?);
    Ok(HttpResponse::Ok().json(KeyStatus {
        app_id: app,
        has_active_key: !keys.is_empty(),
        key_hint: keys.last().map(|key| key.hint.clone()),
        last_rotated,
        keys: keys
            .into_iter()
            .map(|key| ValidKey {
                key_hint: key.hint,
                created_at: key.created_at,
                expires_at: key.expires_at,
            })
            .collect(),
    }))
}

/// What was done to an app's keys, the newest first.
pub(crate) async fn audit(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    app_id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["limit", "offset"])?;
    let (limit, offset) = (lists::limit(&query)?, query.integer("offset")?.unwrap_or(0));
    if offset < 0 {
        return Err(ApiError::invalid("offset: must not be negative"));
    }
    let app = existing(&shared, &app_id).await?;
    let mut entries = shared.store.api_keys().audit(app, limit + 1, offset).await?;
    let mut answer = HttpResponse::Ok();
    if entries.len() > limit {
        entries.truncate(limit);
        let next = offset.saturating_add_unsigned(limit as u64).to_string();
        answer.insert_header((header::LINK, next_link(&request, &[("offset", &next)])));
    }
    let entries = entries.into_iter().map(|entry| Audited {
        id: entry.id(),
        action: entry.action,
        old_key_hint: entry.old_key_hint,
        new_key_hint: entry.new_key_hint,
        created_at: entry.created_at,
    });
    Ok(answer.json(entries.collect::<Vec<_>>()))
}
