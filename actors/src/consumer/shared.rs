//! A consumer whose connections share the work, as one process has it: its connections, and what it knows of those at other
//! processes. Pure: instants are arguments.
//!
//! A process shows that it lives by changing its `beat` in the store. No clock is compared with another one: a process takes
//! another one out when it has seen the same beat for [`EXPIRY`], and delivers nothing itself once its own last sign of life
//! is [`VALIDITY`] old, which is less. So a process that was paused has stopped before another one goes on with its partitions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::partitions::{Group, ReadState};
use crate::{
    id::{Seq, SessionId},
    model::sharing::{Participant, PartitionId, ProcessNumber, Sharing},
};

/// How often a process shows that it lives.
const BEAT_INTERVAL: Duration = Duration::from_millis(500);
/// How long after its last sign of life a process delivers nothing more.
const VALIDITY: Duration = Duration::from_millis(2500);
/// How long another process must have seen the same sign of life before it takes the partitions.
pub(super) const EXPIRY: Duration = Duration::from_secs(3);

/// A consumer whose connections share the work.
pub(super) struct Shared {
    group: Group,
    /// What the store has, and its version, as far as this process knows.
    known: Option<(i64, Sharing)>,
    /// Its own last sign of life.
    beat: u64,
    /// The last sign of life of each other process, and when it was first seen.
    beats: BTreeMap<ProcessNumber, (u64, Instant)>,
    /// Until when the partitions are this process's for sure.
    valid_until: Option<Instant>,
    sync_at: Instant,
    is_dirty: bool,
    /// Whether the store has had this process.
    is_established: bool,
    /// Whether the store has this process, as far as it knows.
    takes_part: bool,
}

/// What is to be stored.
pub(super) struct Save {
    /// The version that it replaces.
    pub(super) known: i64,
    pub(super) sharing: Sharing,
    /// When it was prepared.
    pub(super) at: Instant,
    /// Whether other processes have something to do because of it.
    pub(super) concerns_others: bool,
}

