//! Apps, for administrators.

mod bodies;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use chrono::TimeDelta;
use cti_actors::{error::StoreError, id::AppId, model::number::Region, session::CloseCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tracing::{info, warn};

use self::bodies::{AppChange, AppDetails, AppView, Connection, Counts, CreateAppRequest, CreatedApp};
use crate::{
    http::{
        error::{ApiError, ErrorCode::AppNotFound},
        extract::{
            app::{AppPath, app_not_found},
            auth::Administrator,
            body::Json,
            idempotency::{ADMINISTRATORS, Attempt, IdempotencyKey, Outcome, once},
            ids::{Ids, Listing, Reply},
            lists::Paging,
            values::Trimmed,
        },
        openapi::{
            admin_examples,
            errors::{ADMINISTRATOR, BODY, CHANGE, Errors, IDEMPOTENT, codes},
            tags,
        },
        state::AppState,
    },
    jobs::unrouted,
    store::{
        tenants::{api_keys::NewKey, apps::App, deletion::DeletionBegun},
        views::listing::Page,
    },
};

/// Creates an app.
///
/// Its API key is shown this once; only a hash is stored.
#[utoipa::path(
    post, path = "/internal/apps", operation_id = "create_app", tag = tags::APPS, params(IdempotencyKey),
    request_body(content = CreateAppRequest, example = json!({"name": "My CRM Backend"})),
    responses(
        (status = 200, description = "The app with its key.", body = CreatedApp<'static>,
         example = json!(admin_examples::created_app())),
        Errors<{ ADMINISTRATOR | CHANGE | BODY | IDEMPOTENT }>,
    ),
)]
pub(crate) async fn create(
    administrator: Administrator<(), Json<CreateAppRequest>>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let Json(CreateAppRequest { name: Trimmed(name) }) = administrator.body;
    let (content, worker) = (json!([name]), state.clone());
    once(&request, &state, ADMINISTRATORS.to_owned(), &content, move |attempt| async move {
        Outcome::of_store(create_once(&worker, &name, attempt).await)
    })
    .await
}

async fn create_once(state: &AppState, name: &str, attempt: Attempt) -> Result<Value, StoreError> {
    // The id is the same in every attempt, so an app that an earlier attempt created is found by it.
    let id = AppId(attempt.correlation);
    let (app, key) = create_with_key(state, id, name, attempt.follows_unknown).await?;
    Ok(json!(CreatedApp {
        app_id: id,
        api_key: key.key.expose_secret(),
        message: "App created successfully. SAVE THE API KEY - it will not be shown again.",
        name: &app.name,
        created_at: app.created_at,
    }))
}

/// Creates an app with this id, and its first key. One that may exist from an earlier attempt gets a new key.
///
/// # Errors
/// Of the database; or the id is that of another app.
pub(crate) async fn create_with_key(
    state: &AppState,
    id: AppId,
    name: &str,
    may_exist: bool,
) -> Result<(App, NewKey), StoreError> {
    let key = NewKey::generate();
    let earlier = if may_exist { state.store.apps().find(id).await? } else { None };
    let app = match earlier {
        // Its key was never shown to anyone.
        Some(app) => {
            state.store.api_keys().rotate(id, &key, TimeDelta::zero()).await?;
            app
        }
        None => {
            let app = state.store.apps().create_with_id(id, name, &key).await?;
            state.cluster.created(id);
            app
        }
    };
    info!(app.id = %id, "an app was created");
    Ok((app, key))
}

/// Lists apps.
///
/// The newest first.
#[utoipa::path(
    get, path = "/internal/apps", operation_id = "list_apps", tag = tags::APPS, params(Paging),
    responses(
        (status = 200, description = "A page of apps.", body = Vec<AppView>,
         headers(("Link" = String, description = "The next page. Absent on the last page.")),
         example = json!([admin_examples::app()])),
        Errors<{ ADMINISTRATOR }>,
    ),
)]
pub(crate) async fn list(
    administrator: Administrator<Paging>,
    state: Data<AppState>,
) -> Result<Listing<AppView>, ApiError> {
    let paging = administrator.query;
    let page = state.store.apps().list(paging.cursor(), paging.limit()).await?;
    let items = page.items.into_iter().map(AppView::from).collect();
    Ok(Listing::new(Page { items, next: page.next }, Ids::default()))
}

