//! The progress of a feed: with a consumer of its own in the order of `seq`, or sharing a consumer, where other connections
//! receive the rest. Pure.

use crate::cursor::Cursor;
use crate::ledger::Ledger;
use crate::shared_ledger::SharedLedger;

/// The progress of a feed.
#[derive(Debug)]
pub(crate) struct Tracker {
    progress: Progress,
    /// The epoch of all its numbers.
    epoch: Option<String>,
    /// Whether the caller has not received yet that the epoch changed: what it acknowledges is of the earlier one.
    change_is_queued: bool,
}

#[derive(Debug)]
enum Progress {
    Exclusive(Ledger),
    Shared(SharedLedger),
}

impl Tracker {
    pub(crate) fn exclusive() -> Self {
        Self::new(Progress::Exclusive(Ledger::default()))
    }

    pub(crate) fn shared() -> Self {
        Self::new(Progress::Shared(SharedLedger::default()))
    }

    fn new(progress: Progress) -> Self {
        Self { progress, epoch: None, change_is_queued: false }
    }

    /// Returns the epoch.
    pub(crate) fn epoch(&self) -> Option<&str> {
        self.epoch.as_deref()
    }

    /// Records the epoch of the snapshot that the feed starts with.
    pub(crate) fn set_epoch(&mut self, epoch: Option<String>) {
        self.epoch = epoch;
    }

    /// Starts after this event, up to which everything is processed.
    pub(crate) fn start_after(&mut self, cursor: Cursor) {
        if let Progress::Exclusive(ledger) = &mut self.progress {
            ledger.start_after(cursor.seq);
        }
        self.epoch = cursor.epoch;
    }

    /// Records a new connection that asked to resume after `after`. `epoch` is that of the feed, `head` the newest event,
    /// `acked` the consumer's cursor on the server, `is_first` whether it is the feed's first connection.
    pub(crate) fn connected(
        &mut self,
        after: Option<&Cursor>,
        epoch: Option<String>,
        head: u64,
        acked: Option<u64>,
        is_first: bool,
    ) {
        let is_other = self.epoch.is_some() && self.epoch != epoch;
        match (&mut self.progress, acked) {
            (Progress::Shared(ledger), _) => ledger.new_connection(),
            // The server's cursor counts until there may be acknowledgements that it has not received. Those of another
            // epoch do not count.
            (Progress::Exclusive(ledger), Some(acked)) if is_first || is_other => ledger.start_after(acked),
            // From here on nothing may be missed, even if the connection breaks before the first event.
            (Progress::Exclusive(ledger), _) if after.is_none() => ledger.start_after(head),
            (Progress::Exclusive(_), _) => {}
        }
        // A cursor of another epoch is announced by a gap, and keeps its epoch until then.
        if acked.is_some() || after.is_none_or(|after| after.epoch.is_none()) {
            self.epoch = epoch;
        }
    }

    /// Returns the event after which a connection resumes; `None`: the server decides.
    pub(crate) fn resume_after(&self) -> Option<Cursor> {
        match &self.progress {
            Progress::Exclusive(ledger) => self.cursor(ledger.resume_after()),
            Progress::Shared(_) => None,
        }
    }

    /// Returns the last event to save or to acknowledge.
    pub(crate) fn acked(&mut self) -> Option<Cursor> {
        let acked = match &mut self.progress {
            Progress::Exclusive(ledger) => ledger.acked(),
            Progress::Shared(ledger) => ledger.acked(),
        };
        self.cursor(acked)
    }

    fn cursor(&self, seq: Option<u64>) -> Option<Cursor> {
        seq.map(|seq| Cursor { epoch: self.epoch.clone(), seq })
    }

    /// Records an event that is delivered. Returns `false` if it was delivered before.
    #[must_use]
    pub(crate) fn deliver(&mut self, seq: u64) -> bool {
        match &mut self.progress {
            Progress::Exclusive(ledger) => ledger.deliver(seq),
            Progress::Shared(ledger) => ledger.deliver(seq),
        }
    }

    /// Records a gap or a snapshot that is delivered: the feed continues after `at`.
    pub(crate) fn jump_to(&mut self, at: u64) {
        match &mut self.progress {
            Progress::Exclusive(ledger) => ledger.jump_to(at),
            // Every connection of a shared consumer receives a gap; none has to acknowledge it.
            Progress::Shared(_) => {}
        }
    }

