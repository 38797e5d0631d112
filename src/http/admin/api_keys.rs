//! The API keys of an app, for administrators. A key is shown once, when it is created; after that only hints are.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse, rt,
    web::{Data, Path},
};
use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    Engine,
    error::StoreError,
    id::{AppId, KeyId},
    session::CloseCode,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::info;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    http::{
        error::{ApiError, ErrorCode::AppNotFound},
        extract::{
            app::AppPath,
            auth::Administrator,
            body::OptionalJson,
            idempotency::{ADMINISTRATORS, IdempotencyKey, Outcome, once},
            ids::{Ids, Listing},
            lists::PageLimit,
            values::{WholeNumber, WholeNumberOr},
        },
        openapi::{
            admin_examples,
            errors::{ADMINISTRATOR, BODY, CHANGE, Errors, IDEMPOTENT, codes},
            tags,
        },
        state::AppState,
    },
    store::tenants::api_keys::{KeyInfo, NewKey},
};

/// For how many seconds replaced keys stay valid: at most a week.
type GraceSeconds = WholeNumber<0, { 7 * 24 * 3600 }>;

/// How a key is replaced.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRotation {
    /// For how long the old keys stay valid; without it they end at once.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 604_800)]
    grace_seconds: Option<GraceSeconds>,
}

/// A body without fields.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoFields {}

/// Where a page of the audit log begins, and how long it is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditPaging {
    /// The maximum number of entries on the page.
    #[serde(default)]
    #[param(inline)]
    limit: PageLimit,
    /// How many entries to skip.
    #[serde(default)]
    #[param(inline)]
    offset: Offset,
}

type Offset = WholeNumberOr<0, 0, { i64::MAX }>;

/// A new key.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyMade)]
pub(crate) struct CreatedKey<'a> {
    app_id: AppId,
    /// `raw_` and 64 hexadecimal digits. Shown this once: only a hash is stored.
    api_key: &'a str,
    /// A sentence for people.
    message: &'static str,
    created_at: DateTime<Utc>,
}

/// Keys that were revoked.
#[derive(Serialize, ToSchema)]
#[schema(as = KeysRevoked)]
pub(crate) struct RevokedKeys {
    app_id: AppId,
    /// A sentence for people.
    message: &'static str,
    /// The beginnings and ends of the keys.
    revoked: Vec<String>,
}

/// The valid keys of an app.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyStatus {
    app_id: AppId,
    has_active_key: bool,
    /// The beginning and end of the newest key.
    key_hint: Option<String>,
    /// When a key was last replaced; null if the first key is still in use.
    last_rotated: Option<DateTime<Utc>>,
    /// All valid keys, including replaced ones in their grace period.
    keys: Vec<ValidKey>,
}

/// A valid key.
#[derive(Serialize, ToSchema)]
pub(crate) struct ValidKey {
    /// The beginning and end of the key.
    key_hint: String,
    created_at: DateTime<Utc>,
    /// When the key ends, if that is known.
    expires_at: Option<DateTime<Utc>>,
}

/// A change of an app's keys.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyAudit)]
pub(crate) struct AuditEntry {
    id: Uuid,
    /// `created`, `rotated`, `revoked`, or `erased`: a person was erased from the app.
    action: String,
    /// The beginning and end of the key that ended.
    old_key_hint: Option<String>,
    /// The beginning and end of the new key.
    new_key_hint: Option<String>,
    /// A hash of the number of a person who was erased. Only the server's encryption key can make it.
    number_hash: Option<String>,
    created_at: DateTime<Utc>,
}

