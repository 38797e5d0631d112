//! The progress of one of several connections that share a consumer. Pure.
//!
//! Events do not come in the order of `seq`: those that another connection did not acknowledge come later. An
//! acknowledgement counts for all events that this connection received before, so only a processed prefix is acknowledged.

use std::collections::{HashSet, VecDeque};

/// How many processed events are remembered, to recognize them if their acknowledgement was lost.
const MAX_REMEMBERED: usize = 20_000;

/// The progress of one feed.
#[derive(Debug, Default)]
pub(crate) struct SharedLedger {
    /// Received on this connection and not acknowledged.
    received: VecDeque<u64>,
    /// Delivered and not processed, on any connection.
    pending: VecDeque<u64>,
    /// Every delivered event that is remembered.
    seen: HashSet<u64>,
    /// Processed events, oldest first.
    done: VecDeque<u64>,
    /// The last acknowledged event.
    last_acked: Option<u64>,
}

impl SharedLedger {
    /// Records a new connection: the server does not know what the old one received.
    pub(crate) fn new_connection(&mut self) {
        self.received.clear();
    }

    /// Records an event that is delivered. Returns `false` if it was delivered before.
    #[must_use]
    pub(crate) fn deliver(&mut self, seq: u64) -> bool {
        self.received.push_back(seq);
        let is_new = self.seen.insert(seq);
        if is_new {
            self.pending.push_back(seq);
        }
        is_new
    }

    /// Records that this event, and all that were delivered before it, are processed.
    pub(crate) fn ack(&mut self, seq: u64) {
        let Some(position) = self.pending.iter().position(|pending| *pending == seq) else { return };
        self.done.extend(self.pending.drain(..=position));
        while self.done.len() > MAX_REMEMBERED {
            if let Some(oldest) = self.done.pop_front() {
                self.seen.remove(&oldest);
            }
        }
    }

    /// Returns the last event that can be acknowledged.
    pub(crate) fn acked(&mut self) -> Option<u64> {
        let processed = match self.pending.front() {
            // Events are mostly processed in order: the pending ones are the last received.
            Some(first) => {
                let is_processed = |seq: &&u64| *seq != first && !self.pending.contains(seq);
                self.received.iter().take_while(is_processed).count()
            }
            None => self.received.len(),
        };
        self.last_acked = self.received.drain(..processed).next_back().or(self.last_acked);
        self.last_acked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processed_prefix_is_acknowledged() {
        let mut ledger = SharedLedger::default();
        assert!(ledger.deliver(9) && ledger.deliver(4) && ledger.deliver(12));
        assert_eq!(ledger.acked(), None);
        ledger.ack(4);
        assert_eq!(ledger.acked(), Some(4), "in the order of delivery");
        ledger.ack(12);
        assert_eq!(ledger.acked(), Some(12));
    }

    #[test]
    fn events_of_a_lost_connection_are_delivered_once_and_acknowledged_on_the_next_one() {
        let mut ledger = SharedLedger::default();
        assert!(ledger.deliver(1) && ledger.deliver(2));
        ledger.ack(1);
        // The acknowledgement is lost with the connection.
        ledger.new_connection();
        assert!(!ledger.deliver(1) && !ledger.deliver(2) && ledger.deliver(3));
        assert_eq!(ledger.acked(), Some(1));
        ledger.ack(3);
        assert_eq!(ledger.acked(), Some(3), "2 was delivered before 3");
    }

    #[test]
    fn an_earlier_event_of_another_connection_is_new_here() {
        let mut ledger = SharedLedger::default();
        assert!(ledger.deliver(50));
        ledger.ack(50);
        assert!(ledger.deliver(7));
        ledger.ack(7);
        assert_eq!(ledger.acked(), Some(7));
    }

    #[test]
    fn an_event_that_was_not_delivered_is_not_acknowledged() {
        let mut ledger = SharedLedger::default();
        assert!(ledger.deliver(5));
        ledger.ack(6);
        assert_eq!(ledger.acked(), None);
    }

    #[test]
    fn old_events_are_forgotten() {
        let mut ledger = SharedLedger::default();
        for seq in 0..30_000 {
            assert!(ledger.deliver(seq));
            ledger.ack(seq);
            assert_eq!(ledger.acked(), Some(seq));
        }
        assert_eq!(
            (ledger.seen.len(), ledger.done.len(), ledger.received.len()),
            (MAX_REMEMBERED, MAX_REMEMBERED, 0)
        );
    }
}
