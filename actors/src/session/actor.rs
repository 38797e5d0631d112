//! One WebSocket as an actor. The only file that knows `actix_web_actors`.
//!
//! The actor runs as the body of the HTTP response: it is polled only while its socket takes data. That is the
//! back-pressure: a client that stops reading stops its own [`Listener`], and costs one batch. It also means that a
//! frozen socket freezes this actor's timers. So it is watched from outside (`engine::session_watch`), and where even a
//! close code can't be written, the kernel ends the connection (`TCP_USER_TIMEOUT`, set where the server accepts it).

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, StreamHandler, WrapFuture, fut::ready};
use actix_http::ws::Item;
use actix_web::{Error, HttpRequest, HttpResponse, error::PayloadError, web};
use actix_web_actors::ws;
use futures_util::{StreamExt as _, stream};
use metrics::{counter, gauge};
use tracing::debug;

use super::{
    Listener, OutboundBatch, Refusal, TenantDirectory, Transport,
    close_code::{CloseCode, CloseReason},
    frame_limit::FrameLimit,
    liveness::{Check, Liveness},
    progress::DeliveryProgress,
    protocol::ClientMessage,
    subscribe::Subscribe,
    subscription::Subscription,
};
use crate::{
    consumer::{Acknowledger, JoinError},
    error::AuthError,
    id::{Seq, SessionId},
    ports::AuthenticatedKey,
};

/// How long a client without a key may take to send one.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes that a message of a client may have.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// The close code for a client that does not keep to the protocol (RFC 6455, 7.4.1).
const PROTOCOL_ERROR: u16 = 1002;

/// How a WebSocket session begins.
pub struct SessionOptions {
    /// Finds the app of the key.
    pub tenants: Arc<dyn TenantDirectory>,
    /// The key of the request; `None`: the first message has it.
    pub key: Option<AuthenticatedKey>,
    /// The subscription in the query.
    pub subscription: Subscription,
    /// Counts a wrong key in a first message; returns whether the client's address has sent too many.
    pub exceeds_wrong_key_limit: Box<dyn Fn() -> bool>,
    /// Set once the client has sent a close frame: nothing comes after it.
    pub is_closed_by_client: Rc<Cell<bool>>,
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
    let id = SessionId::generate();
    let is_frame_too_long = Rc::new(Cell::new(false));
    let session = SessionActor {
        id,
        is_frame_too_long: Rc::clone(&is_frame_too_long),
        options,
        progress: None,
        acknowledger: None,
        liveness: Liveness::new(id),
        fragments: Vec::new(),
        close_reason: CloseReason::Lost,
    };
    // A connection that breaks, even in the middle of a frame, ends what comes of it, and is no violation of the protocol.
    let received = payload.take_while(|part| futures_util::future::ready(part.is_ok()));
    let mut limit = FrameLimit::default();
    let received = received.map(move |part| {
        part.and_then(|bytes| match limit.admits(&bytes, MAX_MESSAGE_BYTES as u64) {
            true => Ok(bytes),
            false => {
                is_frame_too_long.set(true);
                Err(PayloadError::Overflow)
            }
        })
    });
    ws::WsResponseBuilder::new(session, request, received).frame_size(MAX_MESSAGE_BYTES).start()
}

/// Whether the server understands this message of a client.
#[cfg(feature = "testing")]
#[must_use]
pub fn reads_client_message(text: &[u8]) -> bool {
    match serde_json::from_slice(text) {
        Ok(ClientMessage::Subscribe(subscribe)) => subscribe.subscription().is_ok(),
        Ok(ClientMessage::Ack { seq }) => seq >= 0,
        Err(_) => false,
    }
}

struct SessionActor {
    id: SessionId,
    /// Set once the client has announced a frame that is too long, of which nothing is read.
    is_frame_too_long: Rc<Cell<bool>>,
    options: SessionOptions,
    /// The progress of its deliveries, once it is authenticated.
    progress: Option<Arc<DeliveryProgress>>,
    /// What acknowledges for it, if it is a connection of a named consumer.
    acknowledger: Option<Acknowledger>,
    liveness: Liveness,
    /// The parts of a fragmented message.
    fragments: Vec<u8>,
    /// Why the session ended, for the metrics; `Lost` unless it is closed.
    close_reason: CloseReason,
}