/// Replaces an app's key.
///
/// The old keys and their sessions end at once, or after `grace_seconds`.
#[utoipa::path(
    post, path = "/internal/apps/{app_id}/api-key", operation_id = "rotate_key", tag = tags::API_KEYS,
    params(AppPath, IdempotencyKey),
    request_body(content = Option<KeyRotation>, example = json!({"grace_seconds": 3600})),
    responses(
        (status = 200, description = "The new key.", body = CreatedKey<'static>,
         example = json!(admin_examples::created_key())),
        Errors<{ ADMINISTRATOR | CHANGE | BODY | IDEMPOTENT | codes(&[AppNotFound]) }>,
    ),
)]
pub(crate) async fn rotate(
    administrator: Administrator<(), OptionalJson<KeyRotation>>,
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, ApiError> {
    let OptionalJson(KeyRotation { grace_seconds }) = administrator.body;
    let grace = grace_seconds.map_or(0, |seconds| seconds.0);
    let app = path.find(&state).await?;
    let worker = state.clone();
    // An attempt whose result is unknown is repeated: the key that it may have created was never shown to anyone.
    once(&request, &state, ADMINISTRATORS.to_owned(), &json!([grace]), move |_| async move {
        Outcome::of_store(replace(&worker, app, grace).await)
    })
    .await
}

async fn replace(state: &AppState, app: AppId, grace_seconds: i64) -> Result<Value, StoreError> {
    let key = replace_key(state, app, grace_seconds).await?;
    Ok(json!(CreatedKey {
        app_id: app,
        api_key: key.key.expose_secret(),
        message: "API key replaced. SAVE THE API KEY - it will not be shown again.",
        created_at: state.clock.now(),
    }))
}

/// Replaces the keys of an app by a new one. The old ones, and their sessions, end after the grace time.
///
/// # Errors
/// Of the database.
pub(crate) async fn replace_key(
    state: &AppState,
    app: AppId,
    grace_seconds: i64,
) -> Result<NewKey, StoreError> {
    let key = NewKey::generate();
    let replaced = state.store.api_keys().rotate(app, &key, TimeDelta::seconds(grace_seconds)).await?;
    let grace = Duration::from_secs(grace_seconds.unsigned_abs());
    for old in replaced {
        close_sessions(&state.engine, app, old.id, grace);
    }
    state.engine.announce_access(app);
    info!(app.id = %app, grace_s = grace_seconds, "an API key was rotated");
    Ok(key)
}

/// Closes the sessions of a key when its grace period is over.
fn close_sessions(engine: &Engine, app: AppId, key: KeyId, grace: Duration) {
    let tenant = engine.tenant(app);
    let reason = "the API key was replaced";
    if grace.is_zero() {
        return tenant.sessions().close_of_key(key, CloseCode::Forbidden, reason);
    }
    rt::spawn(async move {
        sleep(grace).await;
        tenant.sessions().close_of_key(key, CloseCode::Forbidden, reason);
    });
}

/// Revokes all keys of an app.
///
/// At once. The app has no key until it gets a new one.
#[utoipa::path(
    post, path = "/internal/apps/{app_id}/api-key/revoke", operation_id = "revoke_keys", tag = tags::API_KEYS,
    params(AppPath),
    responses(
        (status = 200, description = "The keys that ended.", body = RevokedKeys,
         example = json!(admin_examples::revoked_keys())),
        Errors<{ ADMINISTRATOR | CHANGE | BODY | codes(&[AppNotFound]) }>,
    ),
)]
pub(crate) async fn revoke(
    _: Administrator<(), OptionalJson<NoFields>>,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, ApiError> {
    let app = path.find(&state).await?;
    let revoked = revoke_keys(&state, app).await?;
    let message = if revoked.is_empty() { "App had no API key" } else { "API keys revoked" };
    let revoked = revoked.into_iter().map(|key| key.hint).collect();
    Ok(HttpResponse::Ok().json(RevokedKeys { app_id: app, message, revoked }))
}

/// Revokes all keys of an app, and closes its sessions.
///
/// # Errors
/// Of the database.
pub(crate) async fn revoke_keys(state: &AppState, app: AppId) -> Result<Vec<KeyInfo>, StoreError> {
    let revoked = state.store.api_keys().revoke(app).await?;
    // No session of the app has a valid key any more.
    state.engine.close_sessions_of(app, CloseCode::Forbidden, "the API key was revoked");
    info!(app.id = %app, keys = revoked.len(), "API keys were revoked");
    Ok(revoked)
}

/// Returns the valid keys of an app.
///
/// By their beginnings and ends, never in full.
#[utoipa::path(
    get, path = "/internal/apps/{app_id}/api-key/status", operation_id = "key_status", tag = tags::API_KEYS,
    params(AppPath),
    responses(
        (status = 200, description = "The valid keys.", body = KeyStatus,
         example = json!(admin_examples::key_status())),
        Errors<{ ADMINISTRATOR | codes(&[AppNotFound]) }>,
    ),
)]
pub(crate) async fn status(
    _: Administrator,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, ApiError> {
    let app = path.find(&state).await?;
    let keys = state.store.api_keys().valid(app).await?;
    let last_rotated = state.store.api_keys().last_rotated(app).await?;
    let keys = keys.into_iter().map(|key| ValidKey {
        key_hint: key.hint,
        created_at: key.created_at,
        expires_at: key.expires_at,
    });
    let keys: Vec<ValidKey> = keys.collect();
    Ok(HttpResponse::Ok().json(KeyStatus {
        app_id: app,
        has_active_key: !keys.is_empty(),
        key_hint: keys.last().map(|key| key.key_hint.clone()),
        last_rotated,
        keys,
    }))
}

/// Lists the changes of an app's keys.
///
/// The newest first.
#[utoipa::path(
    get, path = "/internal/apps/{app_id}/api-key/audit", operation_id = "key_audit", tag = tags::API_KEYS,
    params(AppPath, AuditPaging),
    responses(
        (status = 200, description = "A page of entries.", body = Vec<AuditEntry>,
         headers(("Link" = String, description = "The next page. Absent on the last page.")),
         example = json!([admin_examples::key_audit()])),
        Errors<{ ADMINISTRATOR | codes(&[AppNotFound]) }>,
    ),
)]
pub(crate) async fn audit(
    administrator: Administrator<AuditPaging>,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<Listing<AuditEntry>, ApiError> {
    let (limit, offset) = (administrator.query.limit.count(), administrator.query.offset.get());
    let app = path.find(&state).await?;
    let mut entries = state.store.api_keys().audit(app, limit + 1, offset).await?;
    let next = (entries.len() > limit).then(|| offset.saturating_add_unsigned(limit as u64).to_string());
    entries.truncate(limit);
    let items = entries.into_iter().map(|entry| AuditEntry {
        id: entry.id,
        action: entry.action,
        old_key_hint: entry.old_key_hint,
        new_key_hint: entry.new_key_hint,
        number_hash: entry.number_hash,
        created_at: entry.created_at,
    });
    let next = next.map(|offset| ("offset", offset));
    Ok(Listing { items: items.collect(), next, ids: Ids::default() })
}
