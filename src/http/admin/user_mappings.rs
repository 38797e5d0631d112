//! User mappings, for administrators: what the CRM calls the users of Dialpad.

use std::collections::HashSet;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, Data, Path},
};
use cti_actors::id::AppId;
use serde_json::{Value, json};

use super::apps::{SCOPE, made};
use crate::http::{
    crm::status::existing,
    extract::{
        auth::Administrator,
        body::Fields,
        idempotency::once,
        lists,
        query::{Query, write_ids_as_text},
    },
    state::AppState,
};
use crate::{
    http::error::{ApiError, ErrorCode},
    store::{
        tenants::user_mappings::{MappingName, UserMapping},
        views::listing::findable,
    },
};

const FIELDS: [&str; 2] = ["dialpad_user_id", "crm_user_id"];
/// The longest name of a person in the CRM, in characters.
const LONGEST_NAME: usize = 255;
/// The most mappings in one request.
const LARGEST_BATCH: usize = 1000;

/// Says what the CRM calls a user of Dialpad, whatever was said before.
pub(crate) async fn map(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    app_id: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    let user = read(&Fields::of(&body, &FIELDS)?)?;
    store(&request, &shared, &app_id, vec![user], |mapped| mapped.into_iter().next().into()).await
}

/// The same of several users, of all or of none.
pub(crate) async fn map_batch(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    app_id: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    let users = read_batch(&Fields::of(&body, &["mappings"])?)?;
    store(&request, &shared, &app_id, users, Value::Array).await
}

/// Saying it twice changes nothing, so an attempt that nobody heard the end of is simply repeated.
async fn store(
    request: &HttpRequest,
    shared: &Data<AppState>,
    app_id: &str,
    users: Vec<(i64, String)>,
    shape: fn(Vec<Value>) -> Value,
) -> Result<HttpResponse, ApiError> {
    let ids_as_text = Query::of(request, &["ids"])?.ids_as_text()?;
    let app = existing(shared, app_id).await?;
    let (asked, worker) = (json!([users, ids_as_text]), shared.clone());
    once(request, shared, SCOPE.to_owned(), &asked, move |_| async move {
        let mapped = worker.store.user_mappings().map(app, &users).await;
        tracing::info!(app.id = %app, users = users.len(), "users were mapped");
        made(mapped.map(|mapped| {
            let mut body = shape(mapped.iter().map(|it| json!(it)).collect());
            if ids_as_text {
                write_ids_as_text(&mut body);
            }
            body
        }))
    })
    .await
}

fn read(fields: &Fields) -> Result<(i64, String), ApiError> {
    Ok((fields.dialpad_id("dialpad_user_id")?, fields.verbatim("crm_user_id", LONGEST_NAME)?.to_owned()))
}

fn read_batch(body: &Fields) -> Result<Vec<(i64, String)>, ApiError> {
    let wrong = || ApiError::invalid(format!("mappings: must be a list of 1 to {LARGEST_BATCH} objects"));
    let items = body.get("mappings").and_then(Value::as_array).ok_or_else(wrong)?;
    if items.is_empty() || items.len() > LARGEST_BATCH {
        return Err(wrong());
    }
    let mut seen = HashSet::new();
    let mut users = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let within = |error: ApiError| ApiError::invalid(format!("mappings[{place}].{}", error.message));
        let fields = item.as_object().cloned().ok_or_else(wrong)?;
        let user = Fields::with(fields, &FIELDS).and_then(|fields| read(&fields)).map_err(within)?;
        if !seen.insert(user.0) {
            return Err(within(ApiError::invalid("dialpad_user_id: is given twice")));
        }
        users.push(user);
    }
    Ok(users)
}

pub(crate) async fn list(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    app_id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["crm_user_id", "limit", "cursor", "ids"])?;
    let (cursor, limit) = (query.cursor()?, lists::limit(&query)?);
    let app = existing(&shared, &app_id).await?;
    let page = shared.store.user_mappings().list(app, query.text("crm_user_id"), cursor, limit).await?;
    lists::page(&request, &query, &page)
}

pub(crate) async fn of_dialpad_user(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    let (app, user) = place(&shared, &path).await?;
    let user = user.parse().map_err(|_| not_found())?;
    show(&query, shared.store.user_mappings().of_dialpad_user(app, user).await?)
}

pub(crate) async fn of_crm_user(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    let (app, name) = place(&shared, &path).await?;
    show(&query, shared.store.user_mappings().of_crm_user(app, &findable(name)).await?)
}

pub(crate) async fn delete_of_dialpad_user(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    let (app, user) = place(&shared, &path).await?;
    delete(&shared, app, user.parse().ok().map(MappingName::DialpadUser)).await
}

pub(crate) async fn delete_one(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    let (app, id) = place(&shared, &path).await?;
    delete(&shared, app, id.parse().ok().map(MappingName::Ours)).await
}

async fn place<'p>(
    shared: &AppState,
    (app, name): &'p (String, String),
) -> Result<(AppId, &'p str), ApiError> {
    Ok((existing(shared, app).await?, name))
}

fn show(query: &Query, mapping: Option<UserMapping>) -> Result<HttpResponse, ApiError> {
    lists::item(query, &mapping.ok_or_else(not_found)?)
}

async fn delete(shared: &AppState, app: AppId, name: Option<MappingName>) -> Result<HttpResponse, ApiError> {
    let name = name.ok_or_else(not_found)?;
    if !shared.store.user_mappings().delete(app, name).await? {
        return Err(not_found());
    }
    tracing::info!(app.id = %app, "a user mapping was deleted");
    Ok(HttpResponse::NoContent().finish())
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::UserMappingNotFound, "There is no such user mapping")
}
