//! The progress of a feed in the order of `seq`: where to resume, and what to save. Pure.

/// The progress of one feed.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The last position that was received: the next connection resumes here.
    received: Option<u64>,
    /// Everything up to here is processed: the next process resumes here.
    acked: Option<u64>,
    /// The last delivered item, while it is not acknowledged.
    pending: Option<u64>,
}

impl Ledger {
    /// Starts after this event, up to which everything is processed.
    pub(crate) fn start_after(&mut self, at: u64) {
        *self = Self { received: Some(at), acked: Some(at), pending: None };
    }

    /// Returns the event after which a connection resumes; `None` before the start.
    pub(crate) fn resume_after(&self) -> Option<u64> {
        self.received
    }

    /// Returns the event up to which everything is processed.
    pub(crate) fn acked(&self) -> Option<u64> {
        self.acked
    }

    /// Records an event that is delivered. Returns `false` if it was delivered before.
    #[must_use]
    pub(crate) fn deliver(&mut self, seq: u64) -> bool {
        let is_new = self.received.is_none_or(|received| seq > received);
        if is_new {
            self.received = Some(seq);
            self.pending = Some(seq);
        }
        is_new
    }

    /// Records a gap or the initial snapshot that is delivered: the feed continues after `at`, which may be lower than what
    /// was received.
    pub(crate) fn jump_to(&mut self, at: u64) {
        if self.received.is_some_and(|received| at < received) {
            // The cursor refers to a feed that no longer exists.
            self.acked = None;
        }
        self.received = Some(at);
        self.pending = Some(at);
    }

    /// Records a change of the epoch that is delivered: the feed continues after `at` in another epoch, in which nothing is
    /// processed yet.
    pub(crate) fn change_epoch(&mut self, at: u64) {
        *self = Self { received: Some(at), acked: None, pending: Some(at) };
    }

    /// Records that no event up to `at` matches the subscription.
    pub(crate) fn skip_to(&mut self, at: u64) {
        if self.received.is_some_and(|received| at <= received) {
            return;
        }
        self.received = Some(at);
        if self.pending.is_none() {
            self.acked = Some(at);
        }
    }

    /// Records that everything up to this event is processed.
    pub(crate) fn ack(&mut self, seq: u64) {
        // An event that was not delivered can't be acknowledged: this one belongs to the feed before a gap.
        if self.received.is_none_or(|received| seq > received) || self.acked.is_some_and(|acked| seq <= acked)
        {
            return;
        }
        self.acked = Some(seq);
        if self.pending.is_some_and(|pending| seq >= pending) {
            self.pending = None;
            self.acked = self.received;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starting_after(at: u64) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.start_after(at);
        ledger
    }

    #[test]
    fn received_events_are_not_acked_until_they_are_processed() {
        let mut ledger = starting_after(4);
        assert!(ledger.deliver(5) && ledger.deliver(6));
        assert_eq!((ledger.resume_after(), ledger.acked()), (Some(6), Some(4)));
        ledger.ack(5);
        assert_eq!(ledger.acked(), Some(5));
        ledger.ack(6);
        assert_eq!(ledger.acked(), Some(6));
    }

    #[test]
    fn no_event_is_delivered_twice() {
        let mut ledger = starting_after(4);
        assert!(ledger.deliver(5));
        assert!(!ledger.deliver(5) && !ledger.deliver(3));
    }

    #[test]
    fn skipped_events_are_acked_once_everything_before_them_is_processed() {
        let mut ledger = starting_after(4);
        ledger.skip_to(9);
        assert_eq!(ledger.acked(), Some(9));
        assert!(ledger.deliver(10));
        ledger.skip_to(20);
        assert_eq!((ledger.resume_after(), ledger.acked()), (Some(20), Some(9)));
        ledger.ack(10);
        assert_eq!(ledger.acked(), Some(20));
    }

    #[test]
    fn repeated_and_unordered_acks_do_not_move_the_cursor_back() {
        let mut ledger = starting_after(4);
        assert!(ledger.deliver(5) && ledger.deliver(6));
        ledger.ack(6);
        ledger.ack(5);
        ledger.ack(99);
        assert_eq!(ledger.acked(), Some(6));
    }

    #[test]
    fn a_feed_that_ends_before_the_cursor_continues_from_its_end() {
        let mut ledger = starting_after(500);
        ledger.jump_to(41);
        assert_eq!((ledger.resume_after(), ledger.acked()), (Some(41), None));
        ledger.ack(500);
        assert_eq!(ledger.acked(), None);
        ledger.ack(41);
        assert_eq!(ledger.acked(), Some(41));
        assert!(ledger.deliver(42));
    }

    #[test]
    fn a_snapshot_is_not_acked_until_it_is_processed() {
        let mut ledger = Ledger::default();
        ledger.jump_to(41);
        assert_eq!((ledger.resume_after(), ledger.acked()), (Some(41), None));
        ledger.skip_to(43);
        assert_eq!((ledger.resume_after(), ledger.acked()), (Some(43), None));
        ledger.ack(41);
        assert_eq!(ledger.acked(), Some(43));
    }

    #[test]
    fn after_a_gap_the_feed_continues_with_its_oldest_event() {
        let mut ledger = starting_after(2);
        ledger.jump_to(7);
        assert_eq!((ledger.resume_after(), ledger.acked()), (Some(7), Some(2)));
        assert!(ledger.deliver(8));
        ledger.ack(8);
        assert_eq!(ledger.acked(), Some(8));
    }
}
