//! The live call actors of an app, and how many crashes it may have. Pure; generic over the address.

use std::collections::{BTreeSet, HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use crate::id::{DialpadCallId, InteractionId};

/// How long an actor is kept after the last webhook of its call. Starting it again costs a read of the store.
const IDLE_TIMEOUT: TimeDelta = TimeDelta::minutes(10);
/// How long an actor is kept after its call ended: the webhooks that Dialpad sends together with the end have arrived by
/// then. A later one costs a read of the store.
const ENDED_IDLE_TIMEOUT: TimeDelta = TimeDelta::seconds(2);
/// How often idle actors are looked for. Each time all of them are looked at.
const EVICTION_INTERVAL: TimeDelta = TimeDelta::seconds(1);
/// How often actors are dropped because there are too many. Those that were dropped before have stopped by then.
const TRIM_INTERVAL: TimeDelta = TimeDelta::milliseconds(200);
/// How far below its share an app goes when there are too many actors, in parts of it: not every batch evicts then.
const EVICTION_MARGIN: usize = 10;
/// How many crashes within [`CRASH_WINDOW`] are tolerated.
const MAX_CRASHES: usize = 20;
/// The window in which crashes are counted, and how long the app's work pauses after too many.
const CRASH_WINDOW: TimeDelta = TimeDelta::seconds(60);

/// The live actors of one app, and its recent crashes.
#[derive(Debug)]
pub(crate) struct Roster<A> {
    calls: HashMap<DialpadCallId, Entry<A>>,
    crashes: VecDeque<DateTime<Utc>>,
    evicted_at: Option<DateTime<Utc>>,
    trimmed_at: Option<DateTime<Utc>>,
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
        Self { calls: HashMap::new(), crashes: VecDeque::new(), evicted_at: None, trimmed_at: None }
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
        ended: bool,
    ) {
        self.calls.insert(call, Entry { address, interaction_ref, used_at: now, ended });
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

    /// Drops all actors.
    pub(crate) fn clear(&mut self) {
        self.calls.clear();
    }

    /// Records that a webhook of the call was applied, and whether the call has ended, if that may have changed.
    pub(crate) fn touch(&mut self, call: DialpadCallId, now: DateTime<Utc>, ended: Option<bool>) {
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.used_at = now;
            entry.ended = ended.unwrap_or(entry.ended);
        }
    }

    /// Whether idle actors are to be looked for.
    pub(crate) fn is_eviction_due(&self, now: DateTime<Utc>) -> bool {
        self.evicted_at.is_none_or(|at| now - at >= EVICTION_INTERVAL)
    }

    /// Drops the actors that have been idle for too long, at most once a second.
    pub(crate) fn evict_idle(&mut self, now: DateTime<Utc>) {
        if !self.is_eviction_due(now) {
            return;
        }
        self.evicted_at = Some(now);
        self.calls.retain(|_, entry| {
            let timeout = if entry.ended { ENDED_IDLE_TIMEOUT } else { IDLE_TIMEOUT };
            now - entry.used_at < timeout
        });
        // After a burst, the table would keep the size of the burst.
        if self.calls.capacity() > 1024 && self.calls.len() < self.calls.capacity() / 4 {
            self.calls.shrink_to(2 * self.calls.len());
        }
    }

    /// Drops the actors that have been idle for longest, if the process has more than `max` actors of `live` in all. Each
    /// app drops its share.
    pub(crate) fn evict_beyond(&mut self, max: usize, live: usize, now: DateTime<Utc>) {
        if live <= max || self.trimmed_at.is_some_and(|at| now - at < TRIM_INTERVAL) {
            return;
        }
        self.trimmed_at = Some(now);
        let share = (self.calls.len() as u128 * max as u128 / live as u128) as usize;
        let kept = share - share / EVICTION_MARGIN;
        let excess = self.calls.len().saturating_sub(kept);
        let mut used_at: Vec<DateTime<Utc>> = self.calls.values().map(|entry| entry.used_at).collect();
        let Some(last) = excess.checked_sub(1) else { return };
        let (_, threshold, _) = used_at.select_nth_unstable(last);
        let threshold = *threshold;
        let mut left = excess;
        // The calls of one batch have the same time: as many of them go as have to.
        self.calls.retain(|_, entry| {
            let goes = left > 0 && entry.used_at <= threshold;
            left -= usize::from(goes);
            !goes
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
        roster.insert(live, "a", interaction_ref(), at(0), false);
        roster.insert(ended, "b", interaction_ref(), at(0), false);
        roster.touch(ended, at(1), Some(true));
        roster.evict_idle(at(2));
        assert_eq!((roster.get(live), roster.get(ended)), (Some(&"a"), Some(&"b")));
        roster.evict_idle(at(3));
        assert_eq!((roster.get(live), roster.get(ended)), (Some(&"a"), None));
        roster.evict_idle(at(700));
        assert_eq!(roster.get(live), None);
    }

    #[test]
    fn a_late_webhook_of_an_ended_call_does_not_keep_it() {
        let mut roster = Roster::default();
        let ended = DialpadCallId(1);
        roster.insert(ended, (), interaction_ref(), at(0), true);
        roster.touch(ended, at(0), None);
        roster.evict_idle(at(5));
        assert_eq!(roster.get(ended), None);
    }

    #[test]
    fn beyond_the_maximum_the_longest_idle_go_first() {
        let mut roster = Roster::default();
        for call in 0..100 {
            roster.insert(DialpadCallId(call), (), interaction_ref(), at(call), false);
        }
        roster.evict_beyond(100, 100, at(100));
        assert_eq!(roster.calls.len(), 100);
        // Another app has 100 as well: each keeps a quarter of what both have, less the margin.
        roster.evict_beyond(50, 200, at(100));
        assert_eq!(roster.calls.len(), 23);
        assert!(roster.get(DialpadCallId(76)).is_none() && roster.get(DialpadCallId(77)).is_some());
    }

    #[test]
    fn calls_of_one_moment_do_not_go_all_at_once() {
        let mut roster = Roster::default();
        for call in 0..1000 {
            roster.insert(DialpadCallId(call), (), interaction_ref(), at(0), false);
        }
        roster.evict_beyond(500, 1000, at(0));
        assert_eq!(roster.calls.len(), 450);
    }

    #[test]
    fn after_a_burst_the_table_is_small_again() {
        let mut roster = Roster::default();
        for call in 0..20_000 {
            roster.insert(DialpadCallId(call), (), interaction_ref(), at(0), true);
        }
        roster.evict_idle(at(10));
        assert!(roster.calls.capacity() < 100, "{}", roster.calls.capacity());
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
