//! How far the connection of an exclusive consumer has come. Pure.

use crate::id::{Seq, SessionId};

/// An exclusive consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exclusive {
    /// Its connection, if it has one.
    member: Option<SessionId>,
    /// Everything up to here was delivered to it, or is not for it.
    position: Seq,
    /// The last event that was delivered to it.
    delivered: Seq,
    /// The last event that it has acknowledged.
    acked: Seq,
}

impl Exclusive {
    /// Returns a consumer that has processed everything up to here.
    pub(super) fn new(acked: Seq) -> Self {
        Self { member: None, position: acked, delivered: acked, acked }
    }

    pub(super) fn member(&self) -> Option<SessionId> {
        self.member
    }

    /// Returns the cursor: everything up to it is processed, and the next connection begins after it.
    pub(super) fn low_water(&self) -> Seq {
        if self.acked >= self.delivered { self.position } else { self.acked }
    }

    /// Adds a connection, which replaces the one before. What that one had not acknowledged is delivered again, unless
    /// it was processed elsewhere, up to `acked`.
    pub(super) fn join(&mut self, member: SessionId, acked: Seq) {
        *self = Self { member: Some(member), ..Self::new(self.low_water().max(acked)) };
    }

    pub(super) fn leave(&mut self, member: SessionId) {
        if self.member == Some(member) {
            *self = Self::new(self.low_water());
        }
    }

    /// Returns after which event the connection reads on; `None` when it was replaced.
    pub(super) fn position(&self, member: SessionId) -> Option<Seq> {
        (self.member == Some(member)).then_some(self.position)
    }

    /// Records a delivery: the last event of it, and that nothing else up to `cursor` is for the consumer. `false`: the
    /// connection was replaced and must not get the events.
    pub(super) fn deliver(&mut self, member: SessionId, last: Option<Seq>, cursor: Seq) -> bool {
        if self.member != Some(member) {
            return false;
        }
        // What was not for the consumer lies before this, and is processed if all that was for it is.
        self.acked = self.low_water();
        self.delivered = last.unwrap_or(self.delivered);
        self.position = cursor;
        true
    }

    /// Acknowledges everything up to here, but nothing beyond what was delivered. Without a connection, the cursor
    /// moves as asked.
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
    fn what_was_not_acknowledged_is_delivered_to_the_next_connection() {
        let (first, second) = (SessionId::generate(), SessionId::generate());
        let mut consumer = Exclusive::new(Seq(10));
        consumer.join(first, Seq(10));
        assert!(consumer.deliver(first, Some(Seq(14)), Seq(15)));
        consumer.ack(Seq(12));
        assert_eq!(consumer.low_water(), Seq(12));
        consumer.join(second, Seq(11));
        assert_eq!((consumer.position(first), consumer.position(second)), (None, Some(Seq(12))));
        assert!(!consumer.deliver(first, Some(Seq(20)), Seq(20)), "the first one was replaced");
        consumer.leave(first);
        assert_eq!(consumer.position(second), Some(Seq(12)));
    }

    #[test]
    fn what_is_not_for_it_is_processed_once_everything_before_is() {
        let member = SessionId::generate();
        let mut consumer = Exclusive::new(Seq(0));
        consumer.join(member, Seq(0));
        assert!(consumer.deliver(member, None, Seq(7)));
        assert_eq!(consumer.low_water(), Seq(7));
        assert!(consumer.deliver(member, Some(Seq(8)), Seq(20)));
        assert_eq!(consumer.low_water(), Seq(7));
        consumer.ack(Seq(8));
        assert_eq!(consumer.low_water(), Seq(20));
    }

    #[test]
    fn an_acknowledgement_counts_for_no_more_than_was_delivered() {
        let member = SessionId::generate();
        let mut consumer = Exclusive::new(Seq(0));
        consumer.join(member, Seq(0));
        assert!(consumer.deliver(member, Some(Seq(5)), Seq(5)));
        consumer.ack(Seq(99));
        assert_eq!(consumer.low_water(), Seq(5));
        consumer.ack(Seq(3));
        assert_eq!(consumer.low_water(), Seq(5), "never back");
        consumer.leave(member);
        consumer.ack(Seq(9));
        assert_eq!(consumer.low_water(), Seq(9), "without a connection it moves as asked");
    }
}
