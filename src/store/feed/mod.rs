//! The stored feed of an app: its events, the snapshot of its active calls, and the cursors of its named consumers.

pub(crate) mod active;
pub(crate) mod append_event;
pub mod consumers;
pub mod events;
mod sharing;
