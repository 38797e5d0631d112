//! What an app's supervisor remembers of legs to which others may belong that do not name them: so that most new calls
//! cost no search of the store. Pure.
//!
//! It is read from the store once. From then on it is complete, because every leg of the app passes through its
//! supervisor. It may name legs that did not become durable: the store is asked about what it names.

use std::collections::{HashMap, HashSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    id::DialpadCallId,
    model::{
        call::{CallFacts, StoredCall},
        interaction::{RINGING_APART_AT_MOST, ringing_key, waits_for},
    },
    ports::{RecentCalls, Window},
};

/// How long after the first webhook of a leg those of legs come that ring with it.
const RING_TIMEOUT: TimeDelta = TimeDelta::minutes(10);
/// How far back it is known for whose legs others wait.
const WAIT_TIMEOUT: TimeDelta = TimeDelta::days(2);
/// How many legs are remembered per app that rang.
const MAX_RINGS: usize = 8192;

/// The legs that rang lately, and the users and groups for whose legs others wait.
#[derive(Debug, Default)]
pub(super) struct RecentLegs {
    /// `None`: it has not been read.
    read: Option<Read>,
}

#[derive(Debug)]
struct Read {
    /// By the caller's number, then by the user who was rung; each in the order in which they became known.
    rings: HashMap<String, HashMap<i64, VecDeque<Ring>>>,
    /// All of them.
    calls: HashSet<DialpadCallId>,
    /// The keys of all of them, the oldest first.
    order: VecDeque<(DateTime<Utc>, String, i64)>,
    /// The newest instant at which a leg of the user or group is waited for.
    waited_for: HashMap<i64, DateTime<Utc>>,
    /// Waits before this instant are not known.
    waits_since: DateTime<Utc>,
}

#[derive(Debug)]
struct Ring {
    call: DialpadCallId,
    began: DateTime<Utc>,
}

impl RecentLegs {
    /// Returns since when legs must be read that rang, and since when waits; `None` when it has been read.
    pub(super) fn unread_since(&self, now: DateTime<Utc>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        self.read.is_none().then(|| (now - RING_TIMEOUT, now - WAIT_TIMEOUT))
    }

    /// Begins with what the store has.
    pub(super) fn start(&mut self, stored: RecentCalls, now: DateTime<Utc>) {
        let (rings, calls, order) = (HashMap::new(), HashSet::new(), VecDeque::new());
        let waited_for = stored.waited_for.into_iter().collect();
        self.read = Some(Read { rings, calls, order, waited_for, waits_since: now - WAIT_TIMEOUT });
        for call in &stored.first_seen {
            self.add_ring(call.dialpad_call_id, &call.facts, now);
        }
    }

    /// Forgets everything: another process has written.
    pub(super) fn forget(&mut self) {
        self.read = None;
    }

    /// Whether this leg is one that rang.
    pub(super) fn has_rung(&self, call: DialpadCallId) -> bool {
        self.read.as_ref().is_some_and(|read| read.calls.contains(&call))
    }

    /// Returns the legs that may have rung with this one.
    pub(super) fn near(&self, leg: &StoredCall) -> Vec<DialpadCallId> {
        let Some((number, target, began)) = ringing_key(&leg.facts) else { return Vec::new() };
        let Some(of_number) = self.read.as_ref().and_then(|read| read.rings.get(&number)) else {
            return Vec::new();
        };
        let others = of_number.iter().filter(|(other, _)| **other != target).flat_map(|(_, rings)| rings);
        let near = others.filter(|ring| (ring.began - began).abs() <= RINGING_APART_AT_MOST);
        near.map(|ring| ring.call).collect()
    }

    /// Remembers that a leg rings.
    pub(super) fn add_ring(&mut self, call: DialpadCallId, facts: &CallFacts, now: DateTime<Utc>) {
        let Some(read) = &mut self.read else { return };
        let Some((number, target, began)) = ringing_key(facts) else { return };
        while read.order.len() >= MAX_RINGS
            || read.order.front().is_some_and(|(at, ..)| now - *at > RING_TIMEOUT)
        {
            read.drop_oldest();
        }
        let rings = read.rings.entry(number.clone()).or_default().entry(target).or_default();
        if let Some(ring) = rings.iter_mut().rev().find(|ring| ring.call == call) {
            ring.began = began;
            return;
        }
        rings.push_back(Ring { call, began });
        read.calls.insert(call);
        read.order.push_back((now, number, target));
    }

    /// Whether a leg of the store may wait for one in this window.
    pub(super) fn may_wait_in(&self, window: &Window) -> bool {
        let Some(read) = &self.read else { return true };
        let latest = read.waited_for.get(&window.target);
        window.from < read.waits_since || latest.is_some_and(|latest| window.from <= *latest)
    }

    /// Remembers for whose leg this one waits, if it does.
    pub(super) fn add_wait(&mut self, facts: &CallFacts) {
        if let (Some(read), Some((target, at))) = (&mut self.read, waits_for(facts)) {
            let latest = read.waited_for.entry(target).or_insert(at);
            *latest = at.max(*latest);
        }
    }
}

