//! The engine of cti-server: it turns durable webhooks of Dialpad into events, and delivers the events to CRMs.
//!
//! # The path of a webhook
//!
//! ```text
//!  request ──submit──► AppSupervisor ──Apply──► CallActor (one per live call)
//!  journal ──notify──►    │  ▲                      │ pure: call::apply(facts, command) -> Transition
//!                         │  └── events, new facts ─┘
//!                         ▼
//!                    Unit of work ──commit──► the request is answered
//!                                         └─► Feed ──► sessions (one per WebSocket, stream or long poll)
//! ```
//!
//! Live traffic, the sweep, a restart and a rebuilt actor all take this path; there is no other. A live webhook comes
//! into the journal with the unit of work that processes it. Where the supervisor can't begin with it soon, it is
//! appended to the journal first. Nothing is acknowledged or published before it is durable. A wake is a hint without
//! data: the journal is the queue, so a lost wake costs time and no webhook.
//! The engine has no SQL, no HTTP client and no clock of its own: it reaches them through [`ports`].
//!
//! # The stages of one object
//!
//! | stage | what it is | made by |
//! |---|---|---|
//! | payload | the bytes that Dialpad signed | Dialpad |
//! | `Reading` | the payload in our terms: what it is about, its organization, its deduplication key | the server's `webhook::payload` |
//! | `NewWebhook` | a row of the journal that is not written yet, for one app | the server's `webhook::routing` |
//! | [`PendingEvent`](ports::PendingEvent) | a webhook that is not processed yet, in the journal or on its way | the journal, [`Engine::submit`] |
//! | [`CallEvent`](model::call::CallEvent) | what it reports about one call leg | the codec, as part of the `Reading` |
//! | [`CallChange`](model::call::CallChange) | what that changes for a reader of the call | [`model::call::apply`] |
//! | [`OutEvent`](event::OutEvent) | the event that reports the change, without a place in the feed | a `CallActor` |
//! | [`Frame`](event::Frame) | the event with its `seq`, serialised once for all readers | the commit of the unit of work |
//! | [`OutboundMessage`](session::OutboundMessage) | a frame that passed a session's filter, or a control message | [`session::Listener`] |
//! | text | what a client receives | the WebSocket, the stream or the long poll |
//!
//! # Modules, and who may import whom
//!
//! A module imports from those above it, never from those below (`tests/layers.rs`).
//!
//! | module | holds |
//! |---|---|
//! | [`id`], [`error`], [`state`] | ids, errors of the ports, and what can be observed |
//! | [`background`] | background work that outlives a panic |
//! | [`model`] | the pure rules of calls, interactions, messages and tokens |
//! | [`event`] | what is delivered, as data: events, frames, filters, schemas |
//! | [`unit`](mod@unit), [`clock`], [`ports`] | the unit of work, and everything that the engine needs from outside, as traits |
//! | `trace` | the engine's spans in the traces of webhooks |
//! | [`feed`] | the events of one app, read by cursors |
//! | [`consumer`], [`session`] | named consumers, whose cursor the server keeps, and open sessions; they know each other |
//! | `app` | the work of one app: its supervisor, its batches, its call actors |
//! | `engine` | the apps, the background tasks, and [`Engine`], the handle that the server holds |
//!
//! [`testing`] implements the ports in memory. `model`, `event` and some files beside them are pure: no actor, no
//! runtime, no clock; a test lists them and holds them to it.

mod app;
pub mod background;
pub mod clock;
pub mod consumer;
mod engine;
pub mod error;
pub mod event;
pub mod feed;
pub mod id;
pub mod model;
pub mod ports;
pub mod session;
pub mod state;
#[cfg(feature = "testing")]
pub mod testing;
mod trace;
mod tuning;
pub mod unit;

pub use self::{
    app::{MissingLeg, NotTaken, Stored, Submission},
    engine::Engine,
    ports::Ports,
    tuning::{Owned, Tuning},
};
