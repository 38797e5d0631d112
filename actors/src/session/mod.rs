//! Sessions: the clients that read an app's feed at this moment. A [`Listener`] is one of them, whatever its transport;
//! [`serve`] makes one of a WebSocket. [`Sessions`] finds them again, to close those of a revoked key, those that are
//! stuck, or all of them before a stop.
//!
//! Sessions know an app by its [`TenantHandle`], not the engine.

mod actor;
mod close_code;
mod frame_limit;
mod listener;
mod liveness;
mod progress;
mod protocol;
mod registry;
pub mod schema;
mod snapshot;
mod start;
mod subscribe;
mod subscription;
mod tenant;
mod watermark;

#[cfg(feature = "testing")]
pub use self::actor::reads_client_message;
pub use self::{
    actor::{SessionOptions, serve},
    close_code::{CloseCode, CloseReason, SessionEnd},
    listener::Listener,
    protocol::{BadCursor, ControlType, MessageKind, OutboundBatch, OutboundMessage},
    registry::{OpenSession, SessionBacklog, Sessions, Transport},
    start::Refusal,
    subscription::{Subscription, SubscriptionError},
    tenant::{TenantDirectory, TenantHandle},
};
