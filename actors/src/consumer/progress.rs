//! How far a consumer has come, however its connections stand to each other. Pure.

use super::{
    Mode,
    exclusive::Exclusive,
    partitions::{Group, Slot, Standing, slot_of},
};
use crate::{
    feed::Batch,
    id::{Seq, SessionId},
};

/// How far a consumer has come.
pub(super) enum Progress {
    Alone(Exclusive),
    Shared(Box<Group>),
}

impl Progress {
    pub(super) fn new(mode: Mode, acked: Seq) -> Self {
        match mode {
            Mode::Exclusive => Self::Alone(Exclusive::new(acked)),
            Mode::Share => Self::Shared(Box::new(Group::new(acked))),
        }
    }

    pub(super) fn mode(&self) -> Mode {
        match self {
            Self::Alone(_) => Mode::Exclusive,
            Self::Shared(_) => Mode::Share,
        }
    }

    pub(super) fn members(&self) -> Vec<SessionId> {
        match self {
            Self::Alone(exclusive) => exclusive.member().into_iter().collect(),
            Self::Shared(group) => group.members().collect(),
        }
    }

    pub(super) fn low_water(&self) -> Seq {
        match self {
            Self::Alone(exclusive) => exclusive.low_water(),
            Self::Shared(group) => group.low_water(),
        }
    }

    /// Whether it is known of more than one place that it is dealt with.
    pub(super) fn is_uneven(&self) -> bool {
        matches!(self, Self::Shared(group) if group.is_uneven())
    }

    /// A connection comes; of the store it is known that everything up to here is dealt with.
    pub(super) fn enter(&mut self, mode: Mode, member: SessionId, acked: Seq) {
        if self.mode() != mode {
            *self = Self::new(mode, self.low_water());
        }
        match self {
            Self::Alone(exclusive) => exclusive.enter(member, acked),
            Self::Shared(group) => group.enter(member, acked),
        }
    }

    /// Says whether anybody may have something new to read.
    pub(super) fn leave(&mut self, member: SessionId) -> bool {
        match self {
            Self::Alone(exclusive) => {
                exclusive.leave(member);
                false
            }
            Self::Shared(group) => {
                group.leave(member);
                true
            }
        }
    }

    /// A connection has read this batch from here; leaves in it what is given to it. `false` when it stands elsewhere by
    /// now.
    pub(super) fn take(&mut self, member: SessionId, from: Seq, batch: &mut Batch) -> bool {
        match self {
            Self::Alone(exclusive) => {
                exclusive.take(member, batch.frames.last().map(|last| last.seq), batch.cursor)
            }
            Self::Shared(group) => {
                let slots = batch.frames.iter().map(|frame| (frame.seq, slot_of(frame.partition_key())));
                let found: Vec<(Seq, Slot)> = slots.collect();
                let Some(taken) = group.take(member, from, batch.cursor, &found) else { return false };
                let mut taken = taken.into_iter().peekable();
                batch.frames.retain(|frame| taken.next_if_eq(&frame.seq).is_some());
                true
            }
        }
    }

    /// Counts an acknowledgement. Says whether anybody may have something new to read; `None`: it is not clear for whom it
    /// counts.
    pub(super) fn ack(&mut self, member: Option<SessionId>, seq: Seq) -> Option<bool> {
        match (self, member) {
            (Self::Alone(exclusive), _) => {
                exclusive.ack(seq);
                Some(false)
            }
            (Self::Shared(group), Some(member)) => Some(group.ack(member, seq)),
            (Self::Shared(group), None) => group.advance(seq).then_some(false),
        }
    }

    pub(super) fn standing(&self, member: SessionId) -> Standing {
        match self {
            Self::Alone(exclusive) => exclusive.position(member).map_or(Standing::Out, Standing::At),
            Self::Shared(group) => group.standing(member),
        }
    }
}
