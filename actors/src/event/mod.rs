//! What is delivered to clients, as data: events, frames, filters and their schemas.

mod active_calls;
mod call_event;
mod connection_event;
mod erasure;
mod event_trace;
mod event_type;
mod filter;
mod frame;
mod ids_as_text;
mod interaction_event;
mod keys;
mod message_event;
mod out_event;
mod recording;
pub mod schema;

pub(crate) use self::event_trace::EventTrace;
pub use self::{
    active_calls::{ActiveCall, ActiveCalls},
    call_event::{CallBody, call_event},
    connection_event::{ConnectionBody, ConnectionEvent, connection_event},
    erasure::without_person,
    event_type::{EventType, TypeName},
    filter::{Filter, NumberFilter},
    frame::Frame,
    ids_as_text::{number_or_text, write_ids_as_text},
    interaction_event::{InteractionBody, InteractionRecording, InteractionVoicemail, interaction_event},
    message_event::{MessageBody, message_event},
    out_event::{EventBody, OutEvent},
    recording::{RecordingBody, recording_bodies},
};
