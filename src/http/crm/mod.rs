//! The endpoints of a CRM.

pub(crate) mod calls;
pub(crate) mod interactions;
pub(crate) mod messages;
pub(crate) mod place_call;
pub(crate) mod recordings;
pub(crate) mod status;
pub(crate) mod voicemails;
