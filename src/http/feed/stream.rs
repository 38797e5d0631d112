//! The feed as server-sent events: the messages of `/ws` for clients without a WebSocket. `id` is where to resume,
//! `event` the type, `data` the message. Errors in the request are returned as a status before the stream begins.

use std::{convert::Infallible, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data},
};
use cti_actors::{
    feed::Position,
    id::Epoch,
    session::{ControlType, Listener, MessageKind, OutboundBatch, OutboundMessage, SessionEnd, Transport},
};
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::path::{Parameter, ParameterIn},
};

use super::params::{FeedPosition, OpenSession};
use crate::http::{
    error::{
        ApiError,
        ErrorCode::{CursorAhead, CursorExpired, TooManyConnections, TooManyConsumers},
    },
    extract::{
        auth::{api_key, authenticate, missing_key},
        query::read_query,
    },
    feed,
    middleware::tcp_timeout::StreamTimeout,
    openapi::{
        errors::{CRM, Errors, codes},
        parameters, tags,
    },
    state::AppState,
};

/// After how long a quiet stream sends a comment, so that a dead one is detected and proxies keep it: between these
/// two, different for each stream.
const HEARTBEAT_INTERVAL: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(10));
/// After how many milliseconds a browser reconnects when the stream breaks: between these two, different for each
/// stream.
const RETRY_MS: (u64, u64) = (1000, 3000);
const LAST_EVENT_ID: &str = "Last-Event-ID";

/// The header with which a browser resumes a stream.
pub(crate) struct LastEventId;

impl IntoParams for LastEventId {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![parameters::header(LAST_EVENT_ID, FeedPosition::schema(), "The last `id` that was received.")]
    }
}

/// A part of a stream.
#[derive(Serialize, ToSchema)]
pub(crate) struct StreamPart {
    /// Where to resume. Without `event` and `data` where events were skipped.
    #[schema(required = false)]
    id: &'static str,
    /// The type of the message.
    #[schema(required = false)]
    event: &'static str,
    /// The message as JSON.
    #[schema(required = false)]
    data: &'static str,
}

impl StreamPart {
    const EXAMPLE: Self =
        Self { id: "42", event: "call.started", data: "{\"type\":\"call.started\",\"seq\":42,…}" };
}

/// Streams events as server-sent events.
///
/// The messages of the WebSocket: `event` is the type, `data` the message, `id` where to resume. A block without `data`
/// only moves the `id`: skip it. If `after` or `Last-Event-ID` is `EPOCH:SEQ`, every `id` has that form, and a cursor of
/// another epoch is announced as a `gap`. A browser reconnects
/// automatically with `Last-Event-ID`, which takes precedence over `after`. The stream ends with `event: closed`, whose
/// `code` is a close code of `/ws`. The messages are described in `/asyncapi.json`.
#[utoipa::path(
    get, path = "/api/events/stream", operation_id = "stream_events", tag = tags::FEED,
    params(OpenSession, LastEventId),
    responses(
        (status = 200, description = "The stream, part by part.",
         headers(("x-epoch" = Uuid, description = "The epoch of the feed.")),
         content((inline(StreamPart) = "text/event-stream", example = json!(StreamPart::EXAMPLE)))),
        Errors<{
            CRM | codes(&[CursorAhead, CursorExpired, TooManyConnections, TooManyConsumers])
        }>,
    ),
)]
pub(crate) async fn follow(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query: OpenSession = read_query(&request)?;
    let key = api_key(&request).or_else(|| query.api_key()).ok_or_else(missing_key)?;
    let authenticated = authenticate(&request, &key).await?;
    let mut subscription = query.subscription()?;
    if let Some(last) = last_event_id(&request)? {
        // A browser reconnects to the same address, and sends here how far it got.
        subscription.after = Some(last);
        subscription.snapshot = false;
    }
    let names_epoch = subscription.after.is_some_and(|after| after.epoch.is_some());
    let tenant = state.engine.tenant(authenticated.app_id);
    let listener = Listener::open(&tenant, authenticated, subscription, Transport::Stream).await?;
    let mut answer = HttpResponse::Ok();
    answer.content_type("text/event-stream").insert_header((header::CACHE_CONTROL, "no-store"));
    // For proxies that would otherwise collect the events before they forward them.
    answer.insert_header(("x-accel-buffering", "no"));
    answer.insert_header(feed::epoch_header(listener.epoch()));
    Ok(answer.streaming(Box::pin(events(listener, StreamTimeout::of(&request), names_epoch))))
}

