//! The pure model: calls, interactions, messages, tokens, named consumers and leases. No actor, no runtime, no clock.

pub mod call;
pub mod consumer;
pub mod interaction;
pub(crate) mod latest;
pub mod lease;
pub mod message;
mod mix;
pub mod number;
pub mod sharing;
pub mod token;
