//! How the connections of one process share the partitions that the process owns. Pure.
//!
//! Calls are hashed to partitions, and each partition is owned by one process and one of its connections: so each event is
//! delivered to exactly one of them, and those of one call go to the same one, in their order. Every connection reads the
//! whole feed and takes what lies in its partitions; there are no queues. Which connection is to own a partition is decided
//! by rendezvous hashing over the connections of all processes ([`Sharing`](crate::model::sharing::Sharing)), so that few
//! partitions move when one joins or leaves. A partition does not move while its owner has events of it that it has not
//! acknowledged; what follows waits for that. The new owner reads again from where the partition is, and is not delivered
//! twice what it already had of its others.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    id::{Seq, SessionId},
    model::sharing::{PARTITIONS, PartitionId, weight},
};

/// How many events a connection may have that it has not acknowledged, give or take a page.
const MAX_UNACKED: usize = 10_000;

/// The connections of this process that share the work, and the partitions that the process owns.
#[derive(Clone, Debug)]
pub(super) struct Group {
    partitions: Vec<Partition>,
    members: BTreeMap<SessionId, Member>,
    max_unacked: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Partition {
    /// Whether this process owns it.
    is_held: bool,
    /// Whether a connection of this process is to have it.
    is_wanted: bool,
    /// Everything of it up to here was delivered, or is for no connection.
    delivered: Seq,
    /// The connection that gets its events.
    owner: Option<SessionId>,
    /// The connection that is to own it. While that is another one, no connection gets its events.
    next_owner: Option<SessionId>,
}

#[derive(Clone, Debug)]
struct Member {
    /// Everything up to here was read by it.
    position: Seq,
    /// What was delivered to it and not acknowledged, in the order of delivery.
    unacked: VecDeque<(Seq, PartitionId)>,
}

/// What a connection may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadState {
    /// The events after this one.
    After(Seq),
    /// Nothing for now.
    Waits,
    /// Nothing: it is not a connection of the consumer.
    NotMember,
}

impl Group {
    /// Returns a group without connections that owns nothing.
    pub(super) fn new() -> Self {
        let partitions = vec![Partition::default(); PARTITIONS];
        Self { partitions, members: BTreeMap::new(), max_unacked: MAX_UNACKED }
    }

    pub(super) fn members(&self) -> BTreeSet<SessionId> {
        self.members.keys().copied().collect()
    }

    pub(super) fn has_member(&self, member: SessionId) -> bool {
        self.members.contains_key(&member)
    }

    /// Adds a connection and gives it partitions. Nothing that it may get is before `position`, unless it gets a partition
    /// that is.
    pub(super) fn join(&mut self, member: SessionId, position: Seq) {
        self.members.insert(member, Member { position, unacked: VecDeque::new() });
        self.assign();
    }

    /// Removes a connection. What it had not acknowledged goes to the others.
    pub(super) fn leave(&mut self, member: SessionId) {
        let Some(Member { unacked, .. }) = self.members.remove(&member) else { return };
        for (seq, id) in unacked {
            let partition = &mut self.partitions[usize::from(id)];
            partition.delivered = partition.delivered.min(Seq(seq.0 - 1));
        }
        for partition in self.partitions.iter_mut().filter(|partition| partition.owner == Some(member)) {
            partition.owner = None;
        }
        self.assign();
    }

    pub(super) fn read_state(&self, member: SessionId) -> ReadState {
        match self.members.get(&member) {
            None => ReadState::NotMember,
            Some(member) if member.unacked.len() >= self.max_unacked => ReadState::Waits,
            Some(member) => ReadState::After(member.position),
        }
    }

    /// Takes what a connection has found when it read from `from` to `cursor`. Returns the events that are delivered to
    /// it; `None` if its position is another by now and it has to read again.
    pub(super) fn deliver(
        &mut self,
        id: SessionId,
        from: Seq,
        cursor: Seq,
        found: &[(Seq, PartitionId)],
    ) -> Option<Vec<Seq>> {
        let member = self.members.get_mut(&id).filter(|member| member.position == from)?;
        let mut delivered = Vec::new();
        for (seq, partition_id) in found {
            let partition = &self.partitions[usize::from(*partition_id)];
            if partition.delivers_to(id) && *seq > partition.delivered {
                member.unacked.push_back((*seq, *partition_id));
                delivered.push(*seq);
            }
        }
        member.position = cursor;
        for partition in self.partitions.iter_mut().filter(|partition| partition.delivers_to(id)) {
            partition.delivered = partition.delivered.max(cursor);
        }
        Some(delivered)
    }

