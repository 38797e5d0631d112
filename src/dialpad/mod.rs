//! Dialpad: what it sends us, and what we ask of it.
//!
//! [`signature`] and [`payload`] read what comes in. [`api`] is what we ask for an app: [`access`] finds whose token
//! to ask with, [`client`] asks, and [`question`] is what. [`oauth`] gets tokens, [`subscriptions`] sees to it that
//! Dialpad sends us anything.

pub mod access;
pub mod api;
pub mod client;
pub mod oauth;
pub mod payload;
pub mod question;
pub mod signature;
pub mod subscriptions;