    /// Records that the epoch has changed, which is about to be delivered: the feed continues after `at` in this epoch.
    pub(crate) fn change_epoch(&mut self, epoch: Option<String>, at: u64) {
        match &mut self.progress {
            Progress::Exclusive(ledger) => ledger.change_epoch(at),
            // The same numbers are other events.
            Progress::Shared(ledger) => *ledger = SharedLedger::default(),
        }
        self.epoch = epoch;
        self.change_is_queued = true;
    }

    /// Records that the caller has received that the epoch changed.
    pub(crate) fn change_taken(&mut self) {
        self.change_is_queued = false;
    }

    /// Records that no event up to `at` matches the subscription.
    pub(crate) fn skip_to(&mut self, at: u64) {
        match &mut self.progress {
            Progress::Exclusive(ledger) => ledger.skip_to(at),
            Progress::Shared(_) => {}
        }
    }

    /// Records that everything up to this event is processed.
    pub(crate) fn ack(&mut self, seq: u64) {
        if self.change_is_queued {
            return;
        }
        match &mut self.progress {
            Progress::Exclusive(ledger) => ledger.ack(seq),
            Progress::Shared(ledger) => ledger.ack(seq),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "018cc4e0-7d2b-4c55-9f21-6a7b8c9d0e1f";
    const NEW: &str = "018cc4e0-7d2b-4c55-9f21-6a7b8c9d0e20";

    fn cursor(epoch: &str, seq: u64) -> Option<Cursor> {
        Some(Cursor { epoch: Some(epoch.to_owned()), seq })
    }

    fn following(after: Option<Cursor>) -> Tracker {
        let mut tracker = Tracker::exclusive();
        if let Some(after) = after.clone() {
            tracker.start_after(after);
        }
        tracker.connected(after.as_ref(), Some(OLD.to_owned()), 9, None, true);
        tracker
    }

    #[test]
    fn a_cursor_without_an_epoch_gets_that_of_the_feed() {
        assert_eq!(following(None).resume_after(), cursor(OLD, 9));
        assert_eq!(following(Some(4.into())).acked(), cursor(OLD, 4));
    }

    #[test]
    fn a_cursor_of_another_epoch_keeps_it_until_the_change_is_processed() {
        let mut tracker = following(cursor(NEW, 4));
        assert_eq!(tracker.acked(), cursor(NEW, 4));
        tracker.change_epoch(Some(OLD.to_owned()), 9);
        assert_eq!((tracker.resume_after(), tracker.acked()), (cursor(OLD, 9), None));
        tracker.change_taken();
        tracker.ack(9);
        assert_eq!(tracker.acked(), cursor(OLD, 9));
    }

    #[test]
    fn what_the_caller_acknowledges_before_it_receives_the_change_is_of_the_earlier_epoch() {
        let mut tracker = following(None);
        assert!(tracker.deliver(10) && tracker.deliver(11));
        tracker.change_epoch(Some(NEW.to_owned()), 4);
        assert!(tracker.deliver(5) && (6..=12).all(|seq| tracker.deliver(seq)));
        tracker.ack(10);
        assert_eq!(tracker.acked(), None);
        tracker.change_taken();
        tracker.ack(5);
        assert_eq!(tracker.acked(), cursor(NEW, 5));
    }

    #[test]
    fn a_consumers_acknowledgements_of_an_earlier_epoch_do_not_count() {
        let mut tracker = Tracker::exclusive();
        tracker.connected(None, Some(OLD.to_owned()), 9, Some(7), true);
        assert!(tracker.deliver(8) && tracker.deliver(9));
        tracker.ack(9);
        tracker.connected(cursor(OLD, 9).as_ref(), Some(NEW.to_owned()), 20, Some(6), false);
        assert_eq!(tracker.acked(), cursor(NEW, 6));
        assert!(tracker.deliver(7));
    }

    #[test]
    fn numbers_that_come_again_in_another_epoch_are_delivered_to_a_shared_consumer() {
        let mut tracker = Tracker::shared();
        tracker.connected(None, Some(OLD.to_owned()), 9, Some(7), true);
        assert!(tracker.deliver(8) && !tracker.deliver(8));
        tracker.change_epoch(Some(NEW.to_owned()), 7);
        assert!(tracker.deliver(8));
    }
}
