//! Voicemails, for CRMs that ask, and for administrators, who may delete them.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use cti_actors::id::AppId;

use super::status;
use crate::http::{
    extract::{
        auth::{Administrator, Crm},
        lists,
        query::Query,
    },
    state::AppState,
};
use crate::{
    http::error::{ApiError, ErrorCode},
    store::views::{listing::ItemName, voicemails::VoicemailView},
};

pub(crate) async fn list(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    list_of(&request, &shared, crm.app_id).await
}

pub(crate) async fn list_for_administrators(
    request: HttpRequest,
    _: Administrator,
    shared: Data<AppState>,
    app: Path<String>,
) -> Result<HttpResponse, ApiError> {
    list_of(&request, &shared, status::existing(&shared, &app).await?).await
}

async fn list_of(request: &HttpRequest, shared: &AppState, app: AppId) -> Result<HttpResponse, ApiError> {
    let query = Query::of(request, &lists::PARAMETERS)?;
    let (filter, limit) = (lists::filter(&query)?, lists::limit(&query)?);
    let page = shared.store.voicemails().list(app, &filter, query.cursor()?, limit).await?;
    lists::page(request, &query, &page)
}

pub(crate) async fn one(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    lists::item(&query, &find(&shared, crm.app_id, &name).await?)
}

pub(crate) async fn one_for_administrators(
    request: HttpRequest,
    _: Administrator,
    shared: Data<AppState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    let (app, name) = path.into_inner();
    let app = status::existing(&shared, &app).await?;
    lists::item(&query, &find(&shared, app, &name).await?)
}

pub(crate) async fn delete(
    request: HttpRequest,
    _: Administrator,
    shared: Data<AppState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    let (app, name) = path.into_inner();
    let app = status::existing(&shared, &app).await?;
    if !shared.store.voicemails().delete(app, &ItemName::of(&name)).await? {
        return Err(not_found());
    }
    tracing::info!(app.id = %app, "a voicemail was deleted");
    Ok(HttpResponse::NoContent().finish())
}

/// A voicemail by our id or by Dialpad's. Another app's voicemail is not there.
pub(crate) async fn find(shared: &AppState, app: AppId, name: &str) -> Result<VoicemailView, ApiError> {
    shared.store.voicemails().find(app, &ItemName::of(name)).await?.ok_or_else(not_found)
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::VoicemailNotFound, "There is no such voicemail")
}
