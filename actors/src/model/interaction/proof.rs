//! What the legs of one interaction prove of each other. Pure, and a function of what their own webhooks said: the order
//! of arrival does not matter.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::{
    id::DialpadCallId,
    model::call::{CallCommand, CallEvent, CallFacts, Leg, Proof},
};

/// Returns a webhook with what the other legs prove about its leg once it is known.
pub(crate) fn with_proof(event: &CallEvent, legs: &[(DialpadCallId, &CallFacts)]) -> CallCommand {
    let call = event.dialpad_call_id;
    let known = legs.iter().find(|(leg, _)| *leg == call);
    let mut facts = known.map(|(_, facts)| (*facts).clone()).unwrap_or_default();
    facts.absorb(event);
    let others = legs.iter().copied().filter(|(other, _)| *other != call);
    let all: Vec<_> = std::iter::once((call, &facts)).chain(others).collect();
    CallCommand::Webhook { event: event.clone(), proof: proofs(&all).into_iter().next() }
}

/// Returns the legs about which the others prove something else since this webhook, each with the command to say so.
pub(crate) fn new_proofs(
    cause: &CallEvent,
    legs: &[(DialpadCallId, &CallFacts)],
) -> Vec<(DialpadCallId, CallCommand)> {
    let mut proven = Vec::new();
    for ((call, facts), proof) in legs.iter().zip(proofs(legs)) {
        if facts.proof() != proof {
            proven.push((*call, CallCommand::Proven { proof, at: cause.at, origin: cause.origin }));
        }
    }
    proven
}

/// Returns what the others prove of each leg, in the order of the legs.
fn proofs(legs: &[(DialpadCallId, &CallFacts)]) -> Vec<Proof> {
    let taken = taken_at(legs);
    legs.iter()
        .map(|(call, facts)| {
            let is_group = facts.leg() == Some(Leg::Group);
            Proof {
                taken_at: taken.get(&call.0).copied().filter(|_| is_group),
                answered_elsewhere: !is_group && was_answered_elsewhere(*call, facts, legs),
            }
        })
        .collect()
}

/// Returns when each group's leg was taken by a person whom it had rung, directly or through another group's leg.
fn taken_at(legs: &[(DialpadCallId, &CallFacts)]) -> HashMap<i64, DateTime<Utc>> {
    let mut taken: HashMap<i64, DateTime<Utc>> = HashMap::new();
    for (call, facts) in legs.iter().filter(|(_, facts)| facts.leg() != Some(Leg::Group)) {
        let Some(at) = facts.own_answer() else { continue };
        let [_, entry_point, _] = facts.leg_ids();
        let named_by = legs
            .iter()
            .filter(|(_, group)| group.leg() == Some(Leg::Group) && group.leg_ids()[2] == Some(call.0))
            .map(|(group, _)| group.0);
        for group in entry_point.into_iter().chain(named_by) {
            let first = taken.entry(group).or_insert(at);
            *first = at.min(*first);
        }
    }
    // A queue's leg names the main line's: what was taken from the one was taken from the other. A chain has no more links
    // than there are legs.
    for _ in legs {
        for (call, facts) in legs.iter().filter(|(_, facts)| facts.leg() == Some(Leg::Group)) {
            let [master, entry_point, _] = facts.leg_ids();
            let Some(at) = taken.get(&call.0).copied() else { continue };
            for above in [master, entry_point].into_iter().flatten().filter(|above| *above != call.0) {
                let first = taken.entry(above).or_insert(at);
                *first = at.min(*first);
            }
        }
    }
    taken
}

