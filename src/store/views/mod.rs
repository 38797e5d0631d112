//! Calls, interactions, voicemails and messages as clients read them.

pub mod calls;
pub mod interactions;
pub mod listing;
pub mod messages;
pub mod overdue;
pub(crate) mod plan;
pub mod voicemails;
