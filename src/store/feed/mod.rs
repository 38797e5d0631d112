//! The feed of an app as it is stored, and the cursors of its named consumers.

pub(crate) mod active;
pub(crate) mod append_event;
pub mod consumers;
pub mod events;
