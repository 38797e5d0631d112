//! The feed, for CRMs that ask: the same objects as on the WebSocket, behind a cursor. With `wait`, an answer that would
//! be empty waits for the first event.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ContentType},
    web::Data,
};
use cti_actors::{
    consumer::{Consumer, Mode},
    event::Frame,
    id::Seq,
    ports::EventLog,
    session::{
        BadCursor, CloseCode, Listener, MessageKind, OutboundBatch, OutboundMessage, Subscription, Transport,
    },
};
use tokio::time::{Instant, timeout_at};

use super::{CURSOR_HEADER, PARAMETERS, consumers};
use crate::http::error::{ApiError, ErrorCode};
use crate::http::{
    extract::{
        auth::{Crm, api_key, authenticate, missing_key},
        query::{Query, next_link},
    },
    feed,
    state::AppState,
};

pub(crate) const DEFAULT_LIMIT: usize = 100;
pub(crate) const LARGEST_LIMIT: usize = 1000;
/// A page that has so many bytes has no more events, whatever its limit.
const LARGEST_PAGE: usize = 4 << 20;
/// How long a client may want to wait, in seconds: no longer than what stands in front will keep a request.
pub(crate) const LONGEST_WAIT: i64 = 60;

pub(crate) async fn list(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &[&PARAMETERS[..], &["limit", "wait"]].concat())?;
    let limit = query.limit(DEFAULT_LIMIT, LARGEST_LIMIT)?;
    let wait = wait(&query)?;
    let mut wanted = feed::subscription(&query)?;
    let until = Instant::now() + wait;

    let consumer = wanted.consumer.take();
    if let Some(Consumer { name, mode }) = &consumer {
        if *mode == Mode::Share {
            return Err(ApiError::invalid("mode: to share, a connection has to last"));
        }
        let bounds = shared.store.bounds(crm.app_id).await?;
        wanted.after = Some(consumers::cursor_of(&shared, &crm, name, wanted.after, bounds).await?);
    }
    let page = page(&shared, &crm, &wanted, limit).await?;
    if page.told.is_empty() && !wait.is_zero() {
        return wait_for_more(&request, &shared, &wanted, page.cursor, limit, until).await;
    }
    let mut answer = answer(page.cursor);
    // Where the server keeps the cursor, an acknowledgement turns the page.
    if page.more && consumer.is_none() {
        answer.insert_header((header::LINK, next_link(&request, &[("after", &page.cursor.to_string())])));
    }
    Ok(answer.body(feed::array(&page.told, wanted.ids_as_text)))
}

fn wait(query: &Query) -> Result<Duration, ApiError> {
    match query.integer("wait")? {
        None => Ok(Duration::ZERO),
        Some(seconds) if (0..=LONGEST_WAIT).contains(&seconds) => {
            Ok(Duration::from_secs(seconds.unsigned_abs()))
        }
        Some(_) => Err(ApiError::invalid(format!(
            "wait: must be a whole number of seconds from 0 to {LONGEST_WAIT}"
        ))),
    }
}

fn answer(cursor: Seq) -> actix_web::HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer.content_type(ContentType::json()).insert_header((CURSOR_HEADER, cursor.to_string()));
    answer
}

/// A page of the feed as it is now.
struct Page {
    told: Vec<Frame>,
    /// Behind it goes the next one.
    cursor: Seq,
    /// Whether there is a next one already.
    more: bool,
}

async fn page(shared: &AppState, crm: &Crm, wanted: &Subscription, limit: usize) -> Result<Page, ApiError> {
    let bounds = shared.store.bounds(crm.app_id).await?;
    let oldest = Seq(bounds.oldest.0 - 1);
    // The beginning is always a place to begin at; any other cursor promises that nothing behind it is missing.
    let after = wanted.after.filter(|after| *after > Seq::START).unwrap_or(oldest);
    if after > bounds.head {
        return Err(feed::bad_cursor(BadCursor::Ahead, bounds));
    }
    if !bounds.reach_back_to(after) {
        return Err(feed::bad_cursor(BadCursor::Expired, bounds));
    }
    let mut told = Vec::new();
    if after < bounds.head {
        told = shared.store.page_within(crm.app_id, after, limit, LARGEST_PAGE).await?;
    }
    let cursor = told.last().map_or(after, |last| last.seq);
    told.retain(|frame| wanted.filter.admits(frame));
    Ok(Page { told, cursor, more: cursor < bounds.head })
}

/// Answers as soon as something is told that is wanted, or with nothing when the time is over.
async fn wait_for_more(
    request: &HttpRequest,
    shared: &AppState,
    wanted: &Subscription,
    after: Seq,
    limit: usize,
    until: Instant,
) -> Result<HttpResponse, ApiError> {
    let key = api_key(request).ok_or_else(missing_key)?;
    let admission = authenticate(request, &key).await?;
    let wanted = Subscription { after: Some(after), ..wanted.clone() };
    let mut listener =
        Listener::open(&shared.engine.tenant(admission.app_id), admission, wanted, Transport::Poll).await?;
    while let Ok(Some(OutboundBatch { messages, end })) = timeout_at(until, listener.next()).await {
        let mut events: Vec<OutboundMessage> =
            messages.into_iter().filter(|message| matches!(message.kind, MessageKind::Event(_))).collect();
        events.truncate(limit);
        if let Some(last) = events.last() {
            let cursor = last.cursor.unwrap_or(listener.cursor());
            let texts: Vec<&str> = events.iter().map(|event| &*event.text).collect();
            return Ok(answer(cursor).body(format!("[{}]", texts.join(","))));
        }
        match end {
            Some(ending) if ending.code == CloseCode::Forbidden => {
                // Says which of both it was, now that it is neither.
                authenticate(request, &key).await?;
                return Err(ApiError::new(ErrorCode::InvalidApiKey, "Invalid API key"));
            }
            // A planned stop: the answer is early, and the next question goes to whoever comes after.
            Some(_) => break,
            None => {}
        }
    }
    Ok(answer(listener.cursor()).body("[]"))
}
