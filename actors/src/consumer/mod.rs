//! Named consumers: readers of an app's feed whose cursor the server stores.
//!
//! A consumer has connections. In the mode `exclusive` it has one at a time, and the newest one takes over
//! ([`exclusive`]); in the mode `share` several share the work ([`partitions`]). Events that were delivered to a
//! connection and not acknowledged by it are delivered again. The store has one cursor per consumer: everything up to it
//! is processed ([`cursor_store`]). That is true whichever process says so, so of two cursors the larger one counts.
//!
//! One process holds all connections of a consumer, and knows more than the cursor. Another process takes an exclusive
//! consumer over; to share one, it waits until the holder has released it.

mod cursor_store;
mod entry;
mod exclusive;
mod membership;
mod partitions;
mod progress;
mod registry;

pub(crate) use self::{
    cursor_store::CursorStore,
    membership::{Acknowledger, Membership},
    registry::CloseConnection,
};
pub use self::{membership::JoinError, registry::Consumers};
pub use crate::{
    model::consumer::{Consumer, ConsumerKey, Mode},
    ports::Acked,
};