fn last_event_id(request: &HttpRequest) -> Result<Option<Position>, ApiError> {
    let Some(value) = request.headers().get(LAST_EVENT_ID) else { return Ok(None) };
    let invalid = || ApiError::invalid(format!("{LAST_EVENT_ID}: must be an id of this stream"));
    match value.to_str().map_err(|_| invalid())?.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| invalid()),
    }
}

/// Returns the parts of a stream. The next part is requested once the previous one was written.
fn events(
    listener: Listener,
    timeouts: StreamTimeout,
    names_epoch: bool,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let jitter = listener.id().0.as_bytes()[15];
    let (min, max) = HEARTBEAT_INTERVAL;
    let heartbeat = min + (max - min) * u32::from(jitter) / 256;
    let (min, max) = RETRY_MS;
    let retry = min + (max - min) * u64::from(jitter) / 256;
    stream::unfold(
        (listener, timeouts, Some(retry)),
        move |(mut listener, mut timeouts, mut retry)| async move {
            let next = tokio::select! {
                next = timeout(heartbeat, listener.next()) => next,
                () = timeouts.client_closed() => return None,
            };
            let text = match next {
                Ok(batch) => {
                    let batch = batch?;
                    let epoch = names_epoch.then(|| listener.epoch());
                    write_batch(batch, epoch, retry.take())
                }
                // A bare comment line: some clients take an empty line for the end of a message.
                Err(_) => ":\n".to_owned(),
            };
            timeouts.on_write(text.len());
            Some((Ok(Bytes::from(text)), (listener, timeouts, retry)))
        },
    )
}

/// Writes a batch. With an epoch, the ids name it.
fn write_batch(batch: OutboundBatch, epoch: Option<Epoch>, retry_ms: Option<u64>) -> String {
    let length = |message: &OutboundMessage| message.text.len() + message.kind.as_str().len() + 85;
    let mut out = String::with_capacity(batch.messages.iter().map(length).sum::<usize>() + 64);
    // Within the first message: some clients take a block without data for a message.
    if let Some(retry_ms) = retry_ms {
        out.push_str(&format!("retry: {retry_ms}\n"));
    }
    for message in &batch.messages {
        write_message(message, epoch, &mut out);
    }
    if let Some(end) = &batch.end {
        write_end(end, &mut out);
    }
    out
}

fn write_message(message: &OutboundMessage, epoch: Option<Epoch>, out: &mut String) {
    if let Some(seq) = message.cursor {
        out.push_str("id: ");
        out.push_str(&Position { epoch, seq }.to_string());
        out.push('\n');
    }
    if message.kind != MessageKind::Control(ControlType::Cursor) {
        write_event(message.kind.as_str(), &message.text, out);
    }
    out.push('\n');
}

/// Writes a message. JSON has no line break of server-sent events that is not escaped, so it is one line.
fn write_event(kind: &str, data: &str, out: &mut String) {
    for part in ["event: ", kind, "\ndata: "] {
        out.push_str(part);
    }
    write_data(data, out);
    out.push('\n');
}

