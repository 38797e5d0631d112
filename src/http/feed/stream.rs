//! The feed as server-sent events: what `/ws` says, for whoever has no WebSocket. `id` is where to resume, `event` the
//! type, `data` the object; whatever is wrong with the request is an HTTP status before the stream begins.

use std::{convert::Infallible, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data},
};
use cti_actors::{
    id::Seq,
    session::{ControlType, Listener, MessageKind, OutboundBatch, OutboundMessage, SessionEnd, Transport},
};
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::http::error::ApiError;
use crate::http::{
    extract::auth::{authenticate, missing_key},
    feed,
    middleware::tcp_timeout::StreamTimeout,
    state::AppState,
};

/// After how long a quiet stream says something that means nothing, so that a dead one is found and proxies keep it: a
/// time between these two, another one for each stream.
const HEARTBEAT: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(10));
/// After how many milliseconds a browser is to come back when the stream breaks: between these two, likewise.
const RETRY_MS: (u64, u64) = (1000, 3000);

pub(crate) async fn follow(request: HttpRequest, shared: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let (query, key) = feed::of_session(&request)?;
    let admission = authenticate(&request, &key.ok_or_else(missing_key)?).await?;
    let mut wanted = feed::subscription(&query)?;
    if let Some(last) = last_event_id(&request)? {
        // A browser that comes back asks for the same address, and says here how far it got.
        (wanted.after, wanted.snapshot) = (Some(last), false);
    }
    let listener =
        Listener::open(&shared.engine.tenant(admission.app_id), admission, wanted, Transport::Stream).await?;
    let mut answer = HttpResponse::Ok();
    answer.content_type("text/event-stream").insert_header((header::CACHE_CONTROL, "no-store"));
    // For a proxy that would otherwise collect the events before it passes them on.
    answer.insert_header(("x-accel-buffering", "no"));
    Ok(answer.streaming(Box::pin(events(listener, StreamTimeout::of(&request)))))
}

fn last_event_id(request: &HttpRequest) -> Result<Option<Seq>, ApiError> {
    let Some(value) = request.headers().get("last-event-id") else { return Ok(None) };
    match value.to_str().map(str::trim) {
        Ok("") => Ok(None),
        Ok(text) => match text.parse() {
            Ok(seq) if seq >= 0 => Ok(Some(Seq(seq))),
            _ => Err(ApiError::invalid("Last-Event-ID: must be an id of this stream")),
        },
        Err(_) => Err(ApiError::invalid("Last-Event-ID: must be an id of this stream")),
    }
}

/// What is written, piece by piece. Asked for the next piece only when the one before was taken.
fn events(listener: Listener, line: StreamTimeout) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let chance = listener.id().0.as_bytes()[15];
    let (soonest, latest) = HEARTBEAT;
    let heartbeat = soonest + (latest - soonest) * u32::from(chance) / 256;
    let (least, most) = RETRY_MS;
    let retry = format!("retry: {}\n\n", least + (most - least) * u64::from(chance) / 256);
    stream::unfold((listener, line, Some(retry)), move |(mut listener, mut line, mut retry)| async move {
        let text = match timeout(heartbeat, listener.next()).await {
            Ok(turn) => write_turn(turn?, retry.take()),
            Err(_) => ":\n\n".to_owned(),
        };
        line.on_write(text.len());
        Some((Ok(Bytes::from(text)), (listener, line, retry)))
    })
}

fn write_turn(turn: OutboundBatch, retry: Option<String>) -> String {
    let room: usize =
        turn.messages.iter().map(|message| message.text.len() + message.kind.as_str().len() + 48).sum();
    let mut out = String::with_capacity(room + 64);
    out.push_str(&retry.unwrap_or_default());
    for message in &turn.messages {
        write_message(message, &mut out);
    }
    if let Some(ending) = &turn.end {
        write_ending(ending, &mut out);
    }
    out
}

fn write_message(message: &OutboundMessage, out: &mut String) {
    if let Some(cursor) = message.cursor {
        out.push_str("id: ");
        out.push_str(&cursor.to_string());
        out.push('\n');
    }
    if message.kind != MessageKind::Control(ControlType::Cursor) {
        write_event(message.kind.as_str(), &message.text, out);
    }
    out.push('\n');
}

/// JSON in one line: a text in it has no line break that is not escaped.
fn write_event(kind: &str, data: &str, out: &mut String) {
    for part in ["event: ", kind, "\ndata: ", data, "\n"] {
        out.push_str(part);
    }
}

/// The last message of a stream: why it ends.
#[derive(Serialize, ToSchema)]
pub(crate) struct Closed<'e> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// A close code of `/ws`.
    code: u16,
    /// For people.
    reason: &'e str,
}

fn write_ending(ending: &SessionEnd, out: &mut String) {
    let closed = Closed { kind: "closed", code: ending.code.code(), reason: &ending.reason };
    write_event("closed", &serde_json::to_string(&closed).unwrap_or_default(), out);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use cti_actors::{event::EventType, session::CloseCode};

    use super::*;

    fn message(kind: MessageKind, cursor: Option<i64>, text: &'static str) -> OutboundMessage {
        OutboundMessage { kind, cursor: cursor.map(Seq), text: text.into() }
    }

    #[test]
    fn an_event_has_an_id_a_type_and_its_object() {
        let kind = MessageKind::Event(EventType::CallRing.into());
        let messages = vec![message(kind, Some(7), r#"{"type":"call.ring","seq":7}"#)];
        let text = write_turn(OutboundBatch { messages, end: None }, None);
        assert_eq!(text, "id: 7\nevent: call.ring\ndata: {\"type\":\"call.ring\",\"seq\":7}\n\n");
    }

    #[test]
    fn what_was_skipped_only_moves_the_id() {
        let kind = MessageKind::Control(ControlType::Cursor);
        let messages = vec![message(kind, Some(9), r#"{"type":"cursor","seq":9}"#)];
        assert_eq!(write_turn(OutboundBatch { messages, end: None }, None), "id: 9\n\n");
    }

    #[test]
    fn an_end_says_why() {
        let kind = MessageKind::Control(ControlType::Reconnect);
        let messages = vec![message(kind, None, r#"{"type":"reconnect","after_ms":700}"#)];
        let end = Some(SessionEnd { code: CloseCode::GoingAway, reason: "the server goes away".into() });
        let text = write_turn(OutboundBatch { messages, end }, None);
        assert!(text.starts_with("event: reconnect\ndata: {"), "{text}");
        assert!(text.contains("event: closed\ndata: {\"type\":\"closed\",\"code\":1001"), "{text}");
    }
}