impl Shared {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            group: Group::new(),
            known: None,
            beat: 0,
            beats: BTreeMap::new(),
            valid_until: None,
            sync_at: now,
            is_dirty: true,
            is_established: false,
            takes_part: false,
        }
    }

    pub(super) fn members(&self) -> BTreeSet<SessionId> {
        self.group.members()
    }

    pub(super) fn has_member(&self, member: SessionId) -> bool {
        self.group.has_member(member)
    }

    pub(super) fn is_established(&self) -> bool {
        self.is_established
    }

    /// Adds a connection. Nothing that it may get is before `position`, unless a partition is that it gets.
    pub(super) fn join(&mut self, member: SessionId, position: Seq) {
        self.group.join(member, position);
        self.is_dirty = true;
    }

    pub(super) fn leave(&mut self, member: SessionId) {
        self.group.leave(member);
        self.is_dirty = true;
    }

    pub(super) fn read_state(&self, member: SessionId, now: Instant) -> ReadState {
        match self.group.read_state(member) {
            ReadState::After(_) if !self.is_valid(now) => ReadState::Waits,
            state => state,
        }
    }

    /// See [`Group::deliver`]. `None` also if another process may have the partitions.
    pub(super) fn deliver(
        &mut self,
        member: SessionId,
        (from, cursor): (Seq, Seq),
        found: &[(Seq, PartitionId)],
        now: Instant,
    ) -> Option<Vec<Seq>> {
        self.is_dirty = true;
        self.is_valid(now).then(|| self.group.deliver(member, from, cursor, found))?
    }

    /// See [`Group::ack`].
    pub(super) fn ack(&mut self, member: SessionId, seq: Seq) -> bool {
        self.is_dirty = true;
        self.group.ack(member, seq)
    }

    fn is_valid(&self, now: Instant) -> bool {
        self.valid_until.is_some_and(|until| now < until)
    }

    /// Whether the store must be written.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.is_dirty || now >= self.sync_at
    }

    /// Says that another process has changed what the store has.
    pub(super) fn mark_outdated(&mut self) {
        self.known = None;
        self.is_dirty = true;
    }

    /// Prepares what is to be stored, from what the store was found to have; `None`: from what this process knows of it.
    /// Returns `None` if that is nothing: the store must be read.
    pub(super) fn prepare(
        &mut self,
        me: ProcessNumber,
        found: Option<(i64, Sharing)>,
        now: Instant,
    ) -> Option<Save> {
        // Where others take part, what is known is outdated nearly always: each of them shows every now and then that it lives.
        let is_alone = |known: &(i64, Sharing)| known.1.processes.keys().all(|number| *number == me);
        let (known, mut sharing) = found.or_else(|| self.known.clone().filter(is_alone))?;
        self.is_dirty = false;
        self.remove_dead(me, &mut sharing, now);
        let before = sharing.clone();
        self.take_back(me, &sharing);

        let acks = std::mem::take(&mut sharing.acks);
        for (member, seq) in acks {
            if self.group.has_member(member) {
                self.group.ack(member, seq);
                sharing.is_current = true;
            } else if sharing.has_member(member) {
                sharing.acks.push((member, seq));
            }
        }

        // It never has the same value again, also after the process was taken out: others would take it for an old one.
        self.beat += 1;
        sharing.processes.insert(me, Participant { beat: self.beat, members: self.group.members() });
        let wanted = sharing.wanted_by(me);
        self.group.want(&wanted);
        let acked = self.group.acked();
        for (id, place) in sharing.partitions.iter_mut().enumerate() {
            if place.owner == Some(me) {
                place.acked = place.acked.max(acked[id]);
                if self.group.release(id) {
                    place.owner = None;
                }
            } else if place.owner.is_none() && wanted[id] {
                place.owner = Some(me);
            }
        }
        if self.group.members().is_empty() {
            sharing.remove(me);
        }
        let concerns_others = concerns_others(me, &before, &sharing);
        Some(Save { known, sharing, at: now, concerns_others })
    }

    /// Takes out the processes that have shown no sign of life for too long.
    fn remove_dead(&mut self, me: ProcessNumber, sharing: &mut Sharing, now: Instant) {
        let seen: Vec<(ProcessNumber, u64)> =
            sharing.processes.iter().map(|(number, process)| (*number, process.beat)).collect();
        self.beats.retain(|number, _| sharing.processes.contains_key(number));
        for (number, beat) in seen.into_iter().filter(|(number, _)| *number != me) {
            let last = self.beats.entry(number).or_insert((beat, now));
            if last.0 != beat {
                *last = (beat, now);
            } else if now.saturating_duration_since(last.1) >= EXPIRY {
                sharing.remove(number);
            }
        }
    }

    /// Makes the partitions of this process agree with the store.
    fn take_back(&mut self, me: ProcessNumber, sharing: &Sharing) {
        let is_mine = |id: usize| sharing.partitions[id].owner == Some(me);
        let is_out = self.takes_part && !sharing.processes.contains_key(&me);
        if is_out || (0..sharing.partitions.len()).any(|id| self.group.holds(id) && !is_mine(id)) {
            self.group.restart();
            self.valid_until = None;
            self.takes_part = false;
        }
        // What was to be given up, and the store has not heard of it.
        let held = (0..sharing.partitions.len()).filter(|id| is_mine(*id) && !self.group.holds(*id));
        let held: Vec<_> = held.map(|id| (id, sharing.partitions[id].acked)).collect();
        self.group.hold(held);
    }

    /// Records what is stored now. Returns whether a connection may have something new to read.
    pub(super) fn adopt(&mut self, me: ProcessNumber, version: i64, save: Save, now: Instant) -> bool {
        let Save { sharing, at, .. } = save;
        let was_valid = self.is_valid(now);
        let taken = sharing.partitions.iter().enumerate();
        let taken = taken.filter(|(id, place)| place.owner == Some(me) && !self.group.holds(*id));
        let taken: Vec<_> = taken.map(|(id, place)| (id, place.acked)).collect();
        let has_more = self.group.hold(taken);
        self.is_established = true;
        self.takes_part = sharing.processes.contains_key(&me);
        self.valid_until = Some(at + VALIDITY);
        self.sync_at = at + BEAT_INTERVAL;
        self.known = Some((version, sharing));
        has_more || !was_valid
    }

    #[cfg(test)]
    fn has_unacked(&self, member: SessionId, seq: Seq) -> bool {
        self.group.has_unacked(member, seq)
    }

    /// Says that nothing was stored.
    pub(super) fn mark_failed(&mut self) {
        self.is_dirty = true;
    }

    /// Whether it can be dropped: it has no connection, and the store has all of it.
    pub(super) fn is_over(&self) -> bool {
        self.group.members().is_empty() && !self.takes_part && !self.is_dirty
    }

    /// Returns the cursor of the consumer, as the store has it.
    pub(super) fn low_water(&self) -> Seq {
        self.known.as_ref().map(|(_, sharing)| sharing.low_water()).unwrap_or_default()
    }
}

/// Whether other processes have something to do: connections came or went, or partitions are free for them.
fn concerns_others(me: ProcessNumber, before: &Sharing, after: &Sharing) -> bool {
    let members = |sharing: &Sharing| sharing.processes.get(&me).map(|process| process.members.clone());
    let is_free = |sharing: &Sharing| sharing.partitions.iter().filter(|place| place.owner.is_none()).count();
    let has_others = after.processes.keys().any(|number| *number != me);
    has_others && (members(before) != members(after) || is_free(after) > is_free(before))
}

#[cfg(test)]
mod tests;
