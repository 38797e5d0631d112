//! Calls, for CRMs that ask.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ContentType, HeaderName, HeaderValue},
    web::{Data, Path},
};
use cti_actors::{
    id::{DialpadCallId, Seq},
    model::call::Status,
};
use strum::VariantNames;

use crate::http::{
    extract::{
        auth::Crm,
        lists,
        query::{Query, next_link},
    },
    feed::{self, events},
    state::AppState,
};
use crate::{
    http::error::{ApiError, ErrorCode},
    store::views::calls::{CallFilter, CallName, CallView},
};

pub(crate) async fn list(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &[&lists::PARAMETERS[..], &["status"]].concat())?;
    let statuses = query.word("status", Status::VARIANTS)?.map(str::to_owned).into_iter().collect();
    let filter = CallFilter { statuses, common: lists::filter(&query)? };
    let page = shared.store.calls().list(crm.app_id, &filter, query.cursor()?, lists::limit(&query)?).await?;
    lists::page(&request, &query, &page)
}

pub(crate) async fn active(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["limit", "cursor", "ids"])?;
    let (cursor, limit) = (query.cursor()?, lists::limit(&query)?);
    let (page, as_of) = shared.store.calls().list_active(crm.app_id, cursor, limit).await?;
    let mut answer = lists::page(&request, &query, &page)?;
    // Behind it, the feed tells what becomes of these calls.
    answer.headers_mut().insert(HeaderName::from_static(feed::CURSOR_HEADER), HeaderValue::from(as_of.0));
    Ok(answer)
}

pub(crate) async fn one(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    let call = find(&shared, &crm, &name).await?;
    let call = shared.enrichment.complete(crm.app_id, call).await;
    lists::item(&query, &call)
}

/// Everything that was told of a call.
pub(crate) async fn timeline(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["after", "limit", "ids"])?;
    let limit = query.limit(events::DEFAULT_LIMIT, events::LARGEST_LIMIT)?;
    let after = feed::cursor(&query)?.unwrap_or(Seq::START);
    let call = find(&shared, &crm, &name).await?;
    let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let id = DialpadCallId(call.dialpad_call_id);
    let mut frames = shared.store.feed().of_call(crm.app_id, id, after, one_more).await?;
    let more = frames.len() > limit;
    frames.truncate(limit);
    let mut answer = HttpResponse::Ok();
    if let Some(last) = frames.last().filter(|_| more) {
        answer.insert_header((header::LINK, next_link(&request, &[("after", &last.seq.to_string())])));
    }
    Ok(answer.content_type(ContentType::json()).body(feed::array(&frames, query.ids_as_text()?)))
}

/// A call by our id or by Dialpad's. Another app's call is not there.
pub(crate) async fn find(shared: &AppState, crm: &Crm, name: &str) -> Result<CallView, ApiError> {
    let not_found = || ApiError::new(ErrorCode::CallNotFound, "There is no such call");
    let name = name_of(name).ok_or_else(not_found)?;
    shared.store.calls().find(crm.app_id, name).await?.ok_or_else(not_found)
}

/// Whichever id a call was named by.
pub(crate) fn name_of(name: &str) -> Option<CallName> {
    match (name.parse(), name.parse()) {
        (Ok(id), _) => Some(CallName::Ours(id)),
        (_, Ok(id)) => Some(CallName::Dialpads(DialpadCallId(id))),
        _ => None,
    }
}
