//! User mappings, for administrators: which user of the CRM belongs to a Dialpad user.

use std::collections::HashSet;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use cti_actors::id::AppId;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Value, json};
use tracing::info;
use utoipa::{IntoParams, ToSchema};

use crate::{
    http::{
        error::{
            ApiError,
            ErrorCode::{AppNotFound, UserMappingNotFound},
        },
        extract::{
            app::{AppPath, existing},
            auth::Administrator,
            body::Json,
            fields::InvalidField,
            idempotency::{ADMINISTRATORS, IdempotencyKey, Outcome, once},
            ids::{Ids, Listing, Reply},
            lists::Paging,
            query::parameters,
            values::{AnyWholeNumber, PositiveId, Verbatim},
        },
        openapi::{
            admin_examples,
            errors::{ADMINISTRATOR, BODY, CHANGE, Errors, IDEMPOTENT, codes},
            tags,
        },
        state::AppState,
    },
    store::{
        tenants::user_mappings::{MappingRef, UserMapping},
        views::listing::without_nul,
    },
};

/// The maximum number of mappings in one request.
const MAX_BATCH: usize = 1000;

/// A Dialpad user and the same person in the CRM.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserToMap {
    /// The Dialpad user: a number, or its digits as a string.
    dialpad_user_id: PositiveId,
    /// The user in the CRM.
    #[schema(value_type = String, min_length = 1, max_length = 255, pattern = r"\S")]
    crm_user_id: Verbatim<255>,
}

/// Several mappings, all of which are stored or none. A Dialpad user can be named only once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsersToMap {
    #[serde(deserialize_with = "batch")]
    #[schema(min_items = 1, max_items = 1000)]
    mappings: Vec<UserToMap>,
}

fn batch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<UserToMap>, D::Error> {
    let users = Vec::deserialize(deserializer)?;
    if users.is_empty() || users.len() > MAX_BATCH {
        return Err(D::Error::custom(format_args!("must be a list of 1 to {MAX_BATCH} objects")));
    }
    Ok(users)
}

/// The mappings that are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MappingFilter {
    /// Only mappings of this user in the CRM.
    crm_user_id: Option<String>,
}

parameters! {
    /// The parameters of the list of mappings.
    pub(crate) struct ListMappings {
        filter: MappingFilter,
        paging: Paging,
        ids: Ids,
    }
}

/// A mapping in the path, by the Dialpad user.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct DialpadUserPath {
    /// The app.
    #[param(value_type = Uuid)]
    app_id: String,
    /// The Dialpad user.
    #[param(value_type = AnyWholeNumber, inline)]
    dialpad_user_id: String,
}

/// A mapping in the path, by the user in the CRM.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct CrmUserPath {
    /// The app.
    #[param(value_type = Uuid)]
    app_id: String,
    /// The user in the CRM.
    crm_user_id: String,
}

/// A mapping in the path, by its id.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct MappingPath {
    /// The app.
    #[param(value_type = Uuid)]
    app_id: String,
    /// The id of the mapping.
    #[param(value_type = Uuid)]
    mapping_id: String,
}