impl Read {
    fn drop_oldest(&mut self) {
        let Some((_, number, target)) = self.order.pop_front() else { return };
        let Some(of_number) = self.rings.get_mut(&number) else { return };
        if let Some(rings) = of_number.get_mut(&target) {
            if let Some(ring) = rings.pop_front() {
                self.calls.remove(&ring.call);
            }
            if rings.is_empty() {
                of_number.remove(&target);
            }
        }
        if of_number.is_empty() {
            self.rings.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::call::{CallEvent, Direction, Knowledge, Leg, Origin, Signal};

    fn now() -> DateTime<Utc> {
        "2026-03-04T10:00:00Z".parse().expect("an instant")
    }

    fn leg(call: i64, at: DateTime<Utc>, knowledge: Knowledge) -> StoredCall {
        let dialpad_call_id = DialpadCallId(call);
        let mut leg = StoredCall::unseen(dialpad_call_id, now());
        let (signal, origin) = (Signal::Ringing, Origin::Webhook);
        leg.facts.absorb(&CallEvent { dialpad_call_id, at, signal, knowledge, origin });
        leg
    }

    /// A leg that rings a user for the same caller.
    fn ringing(call: i64, user: i64, began_after: TimeDelta) -> StoredCall {
        let at = now() + began_after;
        let knowledge = Knowledge {
            direction: Some(Direction::Inbound),
            leg: Some(Leg::User),
            target_id: Some(user),
            from_number: Some("+14155550123".to_owned()),
            rang_at: Some(at),
            ..Knowledge::default()
        };
        leg(call, at, knowledge)
    }

    /// A leg that was sent on to this user, by whom it is not known.
    fn sent_on(call: i64, from: i64) -> StoredCall {
        let knowledge = Knowledge { transferred_from: Some(from), ..Knowledge::default() };
        leg(call, now(), knowledge)
    }

    fn started(stored: RecentCalls) -> RecentLegs {
        let mut legs = RecentLegs::default();
        legs.start(stored, now());
        legs
    }

    fn near(legs: &RecentLegs, leg: &StoredCall) -> Vec<i64> {
        let mut near: Vec<i64> = legs.near(leg).into_iter().map(|call| call.0).collect();
        near.sort_unstable();
        near
    }

    #[test]
    fn legs_are_near_that_rang_other_users_within_seconds() {
        let stored =
            RecentCalls { first_seen: vec![ringing(1, 7, TimeDelta::zero())], ..RecentCalls::default() };
        let mut legs = started(stored);
        let later = ringing(2, 8, RINGING_APART_AT_MOST);
        legs.add_ring(later.dialpad_call_id, &later.facts, now());
        assert_eq!(near(&legs, &ringing(3, 9, TimeDelta::seconds(1))), [1, 2]);
        assert_eq!(near(&legs, &ringing(3, 8, TimeDelta::seconds(1))), [1], "one user is not rung twice");
        assert_eq!(near(&legs, &ringing(3, 9, RINGING_APART_AT_MOST * 2)), [2], "too long after the first");
    }

    #[test]
    fn the_beginning_of_a_leg_follows_what_becomes_known() {
        let mut legs = started(RecentCalls::default());
        for began_after in [TimeDelta::zero(), -RINGING_APART_AT_MOST] {
            let leg = ringing(1, 7, began_after);
            legs.add_ring(leg.dialpad_call_id, &leg.facts, now());
        }
        assert!(near(&legs, &ringing(2, 8, TimeDelta::seconds(1))).is_empty());
        assert_eq!(near(&legs, &ringing(2, 8, -RINGING_APART_AT_MOST)), [1]);
    }

    #[test]
    fn a_leg_is_forgotten_when_it_is_old_or_very_many_came_after_it() {
        let mut legs = started(RecentCalls::default());
        let first = ringing(0, 7, TimeDelta::zero());
        legs.add_ring(first.dialpad_call_id, &first.facts, now());
        let other = ringing(1, 8, TimeDelta::zero());
        legs.add_ring(other.dialpad_call_id, &other.facts, now() + RING_TIMEOUT);
        let probe = ringing(-1, 9, TimeDelta::zero());
        assert_eq!(near(&legs, &probe), [0, 1]);
        for call in 2..=MAX_RINGS {
            let leg = ringing(i64::try_from(call).expect("small"), 8, TimeDelta::zero());
            legs.add_ring(leg.dialpad_call_id, &leg.facts, now() + RING_TIMEOUT);
        }
        assert_eq!(legs.near(&probe).len(), MAX_RINGS);
        assert!(!near(&legs, &probe).contains(&0));
        let late = now() + RING_TIMEOUT * 3;
        legs.add_ring(first.dialpad_call_id, &first.facts, late);
        assert_eq!(near(&legs, &probe), [0]);
    }

    #[test]
    fn the_store_is_asked_for_legs_that_wait_only_where_some_may() {
        let window = |target, from| Window { target, from, until: from + TimeDelta::hours(1) };
        let unread = RecentLegs::default();
        assert!(unread.may_wait_in(&window(7, now())), "nothing is known");
        let mut legs = started(RecentCalls { waited_for: vec![(7, now())], ..RecentCalls::default() });
        assert!(legs.may_wait_in(&window(7, now())));
        assert!(!legs.may_wait_in(&window(7, now() + TimeDelta::seconds(1))), "all waited for earlier");
        assert!(!legs.may_wait_in(&window(8, now())));
        assert!(legs.may_wait_in(&window(8, now() - WAIT_TIMEOUT * 2)), "waits of that time are not known");
        legs.add_wait(&sent_on(1, 8).facts);
        assert!(legs.may_wait_in(&window(8, now())));
        legs.forget();
        assert!(legs.may_wait_in(&window(9, now())), "another process may have written");
        assert!(legs.unread_since(now()).is_some());
    }
}
