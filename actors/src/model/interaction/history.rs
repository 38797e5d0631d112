//! What each webhook did to the legs of an interaction, computed anew from the webhooks. Pure: nothing of it is stored.

use std::collections::BTreeMap;

use super::proof::{new_proofs, with_proof};
use crate::{
    id::DialpadCallId,
    model::call::{self, CallChange, CallEvent, CallFacts, Snapshot},
};

/// What one webhook did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryStep {
    /// Its leg as it was shown before; `None` while there was none.
    pub before: Option<Snapshot>,
    /// Its leg as it was shown afterwards.
    pub after: Option<Snapshot>,
    /// Whether it said anything that was not known.
    pub is_news: bool,
    /// What was emitted because of it, also about other legs, in this order.
    pub changes: Vec<(DialpadCallId, CallChange)>,
}

/// Applies webhooks about the legs of one interaction, in the order in which they were applied. Returns a step for each.
#[must_use]
pub fn history(webhooks: &[CallEvent]) -> Vec<HistoryStep> {
    let mut legs: BTreeMap<DialpadCallId, CallFacts> = BTreeMap::new();
    webhooks.iter().map(|webhook| step(webhook, &mut legs)).collect()
}

fn step(webhook: &CallEvent, legs: &mut BTreeMap<DialpadCallId, CallFacts>) -> HistoryStep {
    let leg = webhook.dialpad_call_id;
    let known = legs.get(&leg).cloned().unwrap_or_default();
    let decided = call::apply(&known, &with_proof(webhook, &all(legs)));
    let (before, after, is_news) = (shown(&known), shown(&decided.facts), decided.facts != known);
    let mut changes: Vec<_> = decided.changes.into_iter().map(|change| (leg, change)).collect();
    legs.insert(leg, decided.facts);
    // Every leg decides on what the others prove since this webhook.
    for (leg, command) in new_proofs(webhook, &all(legs)) {
        let Some(facts) = legs.get_mut(&leg) else { continue };
        let decided = call::apply(facts, &command);
        *facts = decided.facts;
        changes.extend(decided.changes.into_iter().map(|change| (leg, change)));
    }
    HistoryStep { before, after, is_news, changes }
}

fn all(legs: &BTreeMap<DialpadCallId, CallFacts>) -> Vec<(DialpadCallId, &CallFacts)> {
    legs.iter().map(|(leg, facts)| (*leg, facts)).collect()
}

fn shown(facts: &CallFacts) -> Option<Snapshot> {
    facts.was_witnessed().then(|| facts.snapshot())
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::model::call::{EndKind, Knowledge, Leg, Origin, Signal};

    const QUEUE: i64 = 1;

    fn webhook(call: i64, second: i64, signal: Signal) -> CallEvent {
        let is_queue = call == QUEUE;
        CallEvent {
            dialpad_call_id: DialpadCallId(call),
            at: DateTime::UNIX_EPOCH + TimeDelta::seconds(second),
            signal,
            knowledge: Knowledge {
                leg: Some(if is_queue { Leg::Group } else { Leg::User }),
                entry_point_call_id: (!is_queue).then_some(QUEUE),
                ..Knowledge::default()
            },
            origin: Origin::Webhook,
        }
    }

    #[test]
    fn a_repetition_is_no_news_and_a_late_webhook_adds_what_was_missing() {
        let (ring, connected) = (webhook(5, 0, Signal::Ringing), webhook(5, 10, Signal::Connected));
        let steps = history(&[connected.clone(), connected, ring]);
        assert_eq!(steps[0].changes, [(DialpadCallId(5), CallChange::Started)]);
        assert_eq!((steps[0].before.is_none(), steps[0].is_news), (true, true));
        assert!(!steps[1].is_news && steps[1].changes.is_empty());
        let [(_, CallChange::Updated(changed))] = &steps[2].changes[..] else { panic!("{:?}", steps[2]) };
        assert!(changed.contains(&"ringing_at"), "{changed:?}");
    }

    #[test]
    fn the_webhook_of_a_leg_causes_what_follows_for_the_others() {
        let steps = history(&[
            webhook(QUEUE, 0, Signal::Ringing),
            webhook(5, 1, Signal::Ringing),
            webhook(6, 1, Signal::Ringing),
            webhook(5, 9, Signal::Connected),
            webhook(6, 9, Signal::Ended(EndKind::Missed)),
        ]);
        let of_answer: Vec<i64> = steps[3].changes.iter().map(|(leg, _)| leg.0).collect();
        assert_eq!(of_answer, [5, QUEUE], "the agent answered, and with that the queue");
        let slower = steps[4].after.as_ref().expect("the other agent's leg");
        assert!(slower.answered_elsewhere);
    }
}
