//! Dialpad: what it sends us, and what we ask of it.
//!
//! [`signature`] and [`payload`] read what comes in. [`api`] is what we ask for an app: [`access`] finds whose token
//! to ask with, [`client`] asks, and [`question`] is what. [`oauth`] gets tokens for [`scopes`], [`renewal`] the next
//! ones, [`parting`] gives them back, [`keeper`] sees to it that Dialpad sends us anything, and [`media`] fetches audio.
//!
//! The client's rules are pure and have a file each: [`limits`] (how often), [`retry`] (what again), [`breaker`] (when
//! not at all). [`lines`] holds their state for each company, [`tally`] counts.

pub mod access;
pub mod api;
mod breaker;
pub mod client;
pub mod keeper;
mod limits;
mod lines;
pub mod media;
pub mod oauth;
pub mod operators;
pub mod parting;
pub mod payload;
pub mod question;
pub mod renewal;
mod retry;
pub mod scopes;
pub mod signature;
pub mod tally;
mod token_reply;