/// Maps a Dialpad user to a user of the CRM.
///
/// Replaces an earlier mapping. From then on, the user's calls and events have `crm_user_id`.
#[utoipa::path(
    post, path = "/internal/apps/{app_id}/users/map", operation_id = "map_user", tag = tags::USER_MAPPINGS,
    params(AppPath, Ids, IdempotencyKey),
    request_body(content = UserToMap, example = json!({"dialpad_user_id": 555, "crm_user_id": "agent-7"})),
    responses(
        (status = 200, description = "The mapping.", body = UserMapping,
         example = json!(admin_examples::user_mapping())),
        Errors<{ ADMINISTRATOR | CHANGE | BODY | IDEMPOTENT | codes(&[AppNotFound]) }>,
    ),
)]
pub(crate) async fn map(
    administrator: Administrator<Ids, Json<UserToMap>>,
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, ApiError> {
    let Administrator { query: ids, body: Json(user) } = administrator;
    let app = path.find(&state).await?;
    let users = vec![(user.dialpad_user_id.0, user.crm_user_id.0)];
    store(&request, &state, app, users, ids, |mappings| mappings.into_iter().next().into()).await
}

/// Maps up to 1000 Dialpad users.
///
/// All of them, or none.
#[utoipa::path(
    post, path = "/internal/apps/{app_id}/users/batch-map", operation_id = "map_users",
    tag = tags::USER_MAPPINGS, params(AppPath, Ids, IdempotencyKey),
    request_body(content = UsersToMap,
                 example = json!({"mappings": [{"dialpad_user_id": 555, "crm_user_id": "agent-7"}]})),
    responses(
        (status = 200, description = "The mappings.", body = Vec<UserMapping>,
         example = json!([admin_examples::user_mapping()])),
        Errors<{ ADMINISTRATOR | CHANGE | BODY | IDEMPOTENT | codes(&[AppNotFound]) }>,
    ),
)]
pub(crate) async fn map_batch(
    administrator: Administrator<Ids, Json<UsersToMap>>,
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, ApiError> {
    let Administrator { query: ids, body: Json(UsersToMap { mappings }) } = administrator;
    let users = distinct(mappings)?;
    let app = path.find(&state).await?;
    store(&request, &state, app, users, ids, Value::Array).await
}

fn distinct(mappings: Vec<UserToMap>) -> Result<Vec<(i64, String)>, ApiError> {
    let mut seen = HashSet::new();
    let mut users = Vec::with_capacity(mappings.len());
    for (index, user) in mappings.into_iter().enumerate() {
        let id = user.dialpad_user_id.0;
        if !seen.insert(id) {
            let path = format!("mappings[{index}].dialpad_user_id");
            return Err(InvalidField::new(path, "must be given only once").into());
        }
        users.push((id, user.crm_user_id.0));
    }
    Ok(users)
}

/// Stores mappings. Doing so twice changes nothing, so an attempt whose result is unknown is repeated.
async fn store(
    request: &HttpRequest,
    state: &Data<AppState>,
    app: AppId,
    users: Vec<(i64, String)>,
    ids: Ids,
    body: fn(Vec<Value>) -> Value,
) -> Result<HttpResponse, ApiError> {
    let (content, worker) = (json!([users, ids.as_text()]), state.clone());
    once(request, state, ADMINISTRATORS.to_owned(), &content, move |_| async move {
        let stored = worker.store.user_mappings().map(app, &users).await;
        info!(app.id = %app, users = users.len(), "users were mapped");
        let to_json =
            |mappings: Vec<UserMapping>| mappings.iter().map(|mapping| ids.to_json(mapping)).collect();
        Outcome::of_store(stored.map(|mappings| body(to_json(mappings))))
    })
    .await
}

/// Lists mappings.
///
/// The newest first.
#[utoipa::path(
    get, path = "/internal/apps/{app_id}/users/mappings", operation_id = "list_mappings",
    tag = tags::USER_MAPPINGS, params(AppPath, ListMappings),
    responses(
        (status = 200, description = "A page of mappings.", body = Vec<UserMapping>,
         headers(("Link" = String, description = "The next page. Absent on the last page.")),
         example = json!([admin_examples::user_mapping()])),
        Errors<{ ADMINISTRATOR | codes(&[AppNotFound]) }>,
    ),
)]
pub(crate) async fn list(
    administrator: Administrator<ListMappings>,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<Listing<UserMapping>, ApiError> {
    let ListMappings { filter, paging, ids } = administrator.query;
    let app = path.find(&state).await?;
    let mappings = state.store.user_mappings();
    let crm_user = filter.crm_user_id.as_deref();
    let page = mappings.list(app, crm_user, paging.cursor(), paging.limit()).await?;
    Ok(Listing::new(page, ids))
}

/// Returns the mapping of a Dialpad user.
#[utoipa::path(
    get, path = "/internal/apps/{app_id}/users/mappings/dialpad/{dialpad_user_id}",
    operation_id = "mapping_of_dialpad_user", tag = tags::USER_MAPPINGS, params(DialpadUserPath, Ids),
    responses(
        (status = 200, description = "The mapping.", body = UserMapping,
         example = json!(admin_examples::user_mapping())),
        Errors<{ ADMINISTRATOR | codes(&[AppNotFound, UserMappingNotFound]) }>,
    ),
)]
pub(crate) async fn of_dialpad_user(
    administrator: Administrator<Ids>,
    state: Data<AppState>,
    path: Path<DialpadUserPath>,
) -> Result<Reply<UserMapping>, ApiError> {
    let app = existing(&state, &path.app_id).await?;
    let user = path.dialpad_user_id.parse().map_err(|_| not_found())?;
    let mapping = state.store.user_mappings().of_dialpad_user(app, user).await?;
    Ok(Reply(mapping.ok_or_else(not_found)?, administrator.query))
}

