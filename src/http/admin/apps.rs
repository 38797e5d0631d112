//! Apps, for administrators.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Bytes, Data, Path},
};
use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, event::schema::DialpadId, id::AppId, session::CloseCode};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Value, json};
use tracing::info;
use utoipa::ToSchema;

use crate::http::{
    crm::status::{existing, state_of},
    extract::{
        auth::Administrator,
        body::Fields,
        idempotency::{Attempt, Outcome, once},
        lists,
        query::{Query, write_ids_as_text},
    },
    state::AppState,
};
use crate::{
    http::error::{ApiError, ErrorCode},
    jobs::unrouted,
    store::{
        tenants::{
            api_keys::NewKey,
            apps::{App, AppCounts},
            deletion::RemovalBegun,
        },
        views::listing::Page,
    },
};

/// Whose idempotency keys those of administrators are.
pub(crate) const SCOPE: &str = "internal";
/// The longest name of an app, in characters.
const LONGEST_NAME: usize = 255;

/// A new app.
#[derive(Serialize, ToSchema)]
pub(crate) struct AppMade<'a> {
    app_id: AppId,
    /// `raw_` and 64 hex digits. Shown this once: only a hash is kept.
    api_key: &'a str,
    /// For people.
    message: &'static str,
    name: &'a str,
    created_at: DateTime<Utc>,
}

pub(crate) async fn create(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    let body = Fields::of(&body, &["name"])?;
    let name = body.required_text("name", LONGEST_NAME)?.to_owned();
    let (asked, worker) = (json!([name]), shared.clone());
    once(&request, &shared, SCOPE.to_owned(), &asked, move |attempt| async move {
        made(make(&worker, &name, attempt).await)
    })
    .await
}

async fn make(shared: &AppState, name: &str, attempt: Attempt) -> Result<Value, StoreError> {
    // The id is the same in every attempt: an app that an earlier one has made is found by it.
    let (id, key) = (AppId(attempt.correlation), NewKey::generate());
    let before = if attempt.is_in_doubt { shared.store.apps().find(id).await? } else { None };
    let app = match before {
        // Nobody has ever seen its key.
        Some(app) => {
            shared.store.api_keys().rotate(id, &key, chrono::TimeDelta::zero()).await?;
            app
        }
        None => shared.store.apps().create_with_id(id, name, &key).await?,
    };
    info!(app.id = %id, "an app was created");
    Ok(json!(AppMade {
        app_id: id,
        api_key: key.key.expose_secret(),
        message: "App created successfully. SAVE THE API KEY - it will not be shown again.",
        name: &app.name,
        created_at: app.created_at,
    }))
}

/// What came of a request that creates something and may safely be done once more.
pub(crate) fn made(outcome: Result<Value, StoreError>) -> Outcome {
    match outcome {
        Ok(body) => Outcome::Done(StatusCode::OK, body),
        Err(failure @ StoreError::Unavailable(_)) => Outcome::InDoubt(failure.into()),
        Err(failure) => Outcome::NothingDone(failure.into()),
    }
}

pub(crate) async fn list(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["limit", "cursor"])?;
    let page = shared.store.apps().list(query.cursor()?, lists::limit(&query)?).await?;
    let page = Page { items: page.items.into_iter().map(shape).collect::<Vec<_>>(), next: page.next };
    lists::page(&request, &query, &page)
}

pub(crate) async fn one(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    app_id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    let ids_as_text = query.ids_as_text()?;
    let app = existing(&shared, &app_id).await?;
    show(&shared, app, ids_as_text).await
}

/// Renames an app, and switches it on or off.
pub(crate) async fn change(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    app_id: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    let ids_as_text = Query::of(&request, &["ids"])?.ids_as_text()?;
    let body = Fields::of(&body, &["name", "is_active"])?;
    let (name, is_active) = (body.text("name", LONGEST_NAME)?, body.switch("is_active")?);
    let app = existing(&shared, &app_id).await?;
    if let Some(name) = name {
        shared.store.apps().rename(app, name).await?;
    }
    match is_active {
        Some(true) => unrouted::switch_on(&shared.store, &shared.engine, app).await?,
        Some(false) => {
            shared.store.apps().deactivate(app).await?;
            shared.engine.close_sessions_of(app, CloseCode::Forbidden, "the app was switched off");
            info!(app.id = %app, "an app was switched off");
        }
        None => {}
    }
    show(&shared, app, ids_as_text).await
}

/// Removes an app with all its data. Asking again is answered alike.
pub(crate) async fn remove(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    app_id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    let not_found = || ApiError::new(ErrorCode::AppNotFound, "There is no such app");
    let app = app_id.parse().map_err(|_| not_found())?;
    match shared.app_deletion.remove(app).await? {
        RemovalBegun::Now | RemovalBegun::Before => Ok(HttpResponse::NoContent().finish()),
        RemovalBegun::NoSuchApp => Err(not_found()),
    }
}

async fn show(shared: &AppState, id: AppId, ids_as_text: bool) -> Result<HttpResponse, ApiError> {
    let app = shared.store.apps().find(id).await?;
    let app = app.ok_or_else(|| ApiError::new(ErrorCode::AppNotFound, "There is no such app"))?;
    let (standing, counts) =
        (shared.store.connections().state(id).await?, shared.store.apps().counts(id).await?);
    let connection = standing.map(|standing| {
        let (status, _) = state_of(&standing, shared.config.environment.as_str());
        Connection {
            status,
            environment: standing.environment,
            dialpad_org_id: standing.dialpad_org_id,
            connected_at: standing.connected_at,
            token_expires_at: standing.expires_at,
            degraded_since: standing.degraded_since,
            problem: standing.refresh_problem,
        }
    });
    let counts = Counts { kept: counts, sessions: shared.engine.session_count_of(id) };
    let mut body = json!(AppInFull { app: shape(app), connection, counts });
    if ids_as_text {
        write_ids_as_text(&mut body);
    }
    Ok(HttpResponse::Ok().json(body))
}

/// An app as lists show it.
#[derive(Serialize, ToSchema)]
#[schema(as = App)]
pub(crate) struct Shown {
    app_id: AppId,
    name: String,
    /// Whether it may use the server.
    is_active: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// An app with its connection and what it has.
#[derive(Serialize, ToSchema)]
pub(crate) struct AppInFull {
    #[serde(flatten)]
    app: Shown,
    connection: Option<Connection>,
    counts: Counts,
}

/// An app's connection to Dialpad.
#[derive(Serialize, ToSchema)]
pub(crate) struct Connection {
    /// `connected`, `degraded`, `expired` or `disconnected`.
    status: &'static str,
    /// `sandbox` or `production`.
    environment: String,
    /// The organization.
    #[schema(value_type = Option<DialpadId>)]
    dialpad_org_id: Option<i64>,
    connected_at: DateTime<Utc>,
    /// When the present token ends; null for one that does not.
    token_expires_at: Option<DateTime<Utc>>,
    /// Since when the tokens can't be renewed.
    degraded_since: Option<DateTime<Utc>>,
    /// Why they can't.
    problem: Option<String>,
}

/// What an app has.
#[derive(Serialize, ToSchema)]
pub(crate) struct Counts {
    #[serde(flatten)]
    kept: AppCounts,
    /// Those of this process that are open.
    sessions: usize,
}

fn shape(app: App) -> Shown {
    let app_id = app.id();
    let App { name, is_active, created_at, updated_at, .. } = app;
    Shown { app_id, name, is_active, created_at, updated_at }
}
