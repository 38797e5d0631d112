//! The work of one app: its supervisor actor, the webhooks that wait for it, and its call actors.
//!
//! Imports point downwards only:
//!
//! ```text
//! supervisor ─► pipeline ─► whole ─► calls ─► correlate, interactions ─► context ─► batch, call_actor, call_group,
//!                       ─► messages                 missing_leg, next_step, recent_keys, recent_legs, roster, stats, work ─► inbox ─► incoming
//! submission ─► inbox
//! ```

mod batch;
mod call_actor;
mod call_group;
mod calls;
mod context;
mod correlate;
mod inbox;
mod incoming;
mod interactions;
mod messages;
mod missing_leg;
mod next_step;
mod pipeline;
mod recent_keys;
mod recent_legs;
mod roster;
mod stats;
mod submission;
mod supervisor;
mod whole;
mod work;

#[cfg(feature = "testing")]
pub(crate) use self::supervisor::CrashCall;
pub(crate) use self::{
    incoming::Incoming,
    missing_leg::MissingLegReporter,
    pipeline::{Ownership, Pipeline, PipelineTuning},
    stats::{ProcessCalls, SupervisorStats},
    supervisor::{AppSupervisor, Drain, Forget, Wake},
};
pub use self::{
    incoming::{NotTaken, Stored},
    missing_leg::MissingLeg,
    submission::Submission,
};
