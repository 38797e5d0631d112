//! The Dialpad side: connections and their tokens, the webhooks that the server registers, authorizations in progress,
//! and gaps in what was delivered.

pub mod connections;
pub(super) mod figures;
pub mod gaps;
pub mod oauth_sessions;
pub mod own_webhooks;
pub mod renewals;
pub mod secrets;
pub mod webhook_hours;
pub mod webhook_views;
