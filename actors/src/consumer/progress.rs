//! How far a consumer has come, in either mode. Pure.

use super::{
    Mode,
    exclusive::Exclusive,
    partitions::{Group, PartitionId, ReadState, partition_of},
};
use crate::{
    feed::Batch,
    id::{Seq, SessionId},
};

/// How far a consumer has come.
pub(super) enum Progress {
    Exclusive(Exclusive),
    Shared(Box<Group>),
}

impl Progress {
    pub(super) fn new(mode: Mode, acked: Seq) -> Self {
        match mode {
            Mode::Exclusive => Self::Exclusive(Exclusive::new(acked)),
            Mode::Share => Self::Shared(Box::new(Group::new(acked))),
        }
    }

    pub(super) fn mode(&self) -> Mode {
        match self {
            Self::Exclusive(_) => Mode::Exclusive,
            Self::Shared(_) => Mode::Share,
        }
    }

    pub(super) fn members(&self) -> Vec<SessionId> {
        match self {
            Self::Exclusive(exclusive) => exclusive.member().into_iter().collect(),
            Self::Shared(group) => group.members().collect(),
        }
    }

    /// Returns the cursor: everything up to it is processed.
    pub(super) fn low_water(&self) -> Seq {
        match self {
            Self::Exclusive(exclusive) => exclusive.low_water(),
            Self::Shared(group) => group.low_water(),
        }
    }

    /// Whether some events after the low-water mark are processed as well. The store does not know that.
    pub(super) fn is_ahead_of_low_water(&self) -> bool {
        matches!(self, Self::Shared(group) if group.is_ahead_of_low_water())
    }

    /// Adds a connection. In the store, everything up to `acked` is processed.
    pub(super) fn join(&mut self, mode: Mode, member: SessionId, acked: Seq) {
        if self.mode() != mode {
            *self = Self::new(mode, self.low_water());
        }
        match self {
            Self::Exclusive(exclusive) => exclusive.join(member, acked),
            Self::Shared(group) => group.join(member, acked),
        }
    }

    /// Removes a connection. Returns whether another one may have something new to read.
    pub(super) fn leave(&mut self, member: SessionId) -> bool {
        match self {
            Self::Exclusive(exclusive) => {
                exclusive.leave(member);
                false
            }
            Self::Shared(group) => {
                group.leave(member);
                true
            }
        }
    }

    /// Leaves in a batch that a connection has read after `from` the events that are delivered to it. `false`: it has to
    /// read again, from elsewhere.
    pub(super) fn deliver(&mut self, member: SessionId, from: Seq, batch: &mut Batch) -> bool {
        match self {
            Self::Exclusive(exclusive) => {
                exclusive.deliver(member, batch.frames.last().map(|last| last.seq), batch.cursor)
            }
            Self::Shared(group) => {
                let partitions =
                    batch.frames.iter().map(|frame| (frame.seq, partition_of(frame.partition_key())));
                let found: Vec<(Seq, PartitionId)> = partitions.collect();
                let Some(delivered) = group.deliver(member, from, batch.cursor, &found) else { return false };
                let mut delivered = delivered.into_iter().peekable();
                batch.frames.retain(|frame| delivered.next_if_eq(&frame.seq).is_some());
                true
            }
        }
    }

    /// Counts an acknowledgement. Returns whether a connection may have something new to read; `None`: it names no
    /// connection, and several share the work.
    pub(super) fn ack(&mut self, member: Option<SessionId>, seq: Seq) -> Option<bool> {
        match (self, member) {
            (Self::Exclusive(exclusive), _) => {
                exclusive.ack(seq);
                Some(false)
            }
            (Self::Shared(group), Some(member)) => Some(group.ack(member, seq)),
            (Self::Shared(group), None) => group.advance(seq).then_some(false),
        }
    }

    pub(super) fn read_state(&self, member: SessionId) -> ReadState {
        match self {
            Self::Exclusive(exclusive) => {
                exclusive.position(member).map_or(ReadState::NotMember, ReadState::After)
            }
            Self::Shared(group) => group.read_state(member),
        }
    }
}