type Context = ws::WebsocketContext<SessionActor>;

impl SessionActor {
    fn close(&mut self, code: CloseCode, reason: &str, ctx: &mut Context) {
        self.end(code.code(), code.into(), reason, ctx);
    }

    fn end(&mut self, code: u16, close_reason: CloseReason, reason: &str, ctx: &mut Context) {
        self.close_reason = close_reason;
        ctx.close(Some(ws::CloseReason { code: code.into(), description: Some(reason.to_owned()) }));
        ctx.stop();
    }

    fn check_liveness(&mut self, due: Instant, ctx: &mut Context) {
        match self.liveness.check(due) {
            Check::Wait(next) => Self::check_liveness_at(next, ctx),
            Check::Ping(next) => {
                ctx.ping(b"");
                Self::check_liveness_at(next, ctx);
            }
            Check::Silent => {
                self.close_reason = CloseReason::Silent;
                ctx.stop();
            }
        }
    }

    fn check_liveness_at(due: Instant, ctx: &mut Context) {
        let left = due.saturating_duration_since(Instant::now());
        ctx.run_later(left, move |session, ctx| session.check_liveness(due, ctx));
    }

    fn open(&mut self, key: AuthenticatedKey, subscription: Subscription, ctx: &mut Context) {
        let tenant = self.options.tenants.tenant(key.app_id);
        let opened = async move { Listener::open(&tenant, key, subscription, Transport::WebSocket).await };
        // Waited for: until the session is open it takes nothing else.
        ctx.wait(opened.into_actor(self).map(move |opened, session, ctx| match opened {
            Ok(listener) => session.on_opened(listener, ctx),
            Err(refusal) => session.refuse(&refusal, ctx),
        }));
    }

    fn on_opened(&mut self, listener: Listener, ctx: &mut Context) {
        self.id = listener.id();
        self.progress = Some(listener.progress());
        self.acknowledger = listener.acknowledger();
        ctx.add_stream(stream::unfold(listener, |mut listener| async move {
            listener.next().await.map(|batch| (batch, listener))
        }));
    }

    fn refuse(&mut self, refusal: &Refusal, ctx: &mut Context) {
        match refusal {
            Refusal::TooMany => self.close(CloseCode::TooMany, "too many connections", ctx),
            Refusal::Consumer(JoinError::TooMany) => {
                self.close(CloseCode::TooMany, "too many consumers", ctx);
            }
            Refusal::Consumer(JoinError::Store(failure)) | Refusal::Store(failure) => {
                self.close(CloseCode::GoingAway, &failure.to_string(), ctx);
            }
            // Impossible: it is announced as a gap.
            Refusal::Cursor(..) => self.close(CloseCode::BadMessage, "after: can't be served", ctx),
        }
    }

    fn refuse_key(&mut self, error: &AuthError, ctx: &mut Context) {
        let code = match error {
            AuthError::UnknownKey if (self.options.exceeds_wrong_key_limit)() => {
                return self.close(CloseCode::TooMany, "too many attempts from this address", ctx);
            }
            AuthError::UnknownKey => CloseCode::NotAuthenticated,
            AuthError::AppInactive => CloseCode::Forbidden,
            AuthError::Store(_) => CloseCode::GoingAway,
        };
        self.close(code, &error.to_string(), ctx);
    }

    fn on_text(&mut self, text: &[u8], ctx: &mut Context) {
        let is_open = self.progress.is_some();
        match serde_json::from_slice(text) {
            Ok(ClientMessage::Subscribe(_)) if is_open => {
                self.close(CloseCode::BadMessage, "this session is subscribed already", ctx);
            }
            Ok(ClientMessage::Subscribe(subscribe)) => self.on_subscribe(subscribe, ctx),
            Ok(ClientMessage::Ack { seq }) if seq < 0 => {
                self.close(CloseCode::BadMessage, "seq: must not be negative", ctx);
            }
            Ok(ClientMessage::Ack { .. }) if !is_open => {
                self.close(CloseCode::NotAuthenticated, "the first message must subscribe", ctx);
            }
            Ok(ClientMessage::Ack { seq }) => {
                if let Some(acknowledger) = &self.acknowledger {
                    acknowledger.ack(Seq(seq));
                }
            }
            Err(_) => self.close(CloseCode::BadMessage, "not a message that is known here", ctx),
        }
    }

