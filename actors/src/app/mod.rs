//! The work of one app: its supervisor actor, the webhooks that wait for it, and its call actors.
//!
//! Imports point downwards only:
//!
//! ```text
//! supervisor ─► pipeline ─► correlate, calls ─► interactions, messages ─► context ─► batch, call_actor, call_group,
//!                                                   missing_leg, next_step, recent_keys, roster, stats, work ─► inbox ─► incoming
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
mod roster;
mod stats;
mod submission;
mod supervisor;
mod work;

#[cfg(feature = "testing")]
pub(crate) use self::supervisor::CrashCall;
pub(crate) use self::{
    inbox::SharedInbox,
    incoming::Incoming,
    missing_leg::MissingLegReporter,
    pipeline::Pipeline,
    stats::SupervisorStats,
    supervisor::{AppSupervisor, Drain, Wake},
};
pub use self::{
    incoming::{NotTaken, Stored},
    missing_leg::MissingLeg,
    submission::Submission,
};
