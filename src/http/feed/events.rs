//! The feed by requests: the same events as on the WebSocket, after a cursor. With `wait`, a response that would be
//! empty waits for the first event.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{ContentType, HeaderName, HeaderValue},
    },
    web::Data,
};
use cti_actors::{
    consumer::{Consumer, Mode},
    event::{EventType, Frame},
    feed::Position,
    id::{AppId, Epoch, Seq},
    ports::EventLog,
    session::{CloseCode, Listener, MessageKind, OutboundBatch, OutboundMessage, Subscription, Transport},
};
use tokio::time::{Instant, timeout_at};

use super::{CURSOR_HEADER, consumers, params::ListEvents};
use crate::http::{
    error::{
        ApiError,
        ErrorCode::{
            CursorAhead, CursorExpired, EpochChanged, InvalidApiKey, TooManyConnections, TooManyConsumers,
        },
    },
    extract::auth::{Crm, api_key, authenticate, missing_key},
    feed,
    middleware::tcp_timeout::StreamTimeout,
    openapi::{
        errors::{CRM, Errors, codes},
        examples,
        schemas::Event,
        tags,
    },
    state::AppState,
};

/// A page ends at this size in bytes, whatever its limit.
const MAX_PAGE_BYTES: usize = 4 << 20;
/// Proxies such as nginx cut a request that gets no answer for 60 s.
const MAX_WAIT: Duration = Duration::from_secs(55);

/// Lists events, or waits for new ones.
///
/// The same events as on the WebSocket. While there is more, the response has a `Link`: follow it at once. Without a
/// `Link`, repeat the request with `after` = the headers `x-epoch`, a colon, and `x-cursor`. With `wait`, a response that would be empty waits
/// for the first matching event.
#[utoipa::path(
    get, path = "/api/events", operation_id = "list_events", tag = tags::FEED, params(ListEvents),
    responses(
        (status = 200, description = "Events, the oldest first.", body = Vec<Event>,
         headers(
             ("Link" = String, description = "The next page. Absent on the last page."),
             ("x-cursor" = String,
              description = "How far the response reached, whether or not the last event there matched the filters."),
             ("x-epoch" = Uuid, description = "The epoch of the feed."),
         ),
         example = json!([examples::event(EventType::CallRing), examples::event(EventType::CallStarted)])),
        Errors<{ CRM | codes(&[CursorAhead, EpochChanged, CursorExpired, TooManyConnections, TooManyConsumers]) }>,
    ),
)]
pub(crate) async fn list(
    crm: Crm<ListEvents>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let limit = crm.query.paging.limit.count();
    // The headers of a response that came late would say no more.
    let wait = if request.method() == Method::HEAD { 0 } else { crm.query.paging.wait.get().unsigned_abs() };
    let wait = Duration::from_secs(wait).min(MAX_WAIT);
    let until = Instant::now() + wait;
    let mut subscription = crm.query.subscription()?;
    if subscription.filter.has_numbers() {
        let region = state.store.region(crm.app_id).await?;
        subscription.filter = subscription.filter.in_region(region);
    }
    let consumer = subscription.consumer.take();
    if let Some(consumer) = &consumer {
        let cursor = stored_cursor(&state, crm.app_id, consumer, subscription.after).await?;
        subscription.after = Some(cursor.into());
    }
    let page = read_page(&state, crm.app_id, &subscription, limit).await?;
    // A client that names no epoch gets links without one.
    let named_epoch = subscription.after.and_then(|after| after.epoch);
    if page.events.is_empty() && !wait.is_zero() {
        let after = Position { epoch: Some(page.epoch), seq: page.cursor };
        let subscription = Subscription { after: Some(after), ..subscription };
        return wait_for_events(&request, &state, subscription, limit, until).await;
    }
    // A consumer gets its next page once it has acknowledged this one.
    let next = Position { epoch: named_epoch, seq: page.cursor };
    let next = (page.has_more && consumer.is_none()).then_some(next);
    let answer = feed::event_page(&request, &page.events, subscription.ids_as_text, next);
    Ok(with_cursor(answer, page.epoch, page.cursor))
}

