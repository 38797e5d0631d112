//! The links between legs that name nothing of each other: where they are looked for, and what is found. Pure.

use chrono::{DateTime, Utc};

use super::{
    merge::merged_with,
    span::{Beginning, MAX_CALL, SLACK, Span, Window},
    transfer::sent_on_from,
};
use crate::model::call::{CallFacts, Links, StoredCall};

/// Whether a leg is linked to another one that it does not name, or may be.
pub(crate) fn may_be_linked(facts: &CallFacts) -> bool {
    facts.transferred_from().is_some() || facts.merged_at().is_some()
}

/// Returns the user or group of the leg that a leg waits for, and the instant at which that leg must have been up. The
/// store finds a leg by it whose source becomes known later.
#[must_use]
pub fn waits_for(facts: &CallFacts) -> Option<(i64, DateTime<Utc>)> {
    let sent_on = || facts.transferred_from().zip(Beginning::of(facts).map(|began| began.earliest));
    let merged = || facts.target_id().zip(facts.merged_at());
    sent_on().or_else(merged)
}

/// Returns where the legs are that a leg may be linked to.
pub(crate) fn sources_of(facts: &CallFacts) -> impl Iterator<Item = Window> {
    let sent_on = facts.transferred_from().zip(Beginning::of(facts)).map(|(target, began)| Window {
        target,
        from: began.earliest - SLACK,
        until: began.latest + MAX_CALL,
    });
    let merged = facts.target_id().zip(facts.merged_at());
    let merged = merged.map(|(target, at)| Window { target, from: at - SLACK, until: at + MAX_CALL });
    sent_on.into_iter().chain(merged)
}

/// Returns where the legs are that may wait for this one.
pub(crate) fn waiters_of(facts: &CallFacts) -> Option<Window> {
    let (target, span) = facts.target_id().zip(Span::of(facts))?;
    let from = facts.first_seen.map_or(span.from, |first| first.min(span.from)) - SLACK;
    let until = span.until.map_or(span.from + MAX_CALL, |until| until + SLACK);
    Some(Window { target, from, until })
}

/// Finds the links of a leg.
pub(crate) fn find_links<'c>(
    leg: &StoredCall,
    candidates: impl Iterator<Item = &'c StoredCall> + Clone,
) -> Links {
    Links {
        sent_on_from: sent_on_from(leg, candidates.clone()),
        merged_with: merged_with(leg, candidates),
        rang_with: leg.facts.links().rang_with,
    }
}