    /// Acknowledges for a connection this event and all that were delivered to it before. Returns whether a connection
    /// may have something new to read.
    pub(super) fn ack(&mut self, member: SessionId, seq: Seq) -> bool {
        let Some(member) = self.members.get_mut(&member) else { return false };
        // By the order of delivery, which is not always that of `seq`.
        let Some(index) = member.unacked.iter().position(|(delivered, _)| *delivered == seq) else {
            return false;
        };
        let was_full = member.unacked.len() >= self.max_unacked;
        member.unacked.drain(..=index);
        self.move_partitions() || was_full
    }

    /// Records for each partition whether a connection of this process is to have it. Returns whether a connection may have
    /// something new to read.
    pub(super) fn want(&mut self, wanted: &[bool]) -> bool {
        let is_same =
            self.partitions.iter().zip(wanted).all(|(partition, wanted)| partition.is_wanted == *wanted);
        if is_same {
            return false;
        }
        for (partition, wanted) in self.partitions.iter_mut().zip(wanted) {
            partition.is_wanted = *wanted;
        }
        self.assign();
        true
    }

    /// Takes partitions that this process owns from now on, each with its cursor. Returns whether there were any.
    pub(super) fn hold(&mut self, taken: impl IntoIterator<Item = (usize, Seq)>) -> bool {
        let mut has_more = false;
        for (id, acked) in taken {
            let partition = &mut self.partitions[id];
            partition.is_held = true;
            partition.delivered = partition.delivered.max(acked);
            has_more = true;
        }
        if has_more {
            self.assign();
        }
        has_more
    }

    /// Whether this process owns a partition.
    pub(super) fn holds(&self, id: usize) -> bool {
        self.partitions[id].is_held
    }

    /// Gives a partition up, if no connection is to have it and nothing of it is unacknowledged. Returns whether it did.
    pub(super) fn release(&mut self, id: usize) -> bool {
        let partition = &mut self.partitions[id];
        // What has no owner has nothing unacknowledged: a partition keeps its owner until then.
        let is_free = partition.owner.is_none() && partition.next_owner.is_none();
        partition.is_held &= !is_free;
        is_free
    }

    /// Returns the cursor of each partition: everything of it up to there is processed. Valid for those that this process
    /// owns.
    pub(super) fn acked(&self) -> Vec<Seq> {
        let mut acked: Vec<Seq> = self.partitions.iter().map(|partition| partition.delivered).collect();
        for (seq, id) in self.members.values().flat_map(|member| &member.unacked) {
            let acked = &mut acked[usize::from(*id)];
            *acked = (*acked).min(Seq(seq.0 - 1));
        }
        acked
    }

    /// Forgets everything but the connections: another process has taken all partitions away.
    pub(super) fn restart(&mut self) {
        self.partitions = vec![Partition::default(); PARTITIONS];
        self.members.values_mut().for_each(|member| member.unacked.clear());
    }

    #[cfg(test)]
    pub(super) fn has_unacked(&self, member: SessionId, seq: Seq) -> bool {
        self.members.get(&member).is_some_and(|member| member.unacked.iter().any(|(it, _)| *it == seq))
    }

    /// Decides again which connection is to own which partition.
    fn assign(&mut self) {
        for (id, partition) in self.partitions.iter_mut().enumerate() {
            let is_ours = partition.is_held && partition.is_wanted;
            let members = self.members.keys().copied().filter(|_| is_ours);
            partition.next_owner = members.max_by_key(|member| weight(*member, id));
            if partition.owner != partition.next_owner {
                continue;
            }
            // An owner that was to lose the partition, and now keeps it, has read on without its events meanwhile.
            if let Some(owner) = partition.owner.and_then(|owner| self.members.get_mut(&owner)) {
                owner.position = owner.position.min(partition.delivered);
            }
        }
        self.move_partitions();
    }

    /// Moves the partitions that can move to their next owners. Returns whether any has moved.
    fn move_partitions(&mut self) -> bool {
        if self.partitions.iter().all(|partition| partition.owner == partition.next_owner) {
            return false;
        }
        let mut has_unacked = [false; PARTITIONS];
        for (_, id) in self.members.values().flat_map(|member| &member.unacked) {
            has_unacked[usize::from(*id)] = true;
        }
        let mut moved = false;
        for (partition, has_unacked) in self.partitions.iter_mut().zip(has_unacked) {
            if partition.owner == partition.next_owner || has_unacked {
                continue;
            }
            partition.owner = partition.next_owner;
            moved = true;
            if let Some(owner) = partition.owner.and_then(|owner| self.members.get_mut(&owner)) {
                owner.position = owner.position.min(partition.delivered);
            }
        }
        moved
    }
}

impl Partition {
    fn delivers_to(&self, member: SessionId) -> bool {
        self.owner == Some(member) && self.next_owner == Some(member)
    }
}