/// Returns an app with its connection and its counts.
#[utoipa::path(
    get, path = "/internal/apps/{app_id}", operation_id = "get_app", tag = tags::APPS, params(AppPath, Ids),
    responses(
        (status = 200, description = "The app.", body = AppDetails, example = json!(admin_examples::app_details())),
        Errors<{ ADMINISTRATOR | codes(&[AppNotFound]) }>,
    ),
)]
pub(crate) async fn one(
    administrator: Administrator<Ids>,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<Reply<AppDetails>, ApiError> {
    let app = path.find(&state).await?;
    Ok(Reply(details(&state, app).await?, administrator.query))
}

/// Changes an app: its name, its region, whether it is active.
///
/// With a new region, the stored numbers in E.164 form are computed again in the background; stored events keep theirs.
/// Requests of a deactivated app return 403 `APP_INACTIVE`, its sessions are closed with 4403, and its webhooks wait
/// until it is activated again.
#[utoipa::path(
    patch, path = "/internal/apps/{app_id}", operation_id = "change_app", tag = tags::APPS,
    params(AppPath, Ids), request_body(content = AppChange, example = json!({"is_active": false})),
    responses(
        (status = 200, description = "The app as it is now.", body = AppDetails,
         example = json!(admin_examples::app_details())),
        Errors<{ ADMINISTRATOR | CHANGE | BODY | codes(&[AppNotFound]) }>,
    ),
)]
pub(crate) async fn change(
    administrator: Administrator<Ids, Json<AppChange>>,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<Reply<AppDetails>, ApiError> {
    let Json(AppChange { name, is_active, region }) = administrator.body;
    let app = path.find(&state).await?;
    if let Some(Trimmed(name)) = name {
        state.store.apps().rename(app, &name).await?;
    }
    if let Some(region) = region {
        change_region(&state, app, region).await?;
    }
    if let Some(is_active) = is_active {
        change_activation(&state, app, is_active).await?;
    }
    Ok(Reply(details(&state, app).await?, administrator.query))
}

/// Activates an app, or deactivates it and closes its sessions.
///
/// # Errors
/// Of the database.
pub(crate) async fn change_activation(
    state: &AppState,
    app: AppId,
    is_active: bool,
) -> Result<(), StoreError> {
    if is_active {
        return unrouted::activate_app(&state.store, &state.engine, &state.tasks, app).await;
    }
    state.store.apps().deactivate(app).await?;
    state.engine.close_sessions_of(app, CloseCode::Forbidden, "the app was deactivated");
    info!(app.id = %app, "an app was deactivated");
    Ok(())
}

/// Changes the region of an app. Its stored numbers are computed again in the background.
///
/// # Errors
/// Of the database.
pub(crate) async fn change_region(state: &AppState, app: AppId, region: Region) -> Result<(), StoreError> {
    if !state.store.apps().set_region(app, region).await? {
        return Ok(());
    }
    info!(app.id = %app, %region, "the region of an app was changed");
    let store = state.store.clone();
    state.tasks.spawn(async move {
        if let Err(failure) = store.apps().update_numbers().await {
            warn!(error = %failure, "the stored numbers could not be computed and will be later");
        }
    });
    Ok(())
}

/// Deletes an app with all its data.
///
/// Its keys and sessions end at once. Deleting it again returns 204 as well.
#[utoipa::path(
    delete, path = "/internal/apps/{app_id}", operation_id = "delete_app", tag = tags::APPS, params(AppPath),
    responses(
        (status = 204, description = "The app is deleted, or is being deleted."),
        Errors<{ ADMINISTRATOR | CHANGE | codes(&[AppNotFound]) }>,
    ),
)]
pub(crate) async fn remove(
    _: Administrator,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, ApiError> {
    let app = path.app_id.parse().map_err(|_| app_not_found())?;
    match state.app_deletion.remove(app).await? {
        DeletionBegun::Now | DeletionBegun::Before => Ok(HttpResponse::NoContent().finish()),
        DeletionBegun::NoSuchApp => Err(app_not_found()),
    }
}

async fn details(state: &AppState, id: AppId) -> Result<AppDetails, ApiError> {
    let app = state.store.apps().find(id).await?.ok_or_else(app_not_found)?;
    let connection = state.store.connections().state(id).await?;
    let counts = state.store.apps().counts(id).await?;
    let environment = state.config.environment.as_str();
    let granted = state.store.webhooks().granted_scopes(id).await?;
    Ok(AppDetails {
        app: app.into(),
        connection: connection.map(|connection| Connection::new(connection, environment, granted.as_deref())),
        counts: Counts { stored: counts, sessions: state.engine.session_count_of(id) },
    })
}