    fn on_subscribe(&mut self, subscribe: Subscribe, ctx: &mut Context) {
        let subscription = match subscribe.subscription() {
            Ok(subscription) => subscription.unwrap_or_else(|| self.options.subscription.clone()),
            Err(problem) => return self.close(CloseCode::BadMessage, &problem.to_string(), ctx),
        };
        let authenticator = self.options.tenants.authenticator();
        let authenticated = async move { authenticator.authenticate(&subscribe.api_key).await };
        ctx.wait(authenticated.into_actor(self).then(|authenticated, session, ctx| {
            match authenticated {
                Ok(key) => session.open(key, subscription, ctx),
                Err(error) => session.refuse_key(&error, ctx),
            }
            ready(())
        }));
    }

    fn on_fragment(&mut self, item: Item, ctx: &mut Context) {
        let (part, is_last) = match item {
            Item::FirstText(part) | Item::FirstBinary(part) => {
                self.fragments.clear();
                (part, false)
            }
            Item::Continue(part) => (part, false),
            Item::Last(part) => (part, true),
        };
        if self.fragments.len() + part.len() > MAX_MESSAGE_BYTES {
            return self.close(CloseCode::TooBig, "the message is too big", ctx);
        }
        self.fragments.extend_from_slice(&part);
        if is_last {
            let message = std::mem::take(&mut self.fragments);
            self.on_text(&message, ctx);
        }
    }
}

impl Actor for SessionActor {
    type Context = Context;

    fn started(&mut self, ctx: &mut Self::Context) {
        gauge!("cti_ws_sessions").increment(1);
        Self::check_liveness_at(self.liveness.first_check(), ctx);
        match self.options.key {
            Some(key) => self.open(key, self.options.subscription.clone(), ctx),
            None => {
                ctx.run_later(SUBSCRIBE_TIMEOUT, |session, ctx| {
                    if session.progress.is_none() {
                        session.close(CloseCode::NotAuthenticated, "no key came in time", ctx);
                    }
                });
            }
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let is_stalled = self.progress.as_ref().is_some_and(|progress| progress.is_stalled());
        if self.close_reason == CloseReason::Lost && is_stalled {
            self.close_reason = CloseReason::TooSlow;
        }
        let reason = self.close_reason.as_str();
        gauge!("cti_ws_sessions").decrement(1);
        counter!("cti_ws_sessions_closed_total", "reason" => reason).increment(1);
        debug!(session.id = %self.id, reason, "a WebSocket ended");
    }
}

/// The messages to send.
impl StreamHandler<OutboundBatch> for SessionActor {
    fn handle(&mut self, batch: OutboundBatch, ctx: &mut Self::Context) {
        for message in batch.messages {
            ctx.text(message.text);
        }
        if let Some(end) = batch.end {
            self.close(end.code, &end.reason, ctx);
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

/// The messages of the client.
impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for SessionActor {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        self.liveness.touch();
        match message {
            Ok(ws::Message::Text(text)) => self.on_text(text.as_bytes(), ctx),
            Ok(ws::Message::Binary(bytes)) => self.on_text(&bytes, ctx),
            Ok(ws::Message::Continuation(item)) => self.on_fragment(item, ctx),
            Ok(ws::Message::Ping(payload)) => ctx.pong(&payload),
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Close(reason)) => {
                self.close_reason = CloseReason::Client;
                self.options.is_closed_by_client.set(true);
                ctx.close(reason);
                ctx.stop();
            }
            Err(ws::ProtocolError::Overflow) => self.close(CloseCode::TooBig, "the message is too big", ctx),
            Err(_) if self.is_frame_too_long.get() => {
                self.close(CloseCode::TooBig, "the message is too big", ctx);
            }
            Err(_) => self.end(PROTOCOL_ERROR, CloseReason::ProtocolError, "not a WebSocket frame", ctx),
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
