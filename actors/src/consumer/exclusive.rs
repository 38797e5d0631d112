//! How far the one connection of an exclusive consumer has come. Pure.

use crate::id::{Seq, SessionId};

/// An exclusive consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exclusive {
    /// Its connection, if it has one.
    member: Option<SessionId>,
    /// Everything up to here was given to it, or is not for it.
    position: Seq,
    /// The last event that was given to it.
    given: Seq,
    /// The last one that it has dealt with.
    acked: Seq,
}

impl Exclusive {
    /// A consumer that has dealt with everything up to here.
    pub(super) fn new(acked: Seq) -> Self {
        Self { member: None, position: acked, given: acked, acked }
    }

    pub(super) fn member(&self) -> Option<SessionId> {
        self.member
    }

    /// Everything up to here is dealt with: behind it, whoever comes next begins.
    pub(super) fn low_water(&self) -> Seq {
        if self.acked >= self.given { self.position } else { self.acked }
    }

    /// A connection comes; the one before it is out. What that one had not dealt with comes again, unless it was dealt
    /// with elsewhere, up to `acked`.
    pub(super) fn enter(&mut self, member: SessionId, acked: Seq) {
        *self = Self { member: Some(member), ..Self::new(self.low_water().max(acked)) };
    }

    pub(super) fn leave(&mut self, member: SessionId) {
        if self.member == Some(member) {
            *self = Self::new(self.low_water());
        }
    }

    /// Where the connection goes on; `None` when it is out.
    pub(super) fn position(&self, member: SessionId) -> Option<Seq> {
        (self.member == Some(member)).then_some(self.position)
    }

    /// Events are given to it: the last one of them, and everything up to `cursor` that is not for it. `false` when it
    /// is out, and must not get them.
    pub(super) fn take(&mut self, member: SessionId, last: Option<Seq>, cursor: Seq) -> bool {
        let takes = self.member == Some(member);
        if takes {
            // What was not for it lies before this, and is dealt with as well if all that was for it is.
            self.acked = self.low_water();
            self.given = last.unwrap_or(self.given);
            self.position = cursor;
        }
        takes
    }

    /// Everything up to here is dealt with. Beyond what was given nobody can deal with anything, unless nobody is there
    /// to be given something: then somebody moves the cursor on purpose.
    pub(super) fn ack(&mut self, seq: Seq) {
        if self.member.is_none() && seq > self.position {
            *self = Self::new(seq);
        } else {
            self.acked = self.acked.max(seq.min(self.position));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_dealt_with_comes_again_to_whoever_comes_next() {
        let (first, second) = (SessionId::generate(), SessionId::generate());
        let mut consumer = Exclusive::new(Seq(10));
        consumer.enter(first, Seq(10));
        assert!(consumer.take(first, Some(Seq(14)), Seq(15)));
        consumer.ack(Seq(12));
        assert_eq!(consumer.low_water(), Seq(12));
        consumer.enter(second, Seq(11));
        assert_eq!((consumer.position(first), consumer.position(second)), (None, Some(Seq(12))));
        assert!(!consumer.take(first, Some(Seq(20)), Seq(20)), "the first one is out");
        consumer.leave(first);
        assert_eq!(consumer.position(second), Some(Seq(12)));
    }

    #[test]
    fn what_is_not_for_it_is_dealt_with_once_everything_before_is() {
        let member = SessionId::generate();
        let mut consumer = Exclusive::new(Seq(0));
        consumer.enter(member, Seq(0));
        assert!(consumer.take(member, None, Seq(7)));
        assert_eq!(consumer.low_water(), Seq(7));
        assert!(consumer.take(member, Some(Seq(8)), Seq(20)));
        assert_eq!(consumer.low_water(), Seq(7));
        consumer.ack(Seq(8));
        assert_eq!(consumer.low_water(), Seq(20));
    }

    #[test]
    fn nobody_deals_with_what_was_not_given_to_him() {
        let member = SessionId::generate();
        let mut consumer = Exclusive::new(Seq(0));
        consumer.enter(member, Seq(0));
        assert!(consumer.take(member, Some(Seq(5)), Seq(5)));
        consumer.ack(Seq(99));
        assert_eq!(consumer.low_water(), Seq(5));
        consumer.ack(Seq(3));
        assert_eq!(consumer.low_water(), Seq(5), "never back");
        consumer.leave(member);
        consumer.ack(Seq(9));
        assert_eq!(consumer.low_water(), Seq(9), "moved on purpose");
    }
}
