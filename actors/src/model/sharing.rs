//! Which process serves which partition of a consumer whose connections share the work, as the store has it. Pure.
//!
//! The store has one record per consumer. A process changes it by replacing what it read, and only if nobody has replaced it
//! meanwhile. Each partition has at most one process that owns it: only that process moves its cursor, and only that process
//! gives it up, after everything that was delivered of it is acknowledged. A process that shows no sign of life is taken out
//! by another one; its partitions go on from their cursors.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::mix::mix;
use crate::id::{Epoch, Seq, SessionId};

/// How many partitions there are.
pub const PARTITIONS: usize = 256;
/// How many acknowledgements may wait for the process that has their connection.
const MAX_ACKS: usize = 1000;

/// The number of a partition.
pub type PartitionId = u8;

/// The number of a process. Another process has another one, also the next on the same machine.
pub type ProcessNumber = i64;

/// The processes that share a consumer, and how far each partition has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Record", try_from = "Record")]
pub struct Sharing {
    /// The epoch of the cursors.
    pub epoch: Epoch,
    /// Whether something was acknowledged in this epoch.
    pub is_current: bool,
    /// The processes that have connections, or partitions that they have not given up.
    pub processes: BTreeMap<ProcessNumber, Participant>,
    /// All partitions.
    pub partitions: Vec<Place>,
    /// Acknowledgements for connections of another process than the one that received them.
    pub acks: Vec<(SessionId, Seq)>,
}

/// A process that shares in the work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// Grows with each sign of life.
    pub beat: u64,
    /// Its connections.
    pub members: BTreeSet<SessionId>,
}

/// How far a partition has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The process that delivers its events.
    pub owner: Option<ProcessNumber>,
    /// Everything of it up to here is processed.
    pub acked: Seq,
}

impl Sharing {
    /// Returns a consumer without connections that has processed everything up to `acked`.
    #[must_use]
    pub fn new(epoch: Epoch, is_current: bool, acked: Seq) -> Self {
        Self {
            epoch,
            is_current,
            processes: BTreeMap::new(),
            partitions: vec![Place { owner: None, acked }; PARTITIONS],
            acks: Vec::new(),
        }
    }

    /// Returns the cursor of the consumer: everything up to it is processed.
    #[must_use]
    pub fn low_water(&self) -> Seq {
        self.partitions.iter().map(|place| place.acked).min().unwrap_or_default()
    }

    /// Returns the cursor of the partition that has come furthest.
    #[must_use]
    pub fn high_water(&self) -> Seq {
        self.partitions.iter().map(|place| place.acked).max().unwrap_or_default()
    }

    /// Returns how many connections all processes have.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.processes.values().map(|process| process.members.len()).sum()
    }

    /// Whether any process has this connection.
    #[must_use]
    pub fn has_member(&self, member: SessionId) -> bool {
        self.processes.values().any(|process| process.members.contains(&member))
    }

    /// Takes a process out. Its partitions go on from their cursors.
    pub fn remove(&mut self, process: ProcessNumber) {
        self.processes.remove(&process);
        for place in self.partitions.iter_mut().filter(|place| place.owner == Some(process)) {
            place.owner = None;
        }
    }

    /// Moves the cursors of the partitions that no process owns, never back.
    pub fn advance(&mut self, acked: Seq) {
        for place in self.partitions.iter_mut().filter(|place| place.owner.is_none()) {
            place.acked = place.acked.max(acked);
        }
    }

    /// Leaves an acknowledgement to the process that has the connection. `false`: too many wait.
    pub fn leave_ack(&mut self, member: SessionId, seq: Seq) -> bool {
        let has_room = self.acks.len() < MAX_ACKS;
        if has_room {
            self.acks.push((member, seq));
        }
        has_room
    }

    /// Returns for each partition whether a connection of this process is to have it.
    #[must_use]
    pub fn wanted_by(&self, process: ProcessNumber) -> Vec<bool> {
        let all = || {
            let processes = self.processes.iter();
            processes
                .flat_map(|(number, process)| process.members.iter().map(move |member| (*number, *member)))
        };
        let target = |id| all().max_by_key(|(_, member)| weight(*member, id)).map(|(number, _)| number);
        (0..PARTITIONS).map(|id| target(id) == Some(process)).collect()
    }
}

/// Returns the weight of a connection for a partition. The connection with the greatest one is to have it (rendezvous
/// hashing): when one comes or goes, only its own partitions move.
#[must_use]
pub fn weight(member: SessionId, partition: usize) -> (u64, SessionId) {
    let (high, low) = member.0.as_u64_pair();
    (mix(mix(high ^ partition as u64) ^ low), member)
}

