//! The work of one app: its supervisor actor, the webhooks that wait for it, and its call actors.
//!
//! Imports point downwards only:
//!
//! ```text
//! supervisor ─► pipeline ─► whole ─► calls ─► correlate, interactions ─► context ─► batch, call_actor, call_group,
//!                       ─► messages                               inbox, missing_leg, next_step, roster, stats
//! ```

mod batch;
mod call_actor;
mod call_group;
mod calls;
mod context;
mod correlate;
mod inbox;
mod interactions;
mod messages;
mod missing_leg;
mod next_step;
mod pipeline;
mod roster;
mod stats;
mod supervisor;
mod whole;

pub use self::missing_leg::MissingLeg;
#[cfg(feature = "testing")]
pub(crate) use self::supervisor::CrashCall;
pub(crate) use self::{
    inbox::{SharedDue, SharedInbox},
    missing_leg::MissingLegReporter,
    pipeline::{Pipeline, Queues},
    stats::{ProcessCalls, SupervisorStats},
    supervisor::{AppSupervisor, Drain, Wake},
};