/// Returns the mapping of a user in the CRM.
///
/// If there are several, the one that changed last.
#[utoipa::path(
    get, path = "/internal/apps/{app_id}/users/mappings/crm/{crm_user_id}", operation_id = "mapping_of_crm_user",
    tag = tags::USER_MAPPINGS, params(CrmUserPath, Ids),
    responses(
        (status = 200, description = "The mapping.", body = UserMapping,
         example = json!(admin_examples::user_mapping())),
        Errors<{ ADMINISTRATOR | codes(&[AppNotFound, UserMappingNotFound]) }>,
    ),
)]
pub(crate) async fn of_crm_user(
    administrator: Administrator<Ids>,
    state: Data<AppState>,
    path: Path<CrmUserPath>,
) -> Result<Reply<UserMapping>, ApiError> {
    let app = existing(&state, &path.app_id).await?;
    let mapping = state.store.user_mappings().of_crm_user(app, &without_nul(&path.crm_user_id)).await?;
    Ok(Reply(mapping.ok_or_else(not_found)?, administrator.query))
}

/// Deletes the mapping of a Dialpad user.
#[utoipa::path(
    delete, path = "/internal/apps/{app_id}/users/mappings/dialpad/{dialpad_user_id}",
    operation_id = "delete_mapping_of_dialpad_user", tag = tags::USER_MAPPINGS, params(DialpadUserPath),
    responses(
        (status = 204, description = "The mapping is deleted."),
        Errors<{ ADMINISTRATOR | CHANGE | codes(&[AppNotFound, UserMappingNotFound]) }>,
    ),
)]
pub(crate) async fn delete_of_dialpad_user(
    _: Administrator,
    state: Data<AppState>,
    path: Path<DialpadUserPath>,
) -> Result<HttpResponse, ApiError> {
    let app = existing(&state, &path.app_id).await?;
    delete(&state, app, path.dialpad_user_id.parse().ok().map(MappingRef::DialpadUser)).await
}

/// Deletes a mapping.
#[utoipa::path(
    delete, path = "/internal/apps/{app_id}/users/mappings/{mapping_id}", operation_id = "delete_mapping",
    tag = tags::USER_MAPPINGS, params(MappingPath),
    responses(
        (status = 204, description = "The mapping is deleted."),
        Errors<{ ADMINISTRATOR | CHANGE | codes(&[AppNotFound, UserMappingNotFound]) }>,
    ),
)]
pub(crate) async fn delete_one(
    _: Administrator,
    state: Data<AppState>,
    path: Path<MappingPath>,
) -> Result<HttpResponse, ApiError> {
    let app = existing(&state, &path.app_id).await?;
    delete(&state, app, path.mapping_id.parse().ok().map(MappingRef::Ours)).await
}

async fn delete(state: &AppState, app: AppId, name: Option<MappingRef>) -> Result<HttpResponse, ApiError> {
    let name = name.ok_or_else(not_found)?;
    if !state.store.user_mappings().delete(app, name).await? {
        return Err(not_found());
    }
    info!(app.id = %app, "a user mapping was deleted");
    Ok(HttpResponse::NoContent().finish())
}

fn not_found() -> ApiError {
    ApiError::new(UserMappingNotFound, "There is no such user mapping")
}
