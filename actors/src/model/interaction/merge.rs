//! With which leg a leg was merged: `merged` names no other one. Pure.

use chrono::{DateTime, Utc};

use super::span::Span;
use crate::{
    id::DialpadCallId,
    model::{
        call::{CallFacts, StoredCall},
        interaction::span::SLACK,
    },
};

/// Returns the leg that `leg` was merged with, if one of the candidates is it beyond doubt: another leg of the same user
/// that was up at that time. Of several, it is the one that was merged at the same time; otherwise the one on hold.
pub(crate) fn merged_with<'c>(
    leg: &StoredCall,
    candidates: impl IntoIterator<Item = &'c StoredCall>,
) -> Option<DialpadCallId> {
    let (at, user) = (leg.facts.merged_at()?, leg.facts.target_id()?);
    let was_up = |other: &&StoredCall| {
        let span = Span::of(&other.facts);
        other.dialpad_call_id != leg.dialpad_call_id
            && other.facts.target_id() == Some(user)
            && span.is_some_and(|span| span.from <= at && span.until.is_none_or(|until| until + SLACK >= at))
    };
    let up: Vec<&StoredCall> = candidates.into_iter().filter(was_up).collect();
    let rank = |other: &&StoredCall| (was_merged(&other.facts, at), was_held(&other.facts, at));
    let best = up.iter().map(rank).max()?;
    let best: Vec<&&StoredCall> = up.iter().filter(|other| rank(other) == best).collect();
    match best[..] {
        [only] => Some(only.dialpad_call_id),
        _ => None,
    }
}

fn was_merged(facts: &CallFacts, at: DateTime<Utc>) -> bool {
    facts.merged_at().is_some_and(|other| (other - at).abs() <= SLACK)
}

/// Whether a leg was on hold at an instant.
fn was_held(facts: &CallFacts, at: DateTime<Utc>) -> bool {
    let Some(hold) = facts.holds.range(..=at).next_back() else { return false };
    let ends =
        facts.resumes.range(*hold..at).next().or(facts.connects.range(*hold..at).find(|it| *it > hold));
    ends.is_none()
}
