//! One WebSocket as an actor. The only file that knows `actix_web_actors`.
//!
//! The actor runs as the body of the HTTP response: it is polled only while its socket takes data. That is the
//! back-pressure: a client that stops reading stops its own [`FeedReader`], and costs one batch. It also means
//! that a frozen socket freezes this actor's timers; the kernel ends such a connection (`TCP_USER_TIMEOUT`, set
//! where the server accepts it).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, Message, StreamHandler, WrapFuture,
    fut::ready,
};
use actix_http::ws::Item;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use actix_web_actors::ws;
use futures_util::stream;
use metrics::{counter, gauge};
use tracing::{debug, warn};

use super::{
    Sessions, close,
    protocol::{ClientMessage, ControlMessage, Subscription, starting_point},
};
use crate::{
    engine::Engine,
    error::{Denial, StoreError},
    feed::{Batch, Feed, FeedReader},
    id::SessionId,
    ports::{Admission, Bounds},
};

/// How often a session looks after itself.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long after the last sign of life the client is pinged.
const PING_AFTER: Duration = Duration::from_secs(15);
/// How long a client may show no sign of life.
const SILENCE: Duration = Duration::from_secs(25);
/// How long a client without a key may take to send one.
const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(10);
/// The largest message a client may send.
const LARGEST_MESSAGE: usize = 64 << 10;
/// How long a reader rests when the store could not be read.
const READ_RETRY: Duration = Duration::from_secs(1);

/// How a session begins.
pub struct SessionOptions {
    /// The engine that it listens to.
    pub engine: Arc<Engine>,
    /// What the key with the request opened; `None`: the first message brings the key.
    pub admission: Option<Admission>,
    /// What the query asks for.
    pub subscription: Subscription,
}

/// Turns a request into a session.
///
/// # Errors
/// The request is no WebSocket handshake.
pub fn serve(
    request: &HttpRequest,
    payload: web::Payload,
    options: SessionOptions,
) -> Result<HttpResponse, Error> {
    let session = SessionActor {
        id: SessionId::generate(),
        options,
        entered: None,
        ids_as_text: false,
        heard_at: Instant::now(),
        fragments: Vec::new(),
        closed_for: "lost",
    };
    ws::WsResponseBuilder::new(session, request, payload).frame_size(LARGEST_MESSAGE).start()
}

struct SessionActor {
    id: SessionId,
    options: SessionOptions,
    /// The register that the session is in, once it is authenticated.
    entered: Option<Arc<Sessions>>,
    /// Whether Dialpad's ids are written as strings.
    ids_as_text: bool,
    /// The last sign of life.
    heard_at: Instant,
    /// The parts of a fragmented message.
    fragments: Vec<u8>,
    /// Why the session ended, for the metrics; `lost` until somebody closes it in so many words.
    closed_for: &'static str,
}

/// Ends a session from outside.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct HangUp {
    pub(super) code: u16,
    pub(super) reason: String,
}

type Context = ws::WebsocketContext<SessionActor>;

impl SessionActor {
    fn close(&mut self, code: u16, reason: &str, ctx: &mut Context) {
        self.closed_for = match code {
            close::GOING_AWAY => "going_away",
            close::TOO_BIG => "too_big",
            close::BAD_MESSAGE => "bad_message",
            close::NOT_AUTHENTICATED => "not_authenticated",
            close::FORBIDDEN => "forbidden",
            close::TOO_SLOW => "too_slow",
            close::TOO_MANY => "too_many",
            _ => "closed",
        };
        ctx.close(Some(ws::CloseReason { code: code.into(), description: Some(reason.to_owned()) }));
        ctx.stop();
    }

    fn look_after(&mut self, ctx: &mut Context) {
        let silence = self.heard_at.elapsed();
        if silence >= SILENCE {
            self.closed_for = "silent";
            ctx.stop();
        } else if silence >= PING_AFTER {
            ctx.ping(b"");
        }
    }

    /// Enters the app's register and begins to listen.
    fn listen(&mut self, admission: Admission, subscription: Subscription, ctx: &mut Context) {
        let engine = Arc::clone(&self.options.engine);
        let sessions = engine.sessions(admission.app_id);
        if !sessions.enter(self.id, admission.key_id, ctx.address().recipient()) {
            self.close(close::TOO_MANY, "too many connections", ctx);
            return;
        }
        self.entered = Some(sessions);
        if let Some(at) = admission.expires_at {
            let left = (at - engine.ports().clock.now()).to_std().unwrap_or_default();
            ctx.run_later(left, |session, ctx| session.close(close::FORBIDDEN, "the API key has ended", ctx));
        }
        let opened = async move { engine.feed(admission.app_id).await };
        // Waited for: until the session is connected it takes nothing else.
        ctx.wait(opened.into_actor(self).map(move |opened, session, ctx| match opened {
            Ok((feed, bounds)) => session.connected(feed, bounds, subscription, ctx),
            Err(failure) => session.turn_away(&Denial::Store(failure), ctx),
        }));
    }

    fn connected(&mut self, feed: Arc<Feed>, bounds: Bounds, wanted: Subscription, ctx: &mut Context) {
        let connected = ControlMessage::Connected {
            app_id: feed.app_id(),
            session_id: self.id,
            seq: bounds.head,
            oldest_seq: bounds.oldest,
        };
        ctx.text(connected.text());
        let (start, gap) = starting_point(wanted.after, bounds);
        if let Some(gap) = gap {
            ctx.text(gap.text());
        }
        self.ids_as_text = wanted.ids_as_text;
        let log = Arc::clone(&self.options.engine.ports().log);
        let reader = FeedReader::new(feed, log, start, wanted.filter);
        ctx.add_stream(stream::unfold(reader, |mut reader| async move {
            match reader.next().await {
                Ok(Some(batch)) => Some((Ok(batch), reader)),
                Ok(None) => None,
                Err(failure) => {
                    tokio::time::sleep(READ_RETRY).await;
                    Some((Err(failure), reader))
                }
            }
        }));
    }

