//! How several connections share the work of one consumer. Pure.
//!
//! Calls are hashed to partitions, and each partition is owned by one connection: so each event is delivered to exactly
//! one of them, and those of one call go to the same one, in their order. Every connection reads the whole feed and takes
//! what lies in its partitions; there are no queues. Which connection is to own a partition is decided by rendezvous
//! hashing, so that few partitions move when one joins or leaves. A partition does not move while its owner has events of
//! it that it has not acknowledged; what follows waits for that. The new owner reads again from where the partition is,
//! and is not delivered twice what it already had of its others.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, VecDeque};

use crate::id::{Seq, SessionId};

/// How many partitions there are.
const PARTITIONS: usize = 256;
/// How many events a connection may have that it has not acknowledged, give or take a page.
const MAX_UNACKED: usize = 10_000;

/// The number of a partition.
pub(super) type PartitionId = u8;

/// A consumer whose connections share the work.
#[derive(Clone, Debug)]
pub(super) struct Group {
    partitions: Vec<Partition>,
    members: BTreeMap<SessionId, Member>,
    max_unacked: usize,
}

#[derive(Clone, Copy, Debug)]
struct Partition {
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
    /// Nothing: it has too many events that it has not acknowledged.
    Full,
    /// Nothing: it is not a connection of the consumer.
    NotMember,
}

impl Group {
    /// Returns a group without members that has processed everything up to here.
    pub(super) fn new(acked: Seq) -> Self {
        let partitions = vec![Partition { delivered: acked, owner: None, next_owner: None }; PARTITIONS];
        Self { partitions, members: BTreeMap::new(), max_unacked: MAX_UNACKED }
    }

    pub(super) fn members(&self) -> impl Iterator<Item = SessionId> {
        self.members.keys().copied()
    }

    /// Returns the cursor: everything up to it is processed.
    pub(super) fn low_water(&self) -> Seq {
        let delivered = self.partitions.iter().map(|partition| partition.delivered).min();
        let unacked = self.members.values().flat_map(|member| &member.unacked);
        unacked.map(|(seq, _)| Seq(seq.0 - 1)).fold(delivered.unwrap_or_default(), Seq::min)
    }

    /// Whether some events after the low-water mark are processed as well.
    pub(super) fn is_ahead_of_low_water(&self) -> bool {
        self.partitions.iter().any(|partition| partition.delivered != self.partitions[0].delivered)
    }

    /// Advances the cursor from outside. `false`: there are connections, which know better what was delivered to them.
    pub(super) fn advance(&mut self, acked: Seq) -> bool {
        if !self.members.is_empty() {
            return false;
        }
        for partition in &mut self.partitions {
            partition.delivered = partition.delivered.max(acked);
        }
        true
    }

    /// Adds a connection and gives it partitions. Elsewhere everything up to `acked` was processed.
    pub(super) fn join(&mut self, member: SessionId, acked: Seq) {
        self.advance(acked);
        // No partition that it will own is further; `move_partitions` brings it back to where they are.
        let position = self.partitions.iter().map(|partition| partition.delivered).max();
        let position = position.unwrap_or_default();
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
            Some(member) if member.unacked.len() >= self.max_unacked => ReadState::Full,
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

    /// Decides again which connection is to own which partition.
    fn assign(&mut self) {
        for (id, partition) in self.partitions.iter_mut().enumerate() {
            partition.next_owner = self.members.keys().copied().max_by_key(|member| weight(*member, id));
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
            if let Some(owner) = partition.owner.and_then(|owner| self.members.get_mut(&owner)) {
                owner.position = owner.position.min(partition.delivered);
                moved = true;
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

/// Returns the weight of a member for a partition. The member with the greatest one owns it (rendezvous hashing): when
/// one joins or leaves, only its own partitions move.
fn weight(member: SessionId, partition: usize) -> u64 {
    let (high, low) = member.0.as_u64_pair();
    mix(mix(high ^ partition as u64) ^ low)
}

/// Spreads numbers that are close to each other (the last step of SplitMix64).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Returns the partition of everything with this key.
pub(super) fn partition_of(key: u64) -> PartitionId {
    mix(key.wrapping_add(0x9e37_79b9_7f4a_7c15)).to_le_bytes()[7]
}
