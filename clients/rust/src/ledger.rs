//! What was heard and what of it was dealt with: where to come back to, and what to keep. Pure.

/// The places in one feed.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The last place that was heard of: here the next connection resumes.
    heard: Option<u64>,
    /// Up to here everything is dealt with: here the next process resumes.
    kept: Option<u64>,
    /// The last thing that was given out, while it is not dealt with.
    owed: Option<u64>,
}

impl Ledger {
    /// Begins behind this place, which is known to be dealt with.
    pub(crate) fn begin(&mut self, at: u64) {
        *self = Self { heard: Some(at), kept: Some(at), owed: None };
    }

    /// Where a connection resumes; `None`: nothing has begun yet.
    pub(crate) fn resume_at(&self) -> Option<u64> {
        self.heard
    }

    /// What the next process may rely on.
    pub(crate) fn kept(&self) -> Option<u64> {
        self.kept
    }

    /// Gives out an event. False if it was given out before.
    #[must_use]
    pub(crate) fn give(&mut self, seq: u64) -> bool {
        let is_new = self.heard.is_none_or(|heard| seq > heard);
        if is_new {
            (self.heard, self.owed) = (Some(seq), Some(seq));
        }
        is_new
    }

    /// Gives out a gap, or the snapshot that a feed begins with: it goes on behind this place, which may lie before what
    /// was heard.
    pub(crate) fn give_place(&mut self, at: u64) {
        if self.heard.is_some_and(|heard| at < heard) {
            // What was dealt with is a place in a feed that is no more.
            self.kept = None;
        }
        (self.heard, self.owed) = (Some(at), Some(at));
    }

    /// Nothing up to here is for this subscription.
    pub(crate) fn pass(&mut self, at: u64) {
        if self.heard.is_some_and(|heard| at <= heard) {
            return;
        }
        self.heard = Some(at);
        if self.owed.is_none() {
            self.kept = Some(at);
        }
    }

    /// Everything up to here is dealt with.
    pub(crate) fn done(&mut self, seq: u64) {
        // What was not given out can't be done: a word about the feed before a gap comes late.
        if self.heard.is_none_or(|heard| seq > heard) || self.kept.is_some_and(|kept| seq <= kept) {
            return;
        }
        self.kept = Some(seq);
        if self.owed.is_some_and(|owed| seq >= owed) {
            self.owed = None;
            self.kept = self.heard;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(at: u64) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.begin(at);
        ledger
    }

    #[test]
    fn what_was_heard_and_not_dealt_with_is_not_kept() {
        let mut ledger = behind(4);
        assert!(ledger.give(5) && ledger.give(6));
        assert_eq!((ledger.resume_at(), ledger.kept()), (Some(6), Some(4)));
        ledger.done(5);
        assert_eq!(ledger.kept(), Some(5));
        ledger.done(6);
        assert_eq!(ledger.kept(), Some(6));
    }

    #[test]
    fn nothing_is_given_out_twice() {
        let mut ledger = behind(4);
        assert!(ledger.give(5));
        assert!(!ledger.give(5) && !ledger.give(3));
    }

    #[test]
    fn what_is_passed_is_kept_once_everything_before_it_is_dealt_with() {
        let mut ledger = behind(4);
        ledger.pass(9);
        assert_eq!(ledger.kept(), Some(9));
        assert!(ledger.give(10));
        ledger.pass(20);
        assert_eq!((ledger.resume_at(), ledger.kept()), (Some(20), Some(9)));
        ledger.done(10);
        assert_eq!(ledger.kept(), Some(20));
    }

    #[test]
    fn what_is_done_twice_or_out_of_order_takes_nothing_back() {
        let mut ledger = behind(4);
        assert!(ledger.give(5) && ledger.give(6));
        ledger.done(6);
        ledger.done(5);
        ledger.done(99);
        assert_eq!(ledger.kept(), Some(6));
    }

    #[test]
    fn a_feed_that_ends_before_the_cursor_goes_on_from_its_end() {
        let mut ledger = behind(500);
        ledger.give_place(41);
        assert_eq!((ledger.resume_at(), ledger.kept()), (Some(41), None));
        ledger.done(500);
        assert_eq!(ledger.kept(), None);
        ledger.done(41);
        assert_eq!(ledger.kept(), Some(41));
        assert!(ledger.give(42));
    }

    #[test]
    fn a_snapshot_is_not_kept_until_it_is_dealt_with() {
        let mut ledger = Ledger::default();
        ledger.give_place(41);
        assert_eq!((ledger.resume_at(), ledger.kept()), (Some(41), None));
        ledger.pass(43);
        assert_eq!((ledger.resume_at(), ledger.kept()), (Some(43), None));
        ledger.done(41);
        assert_eq!(ledger.kept(), Some(43));
    }

    #[test]
    fn behind_a_gap_the_feed_goes_on_from_its_oldest_event() {
        let mut ledger = behind(2);
        ledger.give_place(7);
        assert_eq!((ledger.resume_at(), ledger.kept()), (Some(7), Some(2)));
        assert!(ledger.give(8));
        ledger.done(8);
        assert_eq!(ledger.kept(), Some(8));
    }
}
