//! Whether two legs rang two people for one caller at the same time. Pure.
//!
//! Where only people's legs are delivered, those of a ring group can name nothing of each other. One caller does not make
//! two calls within seconds; but a number can be that of a whole company, so more must agree than the number.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    identity::{self, Identity},
    span::Beginning,
};
use crate::{
    id::DialpadCallId,
    model::call::{CallFacts, Direction, Leg, StoredCall},
};

/// How far apart the legs of a ring group begin at most.
pub(crate) const RINGING_APART_AT_MOST: TimeDelta = TimeDelta::seconds(3);

/// Whether a leg may have rung with others that it does not name.
fn may_ring_with_others(facts: &CallFacts) -> bool {
    let is_of_person = matches!(facts.leg(), Some(Leg::User | Leg::Direct)) && facts.target_id().is_some();
    let is_sent_on = facts.transferred_from().is_some();
    facts.direction() == Some(Direction::Inbound)
        && is_of_person
        && !is_sent_on
        && facts.names().next().is_none()
        && facts.rang_at.is_some()
        && facts.external_number().as_deref().and_then(identity::identifying).is_some()
}

/// Returns what legs are found by that may ring with this one: the number of the caller in one spelling, the person who is
/// rung, and when it began; `None` if the leg rings with no other.
pub(crate) fn ringing_key(facts: &CallFacts) -> Option<(String, i64, DateTime<Utc>)> {
    if !may_ring_with_others(facts) {
        return None;
    }
    let number = facts.external_number().as_deref().and_then(identity::identifying)?;
    Some((number, facts.target_id()?, Beginning::of(facts)?.earliest))
}

/// Returns the leg with which `leg` rang, if one of the candidates is it: one that was answered, otherwise the one that
/// began first.
pub(crate) fn rang_with<'c>(
    leg: &StoredCall,
    candidates: impl Iterator<Item = &'c StoredCall>,
) -> Option<DialpadCallId> {
    let rang = candidates.filter(|other| rang_together(leg, other));
    let key = |other: &&StoredCall| {
        (other.facts.own_answer().is_none(), other.facts.rang_at, other.dialpad_call_id)
    };
    rang.min_by_key(key).map(|other| other.dialpad_call_id)
}

/// Whether two legs rang for the same caller, who had called the same number. Two that were answered are two calls.
pub(crate) fn rang_together(leg: &StoredCall, other: &StoredCall) -> bool {
    let (one, another) = (&leg.facts, &other.facts);
    let numbers = identity::compare(one.external_number().as_deref(), another.external_number().as_deref());
    let called = identity::compare(one.called_number().as_deref(), another.called_number().as_deref());
    let begins = Beginning::of(one).zip(Beginning::of(another));
    leg.dialpad_call_id != other.dialpad_call_id
        && may_ring_with_others(one)
        && may_ring_with_others(another)
        && one.target_id() != another.target_id()
        && numbers == Identity::Same
        && called != Identity::Different
        && begins.is_some_and(|(one, other)| (one.earliest - other.earliest).abs() <= RINGING_APART_AT_MOST)
        && (one.own_answer().is_none() || another.own_answer().is_none())
}