/// Returns the position of a consumer that polls. A new one begins after `after`.
async fn stored_cursor(
    state: &AppState,
    app: AppId,
    consumer: &Consumer,
    after: Option<Position>,
) -> Result<Seq, ApiError> {
    if consumer.mode == Mode::Share {
        return Err(ApiError::invalid("mode: requests can't share a consumer, only sessions can"));
    }
    let bounds = state.store.bounds(app).await?;
    consumers::cursor_of(state, app, &consumer.name, after, bounds).await
}

fn with_cursor(mut answer: HttpResponse, epoch: Epoch, cursor: Seq) -> HttpResponse {
    let (name, value) = feed::epoch_header(epoch);
    answer.headers_mut().insert(name, value);
    answer.headers_mut().insert(HeaderName::from_static(CURSOR_HEADER), HeaderValue::from(cursor.0));
    answer
}

/// A page of the feed.
struct Page {
    epoch: Epoch,
    events: Vec<Frame>,
    /// The next page begins after it.
    cursor: Seq,
    has_more: bool,
}

async fn read_page(
    state: &AppState,
    app: AppId,
    subscription: &Subscription,
    limit: usize,
) -> Result<Page, ApiError> {
    let bounds = state.store.bounds(app).await?;
    if subscription.after.is_some_and(|after| after.is_of_another(bounds.epoch)) {
        return Err(feed::epoch_changed(bounds));
    }
    let oldest = Seq(bounds.oldest.0 - 1);
    // The beginning is always valid. Any other cursor means that no event after it may be missing.
    let after =
        subscription.after.map(|after| after.seq).filter(|after| *after > Seq::START).unwrap_or(oldest);
    if after > bounds.head {
        return Err(feed::cursor_ahead(bounds));
    }
    feed::check_kept(state, app, after, bounds).await?;
    let mut events = Vec::new();
    if after < bounds.head {
        events = state.store.page_within(app, after, limit, MAX_PAGE_BYTES).await?;
    }
    let cursor = events.last().map_or(after, |last| last.seq);
    events.retain(|event| subscription.filter.admits(event));
    Ok(Page { epoch: bounds.epoch, events, cursor, has_more: cursor < bounds.head })
}

/// Answers as soon as a matching event is emitted, or with an empty array when the time is over, or when the client has
/// closed its side: it may be gone.
async fn wait_for_events(
    request: &HttpRequest,
    state: &AppState,
    subscription: Subscription,
    limit: usize,
    until: Instant,
) -> Result<HttpResponse, ApiError> {
    let key = api_key(request).ok_or_else(missing_key)?;
    let authenticated = authenticate(request, &key).await?;
    let tenant = state.engine.tenant(authenticated.app_id);
    let mut listener = Listener::open(&tenant, authenticated, subscription, Transport::Poll).await?;
    let epoch = listener.epoch();
    let connection = StreamTimeout::of(request);
    loop {
        let next = tokio::select! {
            next = timeout_at(until, listener.next()) => next,
            () = connection.client_closed() => break,
        };
        let Ok(Some(OutboundBatch { messages, end })) = next else { break };
        if listener.epoch() != epoch {
            return Err(feed::epoch_changed(state.store.bounds(authenticated.app_id).await?));
        }
        let is_event = |message: &&OutboundMessage| matches!(message.kind, MessageKind::Event(_));
        let events = messages.iter().filter(is_event).take(limit);
        let events: Vec<&OutboundMessage> = events.collect();
        if let Some(last) = events.last() {
            let cursor = last.cursor.unwrap_or(listener.cursor());
            let texts: Vec<&str> = events.iter().map(|event| &*event.text).collect();
            return Ok(answer(feed::json_array(&texts), epoch, cursor));
        }
        match end {
            Some(end) if end.code == CloseCode::Forbidden => {
                // The key has ended, or its app is inactive: authenticating again returns which.
                authenticate(request, &key).await?;
                return Err(ApiError::new(InvalidApiKey, "Invalid API key"));
            }
            // A planned stop: the response is early, and the client sends the request again.
            Some(_) => break,
            None => {}
        }
    }
    Ok(answer("[]".to_owned(), epoch, listener.cursor()))
}

fn answer(events: String, epoch: Epoch, cursor: Seq) -> HttpResponse {
    with_cursor(HttpResponse::Ok().content_type(ContentType::json()).body(events), epoch, cursor)
}