/// Whether a person's leg ended unanswered and another person took the call.
fn was_answered_elsewhere(
    call: DialpadCallId,
    facts: &CallFacts,
    legs: &[(DialpadCallId, &CallFacts)],
) -> bool {
    if !facts.is_over() || facts.own_answer().is_some() {
        return false;
    }
    let entry_point = facts.leg_ids()[1];
    let Some(rang) = facts.ringing_at().or(facts.first_seen) else { return false };
    legs.iter().filter(|(other, _)| *other != call).any(|(other, theirs)| match theirs.leg() {
        // A person who answered before this leg rang has sent the call on, and was not faster.
        Some(Leg::User | Leg::Direct) | None => theirs.own_answer().is_some_and(|answered| rang <= answered),
        // The leg that took it may never be received: its group names it.
        Some(Leg::Group) => {
            let operator = theirs.leg_ids()[2].filter(|operator| *operator != call.0);
            let is_missing = operator.is_some_and(|operator| legs.iter().all(|(leg, _)| leg.0 != operator));
            entry_point == Some(other.0) && is_missing
        }
    })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::model::call::{EndKind, Knowledge, Origin, Signal};

    const QUEUE: i64 = 1;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn leg(knowledge: Knowledge, signals: &[(i64, Signal)]) -> CallFacts {
        let mut facts = CallFacts::default();
        for (second, signal) in signals {
            facts.absorb(&CallEvent {
                dialpad_call_id: DialpadCallId(0),
                at: at(*second),
                signal: signal.clone(),
                knowledge: knowledge.clone(),
                origin: Origin::Webhook,
            });
        }
        facts
    }

    fn agent(signals: &[(i64, Signal)]) -> CallFacts {
        let leg_of_queue = Some(QUEUE);
        leg(
            Knowledge { leg: Some(Leg::User), entry_point_call_id: leg_of_queue, ..Knowledge::default() },
            signals,
        )
    }

    fn queue(operator: Option<i64>, master: Option<i64>) -> CallFacts {
        let known = Knowledge {
            leg: Some(Leg::Group),
            operator_call_id: operator,
            master_call_id: master,
            ..Knowledge::default()
        };
        leg(known, &[(0, Signal::Ringing)])
    }

    const MISSED: Signal = Signal::Ended(EndKind::Missed);

    fn prove(legs: &[(i64, &CallFacts)]) -> Vec<Proof> {
        let legs: Vec<_> = legs.iter().map(|(id, facts)| (DialpadCallId(*id), *facts)).collect();
        proofs(&legs)
    }

    #[test]
    fn a_taken_call_is_answered_for_the_queue_and_for_the_main_line() {
        let (main_line, queue) = (queue(None, None), queue(None, Some(9)));
        let operator_leg = agent(&[(10, Signal::Ringing), (20, Signal::Connected)]);
        let proofs = prove(&[(9, &main_line), (QUEUE, &queue), (5, &operator_leg)]);
        assert_eq!(proofs[0].taken_at, Some(at(20)));
        assert_eq!(proofs[1].taken_at, Some(at(20)));
        assert_eq!(proofs[2], Proof::default());
    }

    #[test]
    fn a_leg_that_rang_unanswered_was_answered_elsewhere() {
        let missed_leg = agent(&[(10, Signal::Ringing), (18, MISSED)]);
        let answered_leg = agent(&[(10, Signal::Ringing), (20, Signal::Connected)]);
        let proofs = prove(&[(QUEUE, &queue(None, None)), (5, &missed_leg), (6, &answered_leg)]);
        assert!(proofs[1].answered_elsewhere && !proofs[2].answered_elsewhere);
    }

    #[test]
    fn a_leg_that_a_transfer_rang_unanswered_was_not_answered_elsewhere() {
        let first = agent(&[(10, Signal::Ringing), (20, Signal::Connected)]);
        let transferred_leg = agent(&[(60, Signal::Ringing), (80, MISSED)]);
        let proofs = prove(&[(QUEUE, &queue(None, None)), (5, &first), (6, &transferred_leg)]);
        assert!(!proofs[2].answered_elsewhere);
    }

    #[test]
    fn a_leg_that_took_the_call_and_is_missing_is_named_by_the_queue() {
        let missed_leg = agent(&[(10, Signal::Ringing), (18, MISSED)]);
        let proofs = prove(&[(QUEUE, &queue(Some(77), None)), (5, &missed_leg)]);
        assert!(proofs[1].answered_elsewhere);
    }

    #[test]
    fn a_leg_that_still_rings_is_not_answered_elsewhere_yet() {
        let ringing = agent(&[(10, Signal::Ringing)]);
        let answered_leg = agent(&[(10, Signal::Ringing), (20, Signal::Connected)]);
        assert!(!prove(&[(5, &ringing), (6, &answered_leg)])[0].answered_elsewhere);
    }
}
