//! Human calls with all their legs, for CRMs that ask.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};

use super::calls::name_of;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::{
    extract::{auth::Crm, lists, query::Query},
    state::AppState,
};

pub(crate) async fn one(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    let not_found = || ApiError::new(ErrorCode::InteractionNotFound, "There is no such interaction");
    let leg = name_of(&name).ok_or_else(not_found)?;
    let interaction = shared.store.interactions().find(crm.app_id, leg).await?.ok_or_else(not_found)?;
    lists::item(&query, &interaction)
}
