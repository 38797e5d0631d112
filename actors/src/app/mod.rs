//! One tenant: its supervisor actor, the webhooks that wait for it, and the call actors it keeps.

mod batch;
pub(crate) mod call_actor;
mod calls;
mod correlate;
mod inbox;
mod messages;
mod pipeline;
mod roster;
mod supervisor;

#[cfg(feature = "testing")]
pub(crate) use self::supervisor::CrashCall;
pub(crate) use self::{
    inbox::Inbox,
    pipeline::Pipeline,
    supervisor::{AppSupervisor, Drain, Wake},
};
