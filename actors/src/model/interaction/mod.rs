//! Interactions: the legs of one human call, found by the ids that they name of each other, and what they prove of
//! each other. Pure.
//!
//! Dialpad's webhooks are about single legs, and no id is on all legs of a call: a queue's leg names the main line's, an
//! agent's leg names the queue's, a queue's leg names the leg of the agent who took it. Other legs name nothing of each
//! other: [`links`] finds them by who sent a call on ([`transfer`]), or merged two ([`merge`]), or by the caller for whom
//! several rang at once ([`ring`]). [`join`](self::join) says
//! which legs belong together, whatever their order of arrival; [`proof`](self::proof) is what follows for each of them
//! from the others: that a group's leg was answered, or that a person's leg ended because another person answered.

mod history;
mod identity;
pub(crate) mod join;
mod links;
mod merge;
pub(crate) mod proof;
mod ring;
mod span;
mod stored;
mod summary;
mod transfer;

pub use self::{
    history::{HistoryStep, history},
    links::waits_for,
    span::Window,
    stored::{InteractionChange, StoredInteraction},
    summary::{LegShown, Part, Summary, VoicemailShown},
};
pub(crate) use self::{
    join::{LegLinks, join},
    links::{find_links, may_be_linked, sources_of, waiters_of},
    proof::{new_proofs, with_proof},
    ring::{RINGING_APART_AT_MOST, rang_together, rang_with, ringing_key},
    stored::news,
};
