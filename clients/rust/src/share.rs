//! What one of several connections that share a consumer was given, and has dealt with. Pure.
//!
//! Here places are not in order: what another connection had and did not deal with comes later. The server counts an
//! acknowledgement for all that it gave to this connection before, so only what is done from the front is acknowledged.

use std::collections::{HashSet, VecDeque};

/// How many events are remembered as done, to know them again should their acknowledgement have been lost.
const REMEMBERED: usize = 20_000;

/// The events of one feed.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// Given by this connection and not acknowledged on it.
    given: VecDeque<u64>,
    /// Given out and not dealt with, whichever connection gave it.
    owed: VecDeque<u64>,
    /// All that was given out, as far as it is remembered.
    known: HashSet<u64>,
    /// Dealt with, the oldest first.
    done: VecDeque<u64>,
    /// The last one that was acknowledged.
    acknowledged: Option<u64>,
}

impl Share {
    /// A new connection: the server knows nothing of what the old one had.
    pub(crate) fn begin(&mut self) {
        self.given.clear();
    }

    /// Gives out an event. False if it was given out before.
    #[must_use]
    pub(crate) fn give(&mut self, seq: u64) -> bool {
        self.given.push_back(seq);
        let is_new = self.known.insert(seq);
        if is_new {
            self.owed.push_back(seq);
        }
        is_new
    }

    /// This event is dealt with, and all that were given out before it.
    pub(crate) fn done(&mut self, seq: u64) {
        let Some(place) = self.owed.iter().position(|owed| *owed == seq) else { return };
        self.done.extend(self.owed.drain(..=place));
        while self.done.len() > REMEMBERED {
            if let Some(forgotten) = self.done.pop_front() {
                self.known.remove(&forgotten);
            }
        }
    }

    /// The last event that can be acknowledged.
    pub(crate) fn acknowledged(&mut self) -> Option<u64> {
        if let Some(first_owed) = self.owed.front() {
            // Mostly nothing is done out of order: what is owed was given last.
            let done =
                self.given.iter().take_while(|given| *given != first_owed && !self.owed.contains(given));
            let done = done.count();
            self.acknowledged = self.given.drain(..done).next_back().or(self.acknowledged);
        } else {
            self.acknowledged = self.given.drain(..).next_back().or(self.acknowledged);
        }
        self.acknowledged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_acknowledged_from_the_front() {
        let mut share = Share::default();
        assert!(share.give(9) && share.give(4) && share.give(12));
        assert_eq!(share.acknowledged(), None);
        share.done(4);
        assert_eq!(share.acknowledged(), Some(4), "in the order in which they were given");
        share.done(12);
        assert_eq!(share.acknowledged(), Some(12));
    }

    #[test]
    fn what_a_lost_connection_had_given_is_given_out_once_and_acknowledged_on_the_next_one() {
        let mut share = Share::default();
        assert!(share.give(1) && share.give(2));
        share.done(1);
        // The acknowledgement is lost with the connection.
        share.begin();
        assert!(!share.give(1) && !share.give(2) && share.give(3));
        assert_eq!(share.acknowledged(), Some(1));
        share.done(3);
        assert_eq!(share.acknowledged(), Some(3), "2 was given out before 3");
    }

    #[test]
    fn an_earlier_event_that_another_connection_left_is_new_here() {
        let mut share = Share::default();
        assert!(share.give(50));
        share.done(50);
        assert!(share.give(7));
        share.done(7);
        assert_eq!(share.acknowledged(), Some(7));
    }

    #[test]
    fn what_was_never_given_is_not_done() {
        let mut share = Share::default();
        assert!(share.give(5));
        share.done(6);
        assert_eq!(share.acknowledged(), None);
    }

    #[test]
    fn what_was_done_long_ago_is_forgotten() {
        let mut share = Share::default();
        for seq in 0..30_000 {
            assert!(share.give(seq));
            share.done(seq);
            assert_eq!(share.acknowledged(), Some(seq));
        }
        assert_eq!((share.known.len(), share.done.len(), share.given.len()), (REMEMBERED, REMEMBERED, 0));
    }
}
