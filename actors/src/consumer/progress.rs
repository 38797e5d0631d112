//! How far a consumer has come, in either mode. Pure: instants are arguments.

use super::{Instant, Mode, exclusive::Exclusive, partitions::ReadState, shared::Shared};
use crate::{
    feed::Batch,
    id::{Seq, SessionId},
    model::sharing::{PartitionId, partition_of},
};

/// How far a consumer has come.
pub(super) enum Progress {
    Exclusive(Exclusive),
    Shared(Box<Shared>),
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// It counts.
    Yes {
        /// Whether a connection may have something new to read.
        has_more: bool,
    },
    /// The connection that it names is not one of these, or it names none and several share the work.
    NotHere,
}

impl Progress {
    pub(super) fn mode(&self) -> Mode {
        match self {
            Self::Exclusive(_) => Mode::Exclusive,
            Self::Shared(_) => Mode::Share,
        }
    }

    pub(super) fn members(&self) -> Vec<SessionId> {
        match self {
            Self::Exclusive(exclusive) => exclusive.member().into_iter().collect(),
            Self::Shared(shared) => shared.members().into_iter().collect(),
        }
    }

    /// Returns the cursor: everything up to it is processed.
    pub(super) fn low_water(&self) -> Seq {
        match self {
            Self::Exclusive(exclusive) => exclusive.low_water(),
            Self::Shared(shared) => shared.low_water(),
        }
    }

    /// Removes a connection. Returns whether another one may have something new to read.
    pub(super) fn leave(&mut self, member: SessionId) -> bool {
        match self {
            Self::Exclusive(exclusive) => {
                exclusive.leave(member);
                false
            }
            Self::Shared(shared) => {
                shared.leave(member);
                true
            }
        }
    }

    /// Leaves in a batch that a connection has read after `from` the events that are delivered to it. `false`: it has to
    /// read again, from elsewhere.
    pub(super) fn deliver(&mut self, member: SessionId, from: Seq, batch: &mut Batch, now: Instant) -> bool {
        match self {
            Self::Exclusive(exclusive) => {
                exclusive.deliver(member, batch.frames.last().map(|last| last.seq), batch.cursor)
            }
            Self::Shared(shared) => {
                let partitions =
                    batch.frames.iter().map(|frame| (frame.seq, partition_of(frame.partition_key())));
                let found: Vec<(Seq, PartitionId)> = partitions.collect();
                let delivered = shared.deliver(member, (from, batch.cursor), &found, now);
                let Some(delivered) = delivered else { return false };
                let mut delivered = delivered.into_iter().peekable();
                batch.frames.retain(|frame| delivered.next_if_eq(&frame.seq).is_some());
                true
            }
        }
    }

    /// Counts an acknowledgement.
    pub(super) fn ack(&mut self, member: Option<SessionId>, seq: Seq) -> Counted {
        match (self, member) {
            (Self::Exclusive(exclusive), _) => {
                exclusive.ack(seq);
                Counted::Yes { has_more: false }
            }
            (Self::Shared(shared), Some(member)) if shared.has_member(member) => {
                Counted::Yes { has_more: shared.ack(member, seq) }
            }
            (Self::Shared(_), _) => Counted::NotHere,
        }
    }

    pub(super) fn read_state(&self, member: SessionId, now: Instant) -> ReadState {
        match self {
            Self::Exclusive(exclusive) => {
                exclusive.position(member).map_or(ReadState::NotMember, ReadState::After)
            }
            Self::Shared(shared) => shared.read_state(member, now),
        }
    }
}
