//! Dialpad: what it sends us, and what we ask of it.

pub mod client;
pub mod oauth;
pub mod payload;
pub mod signature;
pub mod subscriptions;
