//! Named consumers: readers of an app's feed whose cursor the server stores.
//!
//! A consumer has connections. In the mode `exclusive` it has one at a time, and the newest one takes over
//! ([`exclusive`]); in the mode `share` several share the work ([`partitions`]). Events that were delivered to a
//! connection and not acknowledged by it are delivered again. The store has one cursor per consumer: everything up to it
//! is processed ([`cursor_store`]). That is true whichever process says so, so of two cursors the larger one counts.
//!
//! An exclusive consumer is held by one process, and another one takes it over. A shared one has connections at any processes:
//! each process owns some partitions, and the store says which ([`shared`]).

mod cursor_store;
mod entry;
mod exclusive;
mod membership;
mod partitions;
mod progress;
mod registry;
mod shared;

// Not that of `std`: a simulation makes this time pass.
use tokio::time::Instant;

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
