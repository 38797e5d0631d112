//! Which legs belong to one interaction: a union-find over the ids that legs name of each other. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::{
    id::{DialpadCallId, InteractionId},
    model::call::StoredCall,
};

/// A leg as the join sees it.
#[derive(Clone, Debug)]
pub(crate) struct LegLinks {
    pub(crate) call: DialpadCallId,
    /// The interaction that it is in so far: its own where it stands alone.
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

/// The interaction of each leg: the oldest of those that any leg of its family is in. Ids of ours sort by their age.
pub(crate) fn join(legs: &[LegLinks]) -> HashMap<DialpadCallId, InteractionId> {
    let mut families = UnionFind::default();
    for leg in legs {
        for name in &leg.names {
            families.unite(Name::Leg(leg.call.0), Name::Leg(*name));
        }
        // Two legs that are in one interaction already stay together, whether or not they name each other.
        families.unite(Name::Leg(leg.call.0), Name::Interaction(leg.interaction));
    }
    let mut oldest: HashMap<usize, InteractionId> = HashMap::new();
    for leg in legs {
        let known = oldest.entry(families.of(Name::Leg(leg.call.0))).or_insert(leg.interaction);
        *known = leg.interaction.min(*known);
    }
    legs.iter().map(|leg| (leg.call, oldest[&families.of(Name::Leg(leg.call.0))])).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Leg(i64),
    Interaction(InteractionId),
}

#[derive(Default)]
struct UnionFind {
    places: BTreeMap<Name, usize>,
    parents: Vec<usize>,
}

impl UnionFind {
    fn unite(&mut self, one: Name, other: Name) {
        let (one, other) = (self.of(one), self.of(other));
        self.parents[one] = other;
    }

    fn of(&mut self, name: Name) -> usize {
        let next = self.parents.len();
        let mut place = *self.places.entry(name).or_insert(next);
        if place == next {
            self.parents.push(next);
        }
        while self.parents[place] != place {
            self.parents[place] = self.parents[self.parents[place]];
            place = self.parents[place];
        }
        place
    }
}

/// The leg that was sent on to `leg`: that of the user or group who did it, with the same outside number. A transfer is
/// told without naming the leg that it came from. Where there are several, it is one of the same direction, one that is
/// not over yet, the newest.
pub(crate) fn sent_on_from<'c>(
    leg: &StoredCall,
    candidates: impl IntoIterator<Item = &'c StoredCall>,
) -> Option<&'c StoredCall> {
    let (sender, outside) = (leg.facts.transferred_from()?, leg.facts.external_number()?);
    candidates
        .into_iter()
        .filter(|other| {
            other.dialpad_call_id != leg.dialpad_call_id
                && other.facts.target_id() == Some(sender)
                && other.facts.external_number().as_ref() == Some(&outside)
        })
        .max_by_key(|other| {
            let same_way = other.facts.direction() == leg.facts.direction();
            (same_way, !other.facts.is_over(), other.id.0)
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
    fn siblings_are_joined_by_a_leg_that_was_never_heard_of() {
        assert_eq!(partition(&[leg(3, 7, &[2]), leg(4, 8, &[2])]), [7, 7]);
    }

    #[test]
    fn strangers_stay_strangers() {
        assert_eq!(partition(&[leg(1, 5, &[]), leg(2, 6, &[])]), [5, 6]);
    }

    #[test]
    fn a_leg_was_sent_on_from_the_sender_who_talked_to_the_same_number_the_same_way() {
        let at = DateTime::UNIX_EPOCH;
        let leg_of = |call, direction, target, sender, ends: bool| {
            let known = Knowledge {
                direction: Some(direction),
                from_number: Some("+1".into()),
                to_number: Some("+1".into()),
                target_id: Some(target),
                transferred_from: sender,
                ..Knowledge::default()
            };
            let mut stored = StoredCall::unseen(DialpadCallId(call), at);
            let signals = [Signal::Ringing, Signal::Ended(EndKind::Hangup)];
            for signal in signals.into_iter().take(if ends { 2 } else { 1 }) {
                let (dialpad_call_id, knowledge) = (DialpadCallId(call), known.clone());
                let origin = Origin::Webhook;
                stored.facts.absorb(&CallEvent { dialpad_call_id, at, signal, knowledge, origin });
            }
            stored
        };
        let (inbound, outbound) = (Direction::Inbound, Direction::Outbound);
        let colleague = leg_of(9, inbound, 71, Some(70), false);
        let held = leg_of(1, inbound, 70, None, false);
        let earlier = leg_of(2, inbound, 70, None, true);
        let other_call = leg_of(3, outbound, 70, None, false);
        let stranger = leg_of(4, inbound, 72, None, false);
        let found = sent_on_from(&colleague, [&stranger, &held, &earlier, &other_call, &colleague]);
        assert_eq!(found.map(|leg| leg.dialpad_call_id), Some(DialpadCallId(1)));
        assert!(sent_on_from(&held, [&colleague]).is_none(), "nobody sent it on");
    }

    #[test]
    fn what_was_joined_once_moves_together() {
        let (older, mine, sibling) = (leg(9, 1, &[]), leg(1, 5, &[9]), leg(2, 5, &[]));
        assert_eq!(partition(&[mine, sibling, older]), [1, 1, 1]);
    }
}
