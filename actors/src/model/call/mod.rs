//! Calls. [`event`] is what a webhook says, [`command`] what a call decides on, [`facts`] what is known, [`snapshot`] what
//! follows from that, [`machine`] which changes to emit. Nothing here knows of actors, clocks or databases.

mod command;
mod erasure;
mod event;
mod facts;
mod links;
mod machine;
mod millis;
mod presumption;
mod record;
mod recording;
mod snapshot;
mod status;

pub use self::{
    command::{CallCommand, Proof},
    event::{CallEvent, Direction, EndKind, Knowledge, Leg, Origin, RawMeaning, Signal},
    facts::CallFacts,
    links::Links,
    machine::{CallChange, Transition, apply},
    millis::Millis,
    record::{CallRecord, StoredCall, VoicemailRecord},
    recording::{ADMIN_RECORDING, CALL_RECORDING, Recording, RecordingKnowledge, recording_parts},
    snapshot::{Snapshot, Voicemail},
    status::{DialpadState, Outcome, Status},
};
