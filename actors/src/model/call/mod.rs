//! Calls: the pure model, and the actor around it.
//!
//! [`event`] is what a webhook says, [`facts`] what is known, [`snapshot`] what follows from it, [`machine`] what
//! must be told. None of these knows of actors, clocks or databases. [`actor::CallActor`] holds one live call.

mod command;
mod event;
mod facts;
mod machine;
mod record;
mod snapshot;
mod status;

pub use self::{
    command::{CallCommand, Proof},
    event::{CallEvent, Direction, EndKind, Knowledge, Leg, Origin, Signal},
    facts::CallFacts,
    machine::{CallChange, Transition, apply},
    record::{CallRecord, StoredCall, VoicemailRecord},
    snapshot::{Snapshot, Voicemail},
    status::{Outcome, Status},
};
