//! What is stored about the Dialpad side: connections, webhooks, secrets, OAuth sessions and gaps.

pub mod connections;
pub mod gaps;
pub mod oauth_sessions;
pub mod own_webhooks;
pub mod renewals;
pub mod secrets;
pub mod webhook_views;
