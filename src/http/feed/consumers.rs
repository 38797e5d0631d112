//! Named consumers, for their CRM: which there are, how far each has come, and acknowledging for one that reads without
//! a WebSocket.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data, Path},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use cti_actors::{
    consumer::Acked,
    id::{Seq, SessionId},
    ports::{Bounds, EventLog},
    session::BadCursor,
};
use serde_json::Value;

use crate::http::{
    extract::{
        auth::Crm,
        body::Fields,
        lists,
        query::{Query, next_link},
    },
    feed,
    state::AppState,
};
use crate::{
    http::error::{ApiError, ErrorCode},
    store::views::listing::findable,
};

pub(crate) async fn list(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["limit", "cursor"])?;
    let limit = lists::limit(&query)?;
    let behind = query.text("cursor").map(decode).transpose()?.unwrap_or_default();
    let head = shared.store.bounds(crm.app_id).await?.head;
    // One more than asked for tells whether there is a next page.
    let mut found = shared.store.consumers().list(crm.app_id, &behind, limit + 1, head).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let mut answer = HttpResponse::Ok();
    if let (true, Some(last)) = (more, found.last()) {
        let cursor = BASE64_URL_SAFE_NO_PAD.encode(&last.name);
        answer.insert_header((header::LINK, next_link(&request, &[("cursor", &cursor)])));
    }
    Ok(answer.json(found))
}

fn decode(cursor: &str) -> Result<String, ApiError> {
    let name = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|name| String::from_utf8(name).ok());
    name.filter(|name| !name.contains('\0'))
        .ok_or_else(|| ApiError::invalid("cursor: must be one that a Link gave"))
}

pub(crate) async fn one(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    let head = shared.store.bounds(crm.app_id).await?.head;
    show(&shared, &crm, &findable(&name), head).await
}

/// Ends a consumer. The next connection of this name begins anew.
pub(crate) async fn delete(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    if !shared.engine.tenant(crm.app_id).consumers().remove(&findable(&name)).await? {
        return Err(not_found());
    }
    tracing::info!(app.id = %crm.app_id, consumer = %name, "a consumer was deleted");
    Ok(HttpResponse::NoContent().finish())
}

/// Says that everything up to a place is dealt with.
pub(crate) async fn ack(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
    name: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    let fields = Fields::of(&body, &["seq", "session_id"])?;
    let seq = fields.number("seq", 0, i64::MAX)?;
    let seq = seq.map(Seq).ok_or_else(|| ApiError::invalid("seq: is required and must be a whole number"))?;
    let session = session(&fields)?;
    let name = findable(&name);
    let bounds = shared.store.bounds(crm.app_id).await?;
    if seq > bounds.head {
        return Err(feed::bad_cursor(BadCursor::Ahead, bounds));
    }
    match shared.engine.tenant(crm.app_id).consumers().ack(&name, session, seq).await? {
        Acked::Counted => show(&shared, &crm, &name, bounds.head).await,
        Acked::Unknown => Err(not_found()),
        Acked::Ambiguous => Err(ApiError::invalid(
            "session_id: must be that of a connection, because several share this consumer's work",
        )),
        Acked::Elsewhere => Err(feed::elsewhere()),
    }
}

fn session(fields: &Fields) -> Result<Option<SessionId>, ApiError> {
    let wrong = || ApiError::invalid("session_id: must be that of a connection");
    match fields.get("session_id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong()),
        Some(_) => Err(wrong()),
    }
}

async fn show(shared: &AppState, crm: &Crm, name: &str, head: Seq) -> Result<HttpResponse, ApiError> {
    let consumer = shared.store.consumers().view(crm.app_id, name, head).await?;
    Ok(HttpResponse::Ok().json(consumer.ok_or_else(not_found)?))
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::ConsumerNotFound, "There is no such consumer")
}

/// Where a consumer that asks from time to time goes on; begins it if it is new.
pub(crate) async fn cursor_of(
    shared: &AppState,
    crm: &Crm,
    name: &str,
    after: Option<Seq>,
    bounds: Bounds,
) -> Result<Seq, ApiError> {
    // The beginning is always a place to begin at.
    let start = after.filter(|after| *after > Seq::START).unwrap_or(Seq(bounds.oldest.0 - 1));
    let stands = shared.store.consumers().find_or_create(crm.app_id, name, start).await?;
    let stands = stands.ok_or_else(feed::too_many_consumers)?;
    // But one that stood there before has missed what is gone.
    if bounds.reach_back_to(stands) { Ok(stands) } else { Err(feed::bad_cursor(BadCursor::Expired, bounds)) }
}
