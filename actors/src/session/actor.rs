//! One WebSocket as an actor. The only file that knows `actix_web_actors`.
//!
//! The actor runs as the body of the HTTP response: it is polled only while its socket takes data. That is the
//! back-pressure: a client that stops reading stops its own [`Listener`], and costs one batch. It also means
//! that a frozen socket freezes this actor's timers. So it is watched from outside (`watch`), and where even a close
//! code can't be written, the kernel ends the connection (`TCP_USER_TIMEOUT`, set where the server accepts it).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, StreamHandler, WrapFuture, fut::ready};
use actix_http::ws::Item;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use actix_web_actors::ws;
use futures_util::stream;
use metrics::{counter, gauge};
use tracing::debug;

use super::{
    Listener, OutboundBatch, Refusal, Transport,
    close_code::{CloseCode, CloseReason},
    progress::DeliveryProgress,
    protocol::ClientMessage,
    subscription::Subscription,
    tenant::TenantDirectory,
};
use crate::{
    consumer::{Acknowledger, JoinError},
    error::AuthError,
    id::{Seq, SessionId},
    ports::AuthenticatedKey,
};

/// How long after the last sign of life the client is pinged: each session has its own time between these two, so that
/// those that came at once are not pinged at once for ever.
const PING_AFTER: (Duration, Duration) = (Duration::from_secs(16), Duration::from_secs(20));
/// How long a client may show no sign of life.
const SILENCE: Duration = Duration::from_secs(25);
/// A timer that is so late was frozen with its socket: it took nothing until just now.
const FROZEN: Duration = Duration::from_secs(2);
/// How long a client without a key may take to send one.
const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(10);
/// The largest message a client may send.
const LARGEST_MESSAGE: usize = 64 << 10;
/// The close code of RFC 6455 for a client that does not keep to the protocol.
const PROTOCOL_ERROR: u16 = 1002;

/// How a session begins.
pub struct SessionOptions {
    /// Where it finds the app of its key.
    pub tenants: Arc<dyn TenantDirectory>,
    /// What the key with the request opened; `None`: the first message brings the key.
    pub admission: Option<AuthenticatedKey>,
    /// What the query asks for.
    pub subscription: Subscription,
    /// Told of a wrong key in a first message: counts it, and says whether there were too many before it.
    pub is_one_guess_too_many: Box<dyn Fn() -> bool>,
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
        pulse: None,
        acknowledger: None,
        heard_at: Instant::now(),
        fragments: Vec::new(),
        closed_for: CloseReason::Lost,
    };
    ws::WsResponseBuilder::new(session, request, payload).frame_size(LARGEST_MESSAGE).start()
}

struct SessionActor {
    id: SessionId,
    options: SessionOptions,
    /// What is seen of it from outside, once it is authenticated.
    pulse: Option<Arc<DeliveryProgress>>,
    /// Where its acknowledgements go, if it is a named consumer's.
    acknowledger: Option<Acknowledger>,
    /// The last sign of life.
    heard_at: Instant,
    /// The parts of a fragmented message.
    fragments: Vec<u8>,
    /// Why the session ended, for the metrics; `lost` until somebody closes it in so many words.
    closed_for: CloseReason,
}

type Context = ws::WebsocketContext<SessionActor>;

impl SessionActor {
    fn close(&mut self, code: CloseCode, reason: &str, ctx: &mut Context) {
        self.end(code.code(), code.into(), reason, ctx);
    }

    fn end(&mut self, code: u16, counted_as: CloseReason, reason: &str, ctx: &mut Context) {
        self.closed_for = counted_as;
        ctx.close(Some(ws::CloseReason { code: code.into(), description: Some(reason.to_owned()) }));
        ctx.stop();
    }

    /// When it is pinged after the last sign of life.
    fn ping_after(&self) -> Duration {
        let (soonest, latest) = PING_AFTER;
        soonest + (latest - soonest) * u32::from(self.id.0.as_bytes()[15]) / 256
    }

    /// Looks whether the client is still there, when the time has come.
    fn look_after(&mut self, due: Instant, ctx: &mut Context) {
        if due.elapsed() > FROZEN {
            self.heard_at = Instant::now();
        }
        let (silence, ping_after) = (self.heard_at.elapsed(), self.ping_after());
        if silence >= SILENCE {
            self.closed_for = CloseReason::Silent;
            ctx.stop();
        } else if silence >= ping_after {
            ctx.ping(b"");
            self.look_again(SILENCE, ctx);
        } else {
            self.look_again(ping_after, ctx);
        }
    }

    fn look_again(&self, after: Duration, ctx: &mut Context) {
        let due = self.heard_at + after;
        let left = due.saturating_duration_since(Instant::now());
        ctx.run_later(left, move |session, ctx| session.look_after(due, ctx));
    }

    /// Begins to listen.
    fn listen(&mut self, admission: AuthenticatedKey, subscription: Subscription, ctx: &mut Context) {
        let tenant = self.options.tenants.tenant(admission.app_id);
        let opened =
            async move { Listener::open(&tenant, admission, subscription, Transport::WebSocket).await };
        // Waited for: until the session is connected it takes nothing else.
        ctx.wait(opened.into_actor(self).map(move |opened, session, ctx| match opened {
            Ok(listener) => session.connected(listener, ctx),
            Err(refusal) => session.refuse(&refusal, ctx),
        }));
    }

