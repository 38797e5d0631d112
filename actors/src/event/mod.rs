//! What is delivered to clients, as data: events, frames, filters and their schemas.

mod active_calls;
pub(crate) mod call_events;
pub(crate) mod connection_events;
mod event_type;
mod filter;
mod frame;
mod keys;
pub mod schema;

pub use self::{
    active_calls::{ActiveCall, ActiveCalls},
    connection_events::{ConnectionEvent, tell as connection_event},
    event_type::{EventType, TypeName},
    filter::Filter,
    frame::{Frame, OutEvent, number_or_text, write_ids_as_text},
};
