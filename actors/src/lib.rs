//! The engine of cti-server: what happens between a durable webhook and the CRM that hears of it.
//!
//! ```text
//!  journal ──wake──► AppSupervisor ──Apply──► CallActor (one per live call)
//!                        │  ▲                     │ pure: call::apply(facts, event) -> Transition
//!                        │  └──── change, facts ────┘
//!                        ▼
//!                  Unit of work ──commit──► Feed ──► SessionActor (one per WebSocket)
//! ```
//!
//! * [`call`] is the pure model of a call and the actor that holds one;
//! * `interaction` is what makes legs one human call, and what they prove of each other;
//! * `app` is one tenant: its supervisor, its batches, its call actors;
//! * [`feed`] is what was told, read by cursors;
//! * [`session`] is whoever listens to it, [`consumer`] one whose cursor the server keeps;
//! * [`token`] keeps the connections to Dialpad fresh;
//! * [`described`] is what all of these say, as schemas;
//! * [`ports`] is everything the engine needs from outside, [`Engine`] everything the outside needs from it.
//!
//! Live traffic, a sweep, a restart and a rebuilt actor all take the path above; there is no other. The engine
//! knows no SQL, no HTTP client and no clock of its own. `call`, `interaction`, `message`, `app::roster`, `app::inbox`,
//! `consumer::solo`, `consumer::group`, `feed::filter`, `feed::ring`, `session::protocol`, `session::subscription` and
//! `token::schedule` are pure: no actor, no runtime, no present moment.

mod app;
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
mod tuning;
pub mod unit;

pub use self::{app::MissingLeg, engine::Engine, ports::Ports, tuning::Tuning};
