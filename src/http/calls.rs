//! Calls, for CRMs that ask.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path},
};
use cti_actors::id::{DialpadCallId, Seq};
use serde::Serialize;

use super::{
    Shared,
    auth::Crm,
    events,
    query::{Query, next_link, write_ids_as_text},
};
use crate::{
    error::{ApiError, ErrorCode},
    store::calls::{CallFilter, CallName, CallView},
};

const STATUSES: [&str; 4] = ["ringing", "active", "held", "ended"];
const DIRECTIONS: [&str; 2] = ["inbound", "outbound"];
const DEFAULT_LIMIT: usize = 50;
const LARGEST_LIMIT: usize = 500;

pub(super) async fn list(
    request: HttpRequest,
    crm: Crm,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(
        &request,
        &["status", "direction", "from", "to", "dialpad_user_id", "since", "until", "limit", "cursor", "ids"],
    )?;
    let filter = CallFilter {
        statuses: query.word("status", &STATUSES)?.map(str::to_owned).into_iter().collect(),
        direction: query.word("direction", &DIRECTIONS)?.map(str::to_owned),
        from: query.text("from").map(number),
        to: query.text("to").map(number),
        dialpad_user_id: query.integer("dialpad_user_id")?,
        since: query.instant("since")?,
        until: query.instant("until")?,
    };
    page(&request, &crm, &shared, &query, &filter).await
}

pub(super) async fn active(
    request: HttpRequest,
    crm: Crm,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["limit", "cursor", "ids"])?;
    let live = ["ringing", "active", "held"].map(str::to_owned).to_vec();
    let filter = CallFilter { statuses: live, ..CallFilter::default() };
    page(&request, &crm, &shared, &query, &filter).await
}

async fn page(
    request: &HttpRequest,
    crm: &Crm,
    shared: &Shared,
    query: &Query,
    filter: &CallFilter,
) -> Result<HttpResponse, ApiError> {
    let limit = query.limit(DEFAULT_LIMIT, LARGEST_LIMIT)?;
    let page = shared.store.list_calls(crm.app_id, filter, query.cursor()?, limit).await?;
    let mut answer = HttpResponse::Ok();
    if let Some(next) = page.next {
        answer.insert_header((header::LINK, next_link(request, &[("cursor", &next.encode())])));
    }
    render(&mut answer, &page.items, query)
}

pub(super) async fn one(
    request: HttpRequest,
    crm: Crm,
    shared: Data<Shared>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    let call = find(&shared, &crm, &name).await?;
    render(&mut HttpResponse::Ok(), &call, &query)
}

/// Everything that was told of a call.
pub(super) async fn timeline(
    request: HttpRequest,
    crm: Crm,
    shared: Data<Shared>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["after", "limit", "ids"])?;
    let limit = query.limit(events::DEFAULT_LIMIT, events::LARGEST_LIMIT)?;
    let after = events::cursor(&query)?.unwrap_or(Seq::START);
    let call = find(&shared, &crm, &name).await?;
    let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let id = DialpadCallId(call.dialpad_call_id);
    let mut frames = shared.store.events_of_call(crm.app_id, id, after, one_more).await?;
    let more = frames.len() > limit;
    frames.truncate(limit);
    events::render(
        &request,
        &frames,
        frames.last().filter(|_| more).map(|last| last.seq),
        query.ids_as_text()?,
    )
}

/// A call by our id or by Dialpad's. Another app's call is not there.
async fn find(shared: &Shared, crm: &Crm, name: &str) -> Result<CallView, ApiError> {
    let name = match (name.parse(), name.parse()) {
        (Ok(id), _) => Some(CallName::Ours(id)),
        (_, Ok(id)) => Some(CallName::Dialpads(DialpadCallId(id))),
        _ => None,
    };
    let not_found = || ApiError::new(ErrorCode::CallNotFound, "There is no such call");
    shared.store.call(crm.app_id, name.ok_or_else(not_found)?).await?.ok_or_else(not_found)
}

fn render<T: Serialize>(
    answer: &mut actix_web::HttpResponseBuilder,
    body: &T,
    query: &Query,
) -> Result<HttpResponse, ApiError> {
    if !query.ids_as_text()? {
        return Ok(answer.json(body));
    }
    let mut body = serde_json::to_value(body).unwrap_or_default();
    write_ids_as_text(&mut body);
    Ok(answer.json(body))
}

/// A phone number as it was meant: a plus sign that was not escaped arrives as a space.
fn number(text: &str) -> String {
    match text.strip_prefix(' ') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => format!("+{digits}"),
        _ => text.to_owned(),
    }
}
