//! The pure model: calls, interactions, messages and tokens. No actor, no runtime, no clock.

pub mod call;
pub(crate) mod interaction;
pub(crate) mod latest;
pub mod message;
pub mod token;
