//! One tenant: its supervisor actor, the webhooks that wait for it, and the call actors it keeps.

mod batch;
mod inbox;
mod kinship;
mod legs;
mod pipeline;
mod roster;
mod supervisor;
mod texts;

#[cfg(feature = "testing")]
pub(crate) use self::supervisor::CrashCall;
pub(crate) use self::{
    inbox::Inbox,
    pipeline::Pipeline,
    supervisor::{AppSupervisor, Drain, Wake},
};