/// Returns the partition of everything with this key.
#[must_use]
pub fn partition_of(key: u64) -> PartitionId {
    mix(key.wrapping_add(0x9e37_79b9_7f4a_7c15)).to_le_bytes()[7]
}

/// The same as it is stored: the cursors relative to the lowest one, the owners by their place in the list of processes.
#[derive(Serialize, Deserialize)]
struct Record {
    epoch: Epoch,
    current: bool,
    processes: Vec<(ProcessNumber, Participant)>,
    /// 0: nobody; else the place in the list, counted from 1.
    owners: Vec<usize>,
    low: Seq,
    ahead: Vec<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    acks: Vec<(SessionId, Seq)>,
}

impl From<Sharing> for Record {
    fn from(sharing: Sharing) -> Self {
        let low = sharing.low_water();
        let Sharing { epoch, is_current, processes, partitions, acks } = sharing;
        let processes: Vec<_> = processes.into_iter().collect();
        let place_of =
            |owner| 1 + processes.iter().position(|(number, _)| *number == owner).unwrap_or_default();
        let owners = partitions.iter().map(|place| place.owner.map_or(0, place_of)).collect();
        let ahead = partitions.iter().map(|place| place.acked.0 - low.0).collect();
        Self { epoch, current: is_current, processes, owners, low, ahead, acks }
    }
}

impl TryFrom<Record> for Sharing {
    type Error = &'static str;

    fn try_from(record: Record) -> Result<Self, Self::Error> {
        let Record { epoch, current, processes, owners, low, ahead, acks } = record;
        if (owners.len(), ahead.len()) != (PARTITIONS, PARTITIONS) {
            return Err("it has another number of partitions");
        }
        let owner_at = |place: usize| place.checked_sub(1).and_then(|index| processes.get(index));
        let places = owners.into_iter().zip(ahead).map(|(place, ahead)| Place {
            owner: owner_at(place).map(|(number, _)| *number),
            acked: Seq(low.0.saturating_add(ahead)),
        });
        let partitions = places.collect();
        Ok(Self { epoch, is_current: current, processes: processes.into_iter().collect(), partitions, acks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn participant(count: usize) -> Participant {
        Participant { beat: 3, members: (0..count).map(|_| SessionId::generate()).collect() }
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let mut sharing = Sharing::new(Epoch::generate(), true, Seq(40));
        sharing.processes = [(i64::MIN, participant(2)), (7, participant(1))].into();
        sharing.partitions[9] = Place { owner: Some(7), acked: Seq(i64::from(u32::MAX)) };
        sharing.partitions[255] = Place { owner: Some(i64::MIN), acked: Seq(41) };
        assert!(sharing.leave_ack(SessionId::generate(), Seq(42)));
        let text = serde_json::to_string(&sharing).expect("JSON");
        assert_eq!(serde_json::from_str::<Sharing>(&text).expect("readable"), sharing);
        assert!(text.len() < 2500, "{} bytes", text.len());
        assert!(serde_json::from_str::<Sharing>(&text.replace("\"ahead\":[", "\"ahead\":[1,")).is_err());
    }

    #[test]
    fn every_partition_is_wanted_by_one_process_in_proportion_to_its_connections() {
        let mut sharing = Sharing::new(Epoch::default(), true, Seq(0));
        assert_eq!(sharing.wanted_by(1), [false; PARTITIONS]);
        sharing.processes = [(1, participant(6)), (2, participant(2))].into();
        let (one, two) = (sharing.wanted_by(1), sharing.wanted_by(2));
        assert!(one.iter().zip(&two).all(|(one, two)| one != two));
        let count = two.into_iter().filter(|wanted| *wanted).count();
        assert!((24..128).contains(&count), "2 of 8 connections have {count}");
    }

    #[test]
    fn who_leaves_leaves_its_partitions_where_they_are() {
        let mut sharing = Sharing::new(Epoch::default(), true, Seq(4));
        sharing.processes = [(1, participant(1))].into();
        sharing.partitions[3] = Place { owner: Some(1), acked: Seq(9) };
        sharing.advance(Seq(6));
        assert_eq!(
            (sharing.partitions[3].acked, sharing.low_water(), sharing.high_water()),
            (Seq(9), Seq(6), Seq(9))
        );
        sharing.remove(1);
        assert_eq!((sharing.partitions[3], sharing.connections()), (Place { owner: None, acked: Seq(9) }, 0));
    }
}
