//! Which legs belong to one interaction: the connected components over the ids that legs name of each other, and the
//! links between legs that were found. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::{
    id::{DialpadCallId, InteractionId},
    model::call::StoredCall,
};

/// A leg with what links it to others.
#[derive(Clone, Debug)]
pub(crate) struct LegLinks {
    pub(crate) call: DialpadCallId,
    /// The interaction that it would be by itself.
    pub(crate) own: InteractionId,
    /// The legs that it names, and those that it is linked to.
    pub(crate) names: Vec<i64>,
}

impl LegLinks {
    pub(crate) fn of(call: &StoredCall) -> Self {
        let linked = call.facts.links().iter().map(|call| call.0);
        let names = call.facts.names().chain(linked).collect();
        Self { call: call.dialpad_call_id, own: call.id.into(), names }
    }
}

/// Returns the interaction of each leg: that of the oldest leg that it is linked to. Our ids sort by age.
pub(crate) fn join(legs: &[LegLinks]) -> HashMap<DialpadCallId, InteractionId> {
    let mut sets = UnionFind::default();
    for leg in legs {
        for name in &leg.names {
            sets.unite(leg.call.0, *name);
        }
    }
    let mut oldest: HashMap<usize, InteractionId> = HashMap::new();
    for leg in legs {
        let known = oldest.entry(sets.find(leg.call.0)).or_insert(leg.own);
        *known = leg.own.min(*known);
    }
    legs.iter().map(|leg| (leg.call, oldest[&sets.find(leg.call.0)])).collect()
}

/// Sets of legs, by Dialpad's ids.
#[derive(Default)]
struct UnionFind {
    indices: BTreeMap<i64, usize>,
    parents: Vec<usize>,
}

impl UnionFind {
    fn unite(&mut self, one: i64, other: i64) {
        let one = self.find(one);
        let other = self.find(other);
        self.parents[one] = other;
    }

    /// Returns the representative of the leg's set.
    fn find(&mut self, leg: i64) -> usize {
        let next = self.parents.len();
        let mut index = *self.indices.entry(leg).or_insert(next);
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn leg(call: i64, own: u128, names: &[i64]) -> LegLinks {
        LegLinks {
            call: DialpadCallId(call),
            own: InteractionId(Uuid::from_u128(own)),
            names: names.to_vec(),
        }
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
    fn legs_without_a_link_are_apart() {
        assert_eq!(partition(&[leg(1, 5, &[]), leg(2, 6, &[])]), [5, 6]);
    }
}