    fn turn_away(&mut self, denial: &Denial, ctx: &mut Context) {
        let code = match denial {
            Denial::UnknownKey => close::NOT_AUTHENTICATED,
            Denial::AppInactive => close::FORBIDDEN,
            Denial::Store(_) => close::GOING_AWAY,
        };
        self.close(code, &denial.to_string(), ctx);
    }

    fn hear(&mut self, text: &[u8], ctx: &mut Context) {
        match serde_json::from_slice(text) {
            Ok(ClientMessage::Subscribe(subscribe)) if self.entered.is_none() => {
                let subscription = match subscribe.subscription() {
                    Ok(said) => said.unwrap_or_else(|| self.options.subscription.clone()),
                    Err(problem) => return self.close(close::BAD_MESSAGE, &problem.to_string(), ctx),
                };
                let gate = Arc::clone(&self.options.engine.ports().gate);
                let admitted = async move { gate.admit(&subscribe.api_key).await };
                ctx.wait(admitted.into_actor(self).then(|admitted, session, ctx| {
                    match admitted {
                        Ok(admission) => session.listen(admission, subscription, ctx),
                        Err(denial) => session.turn_away(&denial, ctx),
                    }
                    ready(())
                }));
            }
            Ok(ClientMessage::Subscribe(_)) => {
                self.close(close::BAD_MESSAGE, "this session is subscribed already", ctx);
            }
            Ok(ClientMessage::Ack { .. }) if self.entered.is_some() => {}
            Ok(ClientMessage::Ack { .. }) => {
                self.close(close::NOT_AUTHENTICATED, "the first message must subscribe", ctx);
            }
            Err(_) => self.close(close::BAD_MESSAGE, "not a message that is known here", ctx),
        }
    }

    fn hear_fragment(&mut self, item: Item, ctx: &mut Context) {
        let (part, last) = match item {
            Item::FirstText(part) | Item::FirstBinary(part) => {
                self.fragments.clear();
                (part, false)
            }
            Item::Continue(part) => (part, false),
            Item::Last(part) => (part, true),
        };
        if self.fragments.len() + part.len() > LARGEST_MESSAGE {
            return self.close(close::TOO_BIG, "the message is too big", ctx);
        }
        self.fragments.extend_from_slice(&part);
        if last {
            let whole = std::mem::take(&mut self.fragments);
            self.hear(&whole, ctx);
        }
    }
}

impl Actor for SessionActor {
    type Context = Context;

    fn started(&mut self, ctx: &mut Self::Context) {
        gauge!("cti_ws_sessions").increment(1);
        ctx.run_interval(HEARTBEAT, Self::look_after);
        match self.options.admission {
            Some(admission) => self.listen(admission, self.options.subscription.clone(), ctx),
            None => {
                ctx.run_later(SUBSCRIBE_WITHIN, |session, ctx| {
                    if session.entered.is_none() {
                        session.close(close::NOT_AUTHENTICATED, "no key came in time", ctx);
                    }
                });
            }
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if let Some(sessions) = self.entered.take() {
            sessions.leave(self.id);
        }
        gauge!("cti_ws_sessions").decrement(1);
        counter!("cti_ws_sessions_closed_total", "reason" => self.closed_for).increment(1);
        debug!(session.id = %self.id, reason = self.closed_for, "a session ended");
    }
}

/// What comes from the feed.
impl StreamHandler<Result<Batch, StoreError>> for SessionActor {
    fn handle(&mut self, batch: Result<Batch, StoreError>, ctx: &mut Self::Context) {
        match batch {
            Ok(batch) => {
                if let Some((from_seq, to_seq)) = batch.gap {
                    let (oldest_seq, seq) = (to_seq.next(), batch.cursor);
                    let gap = ControlMessage::Gap { reason: "expired", from_seq, to_seq, oldest_seq, seq };
                    ctx.text(gap.text());
                }
                for frame in batch.frames {
                    ctx.text(if self.ids_as_text { frame.text_with_text_ids() } else { frame.text });
                }
            }
            Err(failure) => {
                warn!(session.id = %self.id, error = %failure, "a session could not read its feed")
            }
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        self.close(close::GOING_AWAY, "the feed ended", ctx);
    }
}

/// What comes from the client.
impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for SessionActor {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        self.heard_at = Instant::now();
        match message {
            Ok(ws::Message::Text(text)) => self.hear(text.as_bytes(), ctx),
            Ok(ws::Message::Binary(bytes)) => self.hear(&bytes, ctx),
            Ok(ws::Message::Continuation(item)) => self.hear_fragment(item, ctx),
            Ok(ws::Message::Ping(payload)) => ctx.pong(&payload),
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Close(reason)) => {
                self.closed_for = "client";
                ctx.close(reason);
                ctx.stop();
            }
            Err(ws::ProtocolError::Overflow) => self.close(close::TOO_BIG, "the message is too big", ctx),
            Err(_) => self.close(1002, "not a WebSocket frame", ctx),
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<HangUp> for SessionActor {
    type Result = ();

    fn handle(&mut self, order: HangUp, ctx: &mut Self::Context) {
        if order.code == close::GOING_AWAY {
            // Spread over a few seconds, so that they do not all come back in the same moment.
            let after_ms = 500 + u64::from(self.id.0.as_bytes()[15]) * 10;
            ctx.text(ControlMessage::Reconnect { after_ms }.text());
        }
        self.close(order.code, &order.reason, ctx);
    }
}
