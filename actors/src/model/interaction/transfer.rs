//! From which leg a call was sent on. The webhooks of the new leg name only the user or group who did it. Pure, and a
//! function of what the legs' own webhooks say: the order of arrival does not matter.

use chrono::{DateTime, Utc};

use super::{
    identity::{self, Identity},
    span::{Beginning, Span},
};
use crate::{id::DialpadCallId, model::call::StoredCall};

/// A leg from which another one may have been sent on.
struct Candidate {
    call: DialpadCallId,
    /// A webhook says that the call was sent on from it.
    says_so: bool,
    /// It was not over yet when the new leg began.
    was_up: bool,
    is_same_direction: bool,
    /// How far its end is from the beginning of the new leg or its answer: a transfer ends it at one of them. `None`: it is
    /// not over.
    distance_ms: Option<i64>,
}

/// Returns the leg that was sent on to `leg`, if one of the candidates is it beyond doubt.
///
/// It is a leg of the sender with the same number on the other side that was up when the new one began. Of several, it is
/// the one that says that it was sent on; otherwise one that was not over yet, then one of the same direction, then the
/// one whose end is closest. While two are equally good and one of them is not over, it is none of them yet.
///
/// Where the number identifies nobody, only a leg that says that it was sent on is it.
pub(crate) fn sent_on_from<'c>(
    leg: &StoredCall,
    candidates: impl IntoIterator<Item = &'c StoredCall>,
) -> Option<DialpadCallId> {
    let sender = leg.facts.transferred_from()?;
    let beginning = Beginning::of(&leg.facts)?;
    let candidates = candidates.into_iter().filter(|other| other.dialpad_call_id != leg.dialpad_call_id);
    let of_sender = candidates.filter(|other| other.facts.target_id() == Some(sender));
    let eligible: Vec<Candidate> =
        of_sender.filter_map(|other| Candidate::of(other, leg, beginning)).collect();

    if eligible.iter().any(|it| it.says_so) {
        let key = |it: &&Candidate| (it.distance_ms.unwrap_or(i64::MAX), !it.is_same_direction, it.call);
        return eligible.iter().filter(|it| it.says_so).min_by_key(key).map(|it| it.call);
    }
    let rank = |it: &Candidate| (it.was_up, it.is_same_direction);
    let best = eligible.iter().map(rank).max()?;
    let mut best: Vec<&Candidate> = eligible.iter().filter(|it| rank(it) == best).collect();
    if best.len() > 1 && best.iter().any(|it| it.distance_ms.is_none()) {
        return None;
    }
    best.sort_by_key(|it| (it.distance_ms, it.call));
    match best[..] {
        [first, second, ..] if first.distance_ms == second.distance_ms => None,
        [first, ..] => Some(first.call),
        [] => None,
    }
}

impl Candidate {
    /// Returns `None` for a leg that can't be it.
    fn of(other: &StoredCall, leg: &StoredCall, beginning: Beginning) -> Option<Self> {
        let span = Span::of(&other.facts).filter(|span| span.covers(beginning))?;
        let (one, another) = (other.facts.external_number(), leg.facts.external_number());
        match identity::compare(one.as_deref(), another.as_deref()) {
            Identity::Same => {}
            Identity::Unknown if other.facts.was_sent_on() => {}
            Identity::Different | Identity::Unknown => return None,
        }
        let distance_to = |end: DateTime<Utc>, at: DateTime<Utc>| (end - at).num_milliseconds().abs();
        let distance_ms = span.until.map(|end| {
            let to_beginning = distance_to(end, beginning.latest);
            leg.facts.own_answer().map_or(to_beginning, |at| to_beginning.min(distance_to(end, at)))
        });
        Some(Self {
            call: other.dialpad_call_id,
            says_so: other.facts.was_sent_on(),
            was_up: span.until.is_none_or(|until| until >= beginning.latest),
            is_same_direction: other.facts.direction() == leg.facts.direction(),
            distance_ms,
        })
    }
}
