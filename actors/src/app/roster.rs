//! The live call actors of an app, and how many crashes it may have. Pure; generic over the address.

use std::collections::{BTreeSet, HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use crate::id::{DialpadCallId, InteractionId};

/// How long an actor is kept after the last webhook of its call. Starting it again costs a read of the store.
const IDLE_TIMEOUT: TimeDelta = TimeDelta::minutes(10);
/// How long an actor is kept after its call ended: most late webhooks have arrived by then.
const ENDED_IDLE_TIMEOUT: TimeDelta = TimeDelta::seconds(30);
/// How many crashes within [`CRASH_WINDOW`] are tolerated.
const MAX_CRASHES: usize = 20;
/// The window in which crashes are counted, and how long the app's work pauses after too many.
const CRASH_WINDOW: TimeDelta = TimeDelta::seconds(60);

/// The live actors of one app, and its recent crashes.
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

/// The interaction that a call belongs to, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InteractionRef {
    pub(crate) interaction: InteractionId,
    /// The legs that the call has named so far.
    pub(crate) names: BTreeSet<i64>,
    /// Whether no other leg belongs to its interaction.
    pub(crate) alone: bool,
}

/// Whether a crashed actor may be rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// It may be rebuilt at once.
    Allowed,
    /// It may be rebuilt only after this time: something is wrong with more than one call.
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

    /// Returns the interaction that a live call belongs to.
    pub(crate) fn interaction_ref(&self, call: DialpadCallId) -> Option<&InteractionRef> {
        self.calls.get(&call).map(|entry| &entry.interaction_ref)
    }

    /// Updates the interaction of a live call. The legs that it was known to name are kept.
    pub(crate) fn bind(&mut self, call: DialpadCallId, mut interaction_ref: InteractionRef) {
        if let Some(entry) = self.calls.get_mut(&call) {
            interaction_ref.names.append(&mut entry.interaction_ref.names);
            interaction_ref.alone &= entry.interaction_ref.alone;
            entry.interaction_ref = interaction_ref;
        }
    }

    pub(crate) fn remove(&mut self, call: DialpadCallId) {
        self.calls.remove(&call);
    }

    /// Records that a webhook of the call was applied, and whether the call has ended.
    pub(crate) fn touch(&mut self, call: DialpadCallId, now: DateTime<Utc>, ended: bool) {
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.used_at = now;
            entry.ended |= ended;
        }
    }

    /// Drops the actors that have been idle for too long.
    pub(crate) fn evict_idle(&mut self, now: DateTime<Utc>) {
        self.calls.retain(|_, entry| {
            let timeout = if entry.ended { ENDED_IDLE_TIMEOUT } else { IDLE_TIMEOUT };
            now - entry.used_at < timeout
        });
    }

    /// Removes a crashed actor and returns when it may be rebuilt.
    pub(crate) fn record_crash(&mut self, call: DialpadCallId, now: DateTime<Utc>) -> Restart {
        self.calls.remove(&call);
        self.crashes.push_back(now);
        while self.crashes.front().is_some_and(|at| now - *at >= CRASH_WINDOW) {
            self.crashes.pop_front();
        }
        if self.crashes.len() <= MAX_CRASHES {
            return Restart::Allowed;
        }
        self.crashes.clear();
        Restart::After(CRASH_WINDOW)
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
    fn a_run_of_crashes_pauses_the_app_and_single_ones_do_not() {
        let mut roster = Roster::<()>::default();
        for minute in 0..100 {
            assert_eq!(roster.record_crash(DialpadCallId(1), at(minute * 60)), Restart::Allowed);
        }
        let mut roster = Roster::<()>::default();
        let restarts: Vec<_> =
            (0..=MAX_CRASHES as i64).map(|n| roster.record_crash(DialpadCallId(n), at(0))).collect();
        assert_eq!(restarts.last(), Some(&Restart::After(CRASH_WINDOW)));
        assert!(restarts[..MAX_CRASHES].iter().all(|restart| *restart == Restart::Allowed));
    }
}
