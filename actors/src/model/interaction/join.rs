//! Which legs belong to one interaction: a union-find over the ids that legs name of each other. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::{
    id::{DialpadCallId, InteractionId},
    model::call::StoredCall,
};

/// A leg with what links it to others.
#[derive(Clone, Debug)]
pub(crate) struct LegLinks {
    pub(crate) call: DialpadCallId,
    /// The interaction that it is in so far: its own if it is alone.
    pub(crate) interaction: InteractionId,
    /// The legs that it names: master, entry point, operator.
    pub(crate) names: Vec<i64>,
}

impl LegLinks {
    pub(crate) fn of(call: &StoredCall) -> Self {
        let names = call.facts.leg_ids().into_iter().flatten().collect();
        Self { call: call.dialpad_call_id, interaction: call.interaction_id, names }
    }
}

/// Returns the interaction of each leg: the oldest of those of the legs that it is linked to. Our ids sort by age.
pub(crate) fn join(legs: &[LegLinks]) -> HashMap<DialpadCallId, InteractionId> {
    let mut sets = UnionFind::default();
    for leg in legs {
        for name in &leg.names {
            sets.unite(Element::Leg(leg.call.0), Element::Leg(*name));
        }
        // Two legs that are in one interaction already stay together, whether or not they name each other.
        sets.unite(Element::Leg(leg.call.0), Element::Interaction(leg.interaction));
    }
    let mut oldest: HashMap<usize, InteractionId> = HashMap::new();
    for leg in legs {
        let known = oldest.entry(sets.find(Element::Leg(leg.call.0))).or_insert(leg.interaction);
        *known = leg.interaction.min(*known);
    }
    legs.iter().map(|leg| (leg.call, oldest[&sets.find(Element::Leg(leg.call.0))])).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Element {
    Leg(i64),
    Interaction(InteractionId),
}

#[derive(Default)]
struct UnionFind {
    indices: BTreeMap<Element, usize>,
    parents: Vec<usize>,
}

impl UnionFind {
    fn unite(&mut self, one: Element, other: Element) {
        let one = self.find(one);
        let other = self.find(other);
        self.parents[one] = other;
    }

    /// Returns the representative of the element's set.
    fn find(&mut self, element: Element) -> usize {
        let next = self.parents.len();
        let mut index = *self.indices.entry(element).or_insert(next);
        if index == next {
            self.parents.push(next);
        }
        while self.parents[index] != index {
            self.parents[index] = self.parents[self.parents[index]];
            index = self.parents[index];
        }
        index
    }
}

/// Returns the leg that was sent on to `leg`: the one of the user or group who did it, with the same number on the other
/// side. The webhooks of a transfer do not name it. Of several, it is one of the same direction, one that is not over, the
/// newest.
pub(crate) fn sent_on_from<'c>(
    leg: &StoredCall,
    candidates: impl IntoIterator<Item = &'c StoredCall>,
) -> Option<&'c StoredCall> {
    let sender = leg.facts.transferred_from()?;
    let external_number = leg.facts.external_number()?;
    candidates
        .into_iter()
        .filter(|other| {
            other.dialpad_call_id != leg.dialpad_call_id
                && other.facts.target_id() == Some(sender)
                && other.facts.external_number().as_ref() == Some(&external_number)
        })
        .max_by_key(|other| {
            let is_same_direction = other.facts.direction() == leg.facts.direction();
            (is_same_direction, !other.facts.is_over(), other.id.0)
        })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::model::call::{CallEvent, Direction, EndKind, Knowledge, Origin, Signal};

    fn leg(call: i64, interaction: u128, names: &[i64]) -> LegLinks {
        let interaction = InteractionId(Uuid::from_u128(interaction));
        LegLinks { call: DialpadCallId(call), interaction, names: names.to_vec() }
    }

    fn partition(legs: &[LegLinks]) -> Vec<u128> {
        let joined = join(legs);
        legs.iter().map(|leg| joined[&leg.call].0.as_u128()).collect()
    }

    #[test]
    fn legs_that_name_each_other_share_the_oldest_interaction() {
        let (main_line, queue, agent) = (leg(1, 10, &[]), leg(2, 11, &[1, 3]), leg(3, 12, &[2]));
        assert_eq!(partition(&[main_line, queue, agent]), [10, 10, 10]);
    }

    #[test]
    fn legs_are_joined_by_a_leg_that_was_never_received() {
        assert_eq!(partition(&[leg(3, 7, &[2]), leg(4, 8, &[2])]), [7, 7]);
    }

    #[test]
    fn legs_without_a_link_stay_apart() {
        assert_eq!(partition(&[leg(1, 5, &[]), leg(2, 6, &[])]), [5, 6]);
    }

    #[test]
    fn a_leg_was_sent_on_from_the_senders_leg_with_the_same_number_and_direction() {
        let at = DateTime::UNIX_EPOCH;
        let leg_of = |call, direction, target, sender, has_ended: bool| {
            let knowledge = Knowledge {
                direction: Some(direction),
                from_number: Some("+1".into()),
                to_number: Some("+1".into()),
                target_id: Some(target),
                transferred_from: sender,
                ..Knowledge::default()
            };
            let mut stored = StoredCall::unseen(DialpadCallId(call), at);
            let signals = [Signal::Ringing, Signal::Ended(EndKind::Hangup)];
            for signal in signals.into_iter().take(if has_ended { 2 } else { 1 }) {
                stored.facts.absorb(&CallEvent {
                    dialpad_call_id: DialpadCallId(call),
                    at,
                    signal,
                    knowledge: knowledge.clone(),
                    origin: Origin::Webhook,
                });
            }
            stored
        };
        let (inbound, outbound) = (Direction::Inbound, Direction::Outbound);
        let colleague = leg_of(9, inbound, 71, Some(70), false);
        let held = leg_of(1, inbound, 70, None, false);
        let earlier = leg_of(2, inbound, 70, None, true);
        let outgoing = leg_of(3, outbound, 70, None, false);
        let of_another_user = leg_of(4, inbound, 72, None, false);
        let found = sent_on_from(&colleague, [&of_another_user, &held, &earlier, &outgoing, &colleague]);
        assert_eq!(found.map(|leg| leg.dialpad_call_id), Some(DialpadCallId(1)));
        assert!(sent_on_from(&held, [&colleague]).is_none(), "it was not sent on");
    }

    #[test]
    fn legs_that_were_joined_move_together() {
        let (older, mine, sibling) = (leg(9, 1, &[]), leg(1, 5, &[9]), leg(2, 5, &[]));
        assert_eq!(partition(&[mine, sibling, older]), [1, 1, 1]);
    }
}
