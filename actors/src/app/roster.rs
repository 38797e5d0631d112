//! The call actors that an app has awake, and how many crashes it is allowed. Pure; generic over the address.

use std::collections::{BTreeSet, HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use crate::id::{DialpadCallId, InteractionId};

/// How long an actor is kept after the last webhook of its call. It costs a read of the store to bring it back.
const IDLE: TimeDelta = TimeDelta::minutes(10);
/// How long it is kept after the call ended: most late webhooks have come by then.
const IDLE_ENDED: TimeDelta = TimeDelta::seconds(30);
/// So many crashes …
const BUDGET: usize = 20;
/// … within this time are taken as bad luck; more stop the app's work for as long.
const BUDGET_WINDOW: TimeDelta = TimeDelta::seconds(60);

/// The awake actors of one app.
#[derive(Debug)]
pub(crate) struct Roster<A> {
    calls: HashMap<DialpadCallId, Entry<A>>,
    crashes: VecDeque<DateTime<Utc>>,
}

#[derive(Debug)]
struct Entry<A> {
    address: A,
    interaction_ref: InteractionRef,
    used_at: DateTime<Utc>,
    ended: bool,
}

/// Where a call belongs, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InteractionRef {
    pub(crate) interaction: InteractionId,
    /// The legs that it has named so far.
    pub(crate) names: BTreeSet<i64>,
    /// Whether no other leg belongs to its interaction.
    pub(crate) alone: bool,
}

/// Whether a crashed actor may be rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// At once.
    Allowed,
    /// Only after this time: something is wrong with more than one call.
    After(TimeDelta),
}

impl<A> Default for Roster<A> {
    fn default() -> Self {
        Self { calls: HashMap::new(), crashes: VecDeque::new() }
    }
}

impl<A> Roster<A> {
    pub(crate) fn get(&self, call: DialpadCallId) -> Option<&A> {
        self.calls.get(&call).map(|entry| &entry.address)
    }

    pub(crate) fn insert(
        &mut self,
        call: DialpadCallId,
        address: A,
        interaction_ref: InteractionRef,
        now: DateTime<Utc>,
    ) {
        self.calls.insert(call, Entry { address, interaction_ref, used_at: now, ended: false });
    }

    /// Where an awake call belongs.
    pub(crate) fn interaction_ref(&self, call: DialpadCallId) -> Option<&InteractionRef> {
        self.calls.get(&call).map(|entry| &entry.interaction_ref)
    }

    /// Notes what was found out about where an awake call belongs. What it was known to name is not forgotten.
    pub(crate) fn bind(&mut self, call: DialpadCallId, mut interaction_ref: InteractionRef) {
        if let Some(entry) = self.calls.get_mut(&call) {
            interaction_ref.names.append(&mut entry.interaction_ref.names);
            interaction_ref.alone &= entry.interaction_ref.alone;
            entry.interaction_ref = interaction_ref;
        }
    }

    /// Notes that a call belongs to this interaction, together with others.
    pub(crate) fn move_to(&mut self, call: DialpadCallId, interaction: InteractionId) {
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.interaction_ref.interaction = interaction;
            entry.interaction_ref.alone = false;
        }
    }

    pub(crate) fn remove(&mut self, call: DialpadCallId) {
        self.calls.remove(&call);
    }

    /// Notes that the call was heard of.
    pub(crate) fn touch(&mut self, call: DialpadCallId, now: DateTime<Utc>, ended: bool) {
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.used_at = now;
            entry.ended |= ended;
        }
    }

    /// Lets go of the actors that have had nothing to do for long.
    pub(crate) fn evict_idle(&mut self, now: DateTime<Utc>) {
        self.calls.retain(|_, entry| now - entry.used_at < if entry.ended { IDLE_ENDED } else { IDLE });
    }

    /// Notes a crash and says whether to go on.
    pub(crate) fn crashed(&mut self, call: DialpadCallId, now: DateTime<Utc>) -> Restart {
        self.calls.remove(&call);
        self.crashes.push_back(now);
        while self.crashes.front().is_some_and(|at| now - *at >= BUDGET_WINDOW) {
            self.crashes.pop_front();
        }
        if self.crashes.len() <= BUDGET {
            return Restart::Allowed;
        }
        self.crashes.clear();
        Restart::After(BUDGET_WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("a valid instant")
    }

    fn interaction_ref() -> InteractionRef {
        InteractionRef { interaction: InteractionId::generate(), names: BTreeSet::new(), alone: true }
    }

    #[test]
    fn keeps_a_live_call_longer_than_an_ended_one() {
        let mut roster = Roster::default();
        let (live, ended) = (DialpadCallId(1), DialpadCallId(2));
        roster.insert(live, "a", interaction_ref(), at(0));
        roster.insert(ended, "b", interaction_ref(), at(0));
        roster.touch(ended, at(1), true);
        roster.evict_idle(at(100));
        assert_eq!((roster.get(live), roster.get(ended)), (Some(&"a"), None));
        roster.evict_idle(at(700));
        assert_eq!(roster.get(live), None);
    }

    #[test]
    fn a_run_of_crashes_exhausts_the_budget_and_single_ones_do_not() {
        let mut roster = Roster::<()>::default();
        for minute in 0..100 {
            assert_eq!(roster.crashed(DialpadCallId(1), at(minute * 60)), Restart::Allowed);
        }
        let mut roster = Roster::<()>::default();
        let verdicts: Vec<_> = (0..=BUDGET as i64).map(|n| roster.crashed(DialpadCallId(n), at(0))).collect();
        assert_eq!(verdicts.last(), Some(&Restart::After(BUDGET_WINDOW)));
        assert!(verdicts[..BUDGET].iter().all(|verdict| *verdict == Restart::Allowed));
    }
}
