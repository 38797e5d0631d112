//! The decisions of one process about leases.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    ProcessId, TakeoverReason,
    rendezvous::{Candidate, rank},
};
use crate::id::{AppId, Fence};

/// For how long a free lease is left to each process that its app prefers. It is taken all the same if those don't take it.
const PREFERENCE_TIMEOUT: TimeDelta = TimeDelta::seconds(1);
/// How many of them are waited for at most.
const MAX_PREFERRED: usize = 3;
/// How long the same processes must have been there before apps move to the one that they prefer.
const STABLE_TIMEOUT: TimeDelta = TimeDelta::seconds(5);
/// How many apps a process gives up in one round, and which part of them if there are many.
const MIN_MOVES: usize = 10;
const MOVED_PART: usize = 50;
/// How long a process keeps an app that the preferred one did not take.
const KEEP_TIMEOUT: TimeDelta = TimeDelta::seconds(60);

/// What a process sees of the table in one round.
#[derive(Clone, Copy, Debug)]
pub struct View<'v> {
    /// The time of the table.
    pub now: DateTime<Utc>,
    /// The processes that are alive and not stopping, in order.
    pub processes: &'v [ProcessId],
    /// The apps whose lease this process holds.
    pub held: &'v BTreeMap<AppId, Fence>,
    /// The leases that no living process holds.
    pub free: &'v [FreeLease],
}

/// A lease that no living process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeLease {
    /// The app.
    pub app: AppId,
    /// The fence of its last owner.
    pub fence: Fence,
    /// Why it can be taken.
    pub reason: TakeoverReason,
}

/// A lease to take, if its fence is still the one that was read.
pub type Take = FreeLease;

/// What a process does next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Leases to take.
    pub take: Vec<Take>,
    /// Apps to give up.
    pub give_up: Vec<AppId>,
}

/// Decides for one process, and remembers since when things are as they are.
#[derive(Clone, Debug)]
pub struct LeaseMachine {
    process: ProcessId,
    candidates: Vec<Candidate>,
    /// Since when the candidates are the same.
    stable_since: DateTime<Utc>,
    /// Since when free leases are free, as far as this process has seen.
    free_since: BTreeMap<AppId, DateTime<Utc>>,
    /// When apps were taken that prefer another process.
    substituted_at: BTreeMap<AppId, DateTime<Utc>>,
    /// The held apps that prefer another process, as long as the candidates are the same.
    foreign: BTreeSet<AppId>,
    /// The held apps for which that is known.
    ranked: BTreeSet<AppId>,
}

impl LeaseMachine {
    /// Returns a machine that has seen nothing yet.
    #[must_use]
    pub fn new(process: ProcessId) -> Self {
        Self {
            process,
            candidates: Vec::new(),
            stable_since: DateTime::UNIX_EPOCH,
            free_since: BTreeMap::new(),
            substituted_at: BTreeMap::new(),
            foreign: BTreeSet::new(),
            ranked: BTreeSet::new(),
        }
    }

    /// Decides what to take and what to give up. A process that is not among those that are alive takes nothing and gives
    /// up everything.
    pub fn decide(&mut self, view: View<'_>) -> Decision {
        self.observe_processes(view);
        if !view.processes.contains(&self.process) {
            return Decision { take: Vec::new(), give_up: view.held.keys().copied().collect() };
        }
        Decision { take: self.take(view), give_up: self.give_up(view) }
    }

    fn observe_processes(&mut self, view: View<'_>) {
        if !self.candidates.iter().map(|known| &known.process).eq(view.processes) {
            self.candidates = view.processes.iter().cloned().map(Candidate::new).collect();
            self.stable_since = view.now;
            self.foreign.clear();
            self.ranked.clear();
        }
    }

    /// A free lease is taken at once by the process that its app prefers, and later by the others, one after the other.
    fn take(&mut self, view: View<'_>) -> Vec<Take> {
        let free: BTreeSet<AppId> = view.free.iter().map(|lease| lease.app).collect();
        self.free_since.retain(|app, _| free.contains(app));
        let mut take = Vec::new();
        for lease in view.free {
            let since = *self.free_since.entry(lease.app).or_insert(view.now);
            let Some(rank) = rank(&self.candidates, &self.process, lease.app) else { continue };
            let patience = PREFERENCE_TIMEOUT * i32::try_from(rank.min(MAX_PREFERRED)).unwrap_or_default();
            if view.now - since >= patience {
                if rank > 0 {
                    self.substituted_at.insert(lease.app, view.now);
                }
                take.push(*lease);
            }
        }
        take
    }

    /// Apps move to the process that they prefer once the processes have been the same for a while, a few at a time.
    fn give_up(&mut self, view: View<'_>) -> Vec<AppId> {
        self.substituted_at.retain(|_, at| view.now - *at < KEEP_TIMEOUT);
        if view.now - self.stable_since < STABLE_TIMEOUT {
            return Vec::new();
        }
        self.rank_held(view);
        let moves = self.foreign.iter().filter(|app| !self.substituted_at.contains_key(*app));
        moves.take(MIN_MOVES.max(self.foreign.len() / MOVED_PART)).copied().collect()
    }

    fn rank_held(&mut self, view: View<'_>) {
        if self.ranked.len() == view.held.len() && view.held.keys().all(|app| self.ranked.contains(app)) {
            return;
        }
        self.foreign.retain(|app| view.held.contains_key(app));
        self.ranked.retain(|app| view.held.contains_key(app));
        for app in view.held.keys() {
            if self.ranked.insert(*app) && rank(&self.candidates, &self.process, *app) != Some(0) {
                self.foreign.insert(*app);
            }
        }
    }
}