    fn connected(&mut self, listener: Listener, ctx: &mut Context) {
        self.id = listener.id();
        self.pulse = Some(listener.watched());
        self.acknowledger = listener.acknowledger();
        ctx.add_stream(stream::unfold(listener, |mut listener| async move {
            listener.next().await.map(|turn| (turn, listener))
        }));
    }

    fn refuse(&mut self, refusal: &Refusal, ctx: &mut Context) {
        match refusal {
            Refusal::TooMany => self.close(CloseCode::TooMany, "too many connections", ctx),
            Refusal::Consumer(JoinError::TooMany) => {
                self.close(CloseCode::TooMany, "too many consumers", ctx);
            }
            Refusal::Consumer(_) => {
                self.close(CloseCode::Elsewhere, "the consumer's connections are at another server", ctx);
            }
            Refusal::Store(failure) => self.close(CloseCode::GoingAway, &failure.to_string(), ctx),
            // Announced as a gap instead.
            Refusal::Cursor(..) => self.close(CloseCode::BadMessage, "after: can't be served", ctx),
        }
    }

    fn turn_away(&mut self, denial: &AuthError, ctx: &mut Context) {
        let code = match denial {
            AuthError::UnknownKey if (self.options.is_one_guess_too_many)() => {
                return self.close(CloseCode::TooMany, "too many attempts from this address", ctx);
            }
            AuthError::UnknownKey => CloseCode::NotAuthenticated,
            AuthError::AppInactive => CloseCode::Forbidden,
            AuthError::Store(_) => CloseCode::GoingAway,
        };
        self.close(code, &denial.to_string(), ctx);
    }

    fn hear(&mut self, text: &[u8], ctx: &mut Context) {
        match serde_json::from_slice(text) {
            Ok(ClientMessage::Subscribe(subscribe)) if self.pulse.is_none() => {
                let subscription = match subscribe.subscription() {
                    Ok(said) => said.unwrap_or_else(|| self.options.subscription.clone()),
                    Err(problem) => return self.close(CloseCode::BadMessage, &problem.to_string(), ctx),
                };
                let gate = self.options.tenants.authenticator();
                let admitted = async move { gate.authenticate(&subscribe.api_key).await };
                ctx.wait(admitted.into_actor(self).then(|admitted, session, ctx| {
                    match admitted {
                        Ok(admission) => session.listen(admission, subscription, ctx),
                        Err(denial) => session.turn_away(&denial, ctx),
                    }
                    ready(())
                }));
            }
            Ok(ClientMessage::Subscribe(_)) => {
                self.close(CloseCode::BadMessage, "this session is subscribed already", ctx);
            }
            Ok(ClientMessage::Ack { seq }) if seq < 0 => {
                self.close(CloseCode::BadMessage, "seq: must not be negative", ctx);
            }
            Ok(ClientMessage::Ack { seq }) if self.pulse.is_some() => {
                if let Some(acknowledger) = &self.acknowledger {
                    acknowledger.ack(Seq(seq));
                }
            }
            Ok(ClientMessage::Ack { .. }) => {
                self.close(CloseCode::NotAuthenticated, "the first message must subscribe", ctx);
            }
            Err(_) => self.close(CloseCode::BadMessage, "not a message that is known here", ctx),
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
            return self.close(CloseCode::TooBig, "the message is too big", ctx);
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
        self.look_again(self.ping_after(), ctx);
        match self.options.admission {
            Some(admission) => self.listen(admission, self.options.subscription.clone(), ctx),
            None => {
                ctx.run_later(SUBSCRIBE_WITHIN, |session, ctx| {
                    if session.pulse.is_none() {
                        session.close(CloseCode::NotAuthenticated, "no key came in time", ctx);
                    }
                });
            }
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if self.closed_for == CloseReason::Lost
            && self.pulse.as_ref().is_some_and(|pulse| pulse.is_given_up())
        {
            self.closed_for = CloseReason::TooSlow;
        }
        gauge!("cti_ws_sessions").decrement(1);
        counter!("cti_ws_sessions_closed_total", "reason" => self.closed_for.as_str()).increment(1);
        debug!(session.id = %self.id, reason = self.closed_for.as_str(), "a session ended");
    }
}

/// What is to be said.
impl StreamHandler<OutboundBatch> for SessionActor {
    fn handle(&mut self, turn: OutboundBatch, ctx: &mut Self::Context) {
        for message in turn.messages {
            ctx.text(message.text);
        }
        if let Some(ending) = turn.end {
            self.close(ending.code, &ending.reason, ctx);
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {}
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
                self.closed_for = CloseReason::Client;
                ctx.close(reason);
                ctx.stop();
            }
            Err(ws::ProtocolError::Overflow) => self.close(CloseCode::TooBig, "the message is too big", ctx),
            Err(_) => self.end(PROTOCOL_ERROR, CloseReason::ProtocolError, "not a WebSocket frame", ctx),
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
