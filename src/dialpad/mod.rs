//! Dialpad: what it sends us, and what we ask of it.
//!
//! [`signature`] and [`payload`] read what comes in. [`api`] is what we ask for an app: [`access`] finds whose token
//! to ask with, [`client`] asks, and [`question`] is what. [`oauth`] gets tokens for [`scopes`], [`renewal`] the next
//! ones, [`parting`] gives them back, [`keeper`] sees to it that Dialpad sends us anything, and [`media`] fetches audio.
//!
//! The client's rules are pure and have a file each: [`limits`] (how often), [`retry`] (what again), [`breaker`] (when
//! not at all). [`lines`] holds their state for each company, [`tally`] counts.

pub mod api;
pub mod client;
pub mod media;
pub mod oauth;
pub mod webhooks;
