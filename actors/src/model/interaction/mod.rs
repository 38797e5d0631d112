//! Interactions: the legs of one human call, found by the ids that they name of each other, and what they prove of
//! each other. Pure.
//!
//! Dialpad's webhooks are about single legs, and no id is on all legs of a call: a queue's leg names the main line's, an
//! agent's leg names the queue's, a queue's leg names the leg of the agent who took it. [`join`](self::join) finds which
//! legs belong together, whatever their order of arrival; [`proof`](self::proof) is what follows for each of them from the
//! others: that a group's leg was answered, or that a person's leg ended because another person answered.

pub(crate) mod join;
pub(crate) mod proof;

pub(crate) use self::{
    join::{LegLinks, join, sent_on_from},
    proof::proofs,
};
