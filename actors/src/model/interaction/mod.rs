//! Interactions: the legs of one human call, found by the ids that they name of each other, and what they prove of
//! each other. Pure.
//!
//! Dialpad tells of each leg apart, and no single id is on all of them: a queue's leg names the main line's, an agent's
//! leg names the queue's, a queue's leg names the agent's that took it. [`join`](self::join) finds which legs belong
//! together, whatever the order in which they are heard of; [`proof`](self::proof) is what follows for each of them
//! from the others: that a group's leg was answered, or that a person's leg ended because somebody else answered.

pub(crate) mod join;
pub(crate) mod proof;

pub(crate) use self::{
    join::{LegLinks, join, sent_on_from},
    proof::proofs,
};