/// Writes JSON. Other line breaks of Unicode are escaped: some clients split lines at them (Python's `splitlines`).
fn write_data(data: &str, out: &mut String) {
    let mut rest = data;
    while let Some(at) = rest.find(['\u{85}', '\u{2028}', '\u{2029}']) {
        let (before, from) = rest.split_at(at);
        let mut after = from.chars();
        let separator = after.next().map_or(0, u32::from);
        out.push_str(before);
        out.push_str(&format!("\\u{separator:04x}"));
        rest = after.as_str();
    }
    out.push_str(rest);
}

/// The last message of a stream.
#[derive(Serialize, ToSchema)]
pub(crate) struct Closed<'e> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// A close code of `/ws`.
    code: u16,
    /// A sentence for people.
    reason: &'e str,
}

fn write_end(end: &SessionEnd, out: &mut String) {
    let closed = Closed { kind: "closed", code: end.code.code(), reason: &end.reason };
    write_event("closed", &serde_json::to_string(&closed).unwrap_or_default(), out);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use cti_actors::{event::EventType, id::Seq, session::CloseCode};

    use super::*;

    fn message(kind: MessageKind, cursor: Option<i64>, text: &'static str) -> OutboundMessage {
        OutboundMessage { kind, cursor: cursor.map(Seq), text: text.into() }
    }

    #[test]
    fn an_event_has_an_id_a_type_and_its_object() {
        let kind = MessageKind::Event(EventType::CallRing.into());
        let messages = vec![message(kind, Some(7), r#"{"type":"call.ring","seq":7}"#)];
        let text = write_batch(OutboundBatch { messages, end: None }, None, None);
        assert_eq!(text, "id: 7\nevent: call.ring\ndata: {\"type\":\"call.ring\",\"seq\":7}\n\n");
    }

    #[test]
    fn an_id_names_the_epoch_for_a_client_that_does() {
        let (kind, epoch) = (MessageKind::Event(EventType::CallRing.into()), Epoch::generate());
        let messages = vec![message(kind, Some(7), "{}")];
        let text = write_batch(OutboundBatch { messages, end: None }, Some(epoch), None);
        assert_eq!(text, format!("id: {epoch}:7\nevent: call.ring\ndata: {{}}\n\n"));
    }

    #[test]
    fn the_first_message_says_when_to_reconnect() {
        let kind = MessageKind::Control(ControlType::Connected);
        let messages = vec![message(kind, Some(0), r#"{"type":"connected"}"#)];
        let text = write_batch(OutboundBatch { messages, end: None }, None, Some(1750));
        assert_eq!(text, "retry: 1750\nid: 0\nevent: connected\ndata: {\"type\":\"connected\"}\n\n");
    }

    #[test]
    fn no_line_break_of_unicode_is_within_a_message() {
        let kind = MessageKind::Event(EventType::MessageReceived.into());
        let messages = vec![message(kind, Some(8), "{\"text\":\"a\u{2028}b\u{2029}\u{85}ç\"}")];
        let text = write_batch(OutboundBatch { messages, end: None }, None, None);
        assert!(text.contains(r#"data: {"text":"a\u2028b\u2029\u0085ç"}"#), "{text}");
    }

    #[test]
    fn skipped_events_only_move_the_id() {
        let kind = MessageKind::Control(ControlType::Cursor);
        let messages = vec![message(kind, Some(9), r#"{"type":"cursor","seq":9}"#)];
        assert_eq!(write_batch(OutboundBatch { messages, end: None }, None, None), "id: 9\n\n");
    }

    #[test]
    fn the_end_gives_its_reason() {
        let kind = MessageKind::Control(ControlType::Reconnect);
        let messages = vec![message(kind, None, r#"{"type":"reconnect","after_ms":700}"#)];
        let end = Some(SessionEnd { code: CloseCode::GoingAway, reason: "the server is stopping".into() });
        let text = write_batch(OutboundBatch { messages, end }, None, None);
        assert!(text.starts_with("event: reconnect\ndata: {"), "{text}");
        assert!(text.contains("event: closed\ndata: {\"type\":\"closed\",\"code\":1001"), "{text}");
    }
}
