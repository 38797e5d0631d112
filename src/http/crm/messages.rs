//! Text messages, for CRMs that ask.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};

use crate::http::{
    extract::{auth::Crm, lists, query::Query},
    state::AppState,
};
use crate::{
    http::error::{ApiError, ErrorCode},
    store::views::listing::ItemName,
};

pub(crate) async fn list(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &lists::PARAMETERS)?;
    let (filter, limit) = (lists::filter(&query)?, lists::limit(&query)?);
    let page = shared.store.messages().list(crm.app_id, &filter, query.cursor()?, limit).await?;
    lists::page(&request, &query, &page)
}

pub(crate) async fn one(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    let message = shared.store.messages().find(crm.app_id, &ItemName::of(&name)).await?;
    let message =
        message.ok_or_else(|| ApiError::new(ErrorCode::MessageNotFound, "There is no such message"))?;
    lists::item(&query, &message)
}
