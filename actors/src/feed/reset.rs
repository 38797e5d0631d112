//! A feed that goes back in the store: after a backup is restored, or when a replica that lacks the last events takes over.
//!
//! A restore by the server's own command begins another epoch, which the next read of the store tells. Where the database
//! was restored by other means, the newest event is older than the one that this process knows to be durable. Then this
//! process begins another epoch, so that every client and every other process learns it.
//!
//! What the store says is compared with what was known *before* it was asked: an answer can be older than what was published
//! meanwhile.

use metrics::counter;
use tracing::warn;

use super::Feed;
use crate::{
    error::StoreError,
    id::{Epoch, Seq},
    ports::EventLog,
};

/// What a process knows of a feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The epoch. `None`: the store was not asked yet.
    pub(crate) epoch: Option<Epoch>,
    /// The newest event that is known to be durable.
    pub(crate) head: Seq,
    /// Where readers of an earlier epoch go on.
    pub(super) begin: Seq,
    /// How often the feed was reset. An app that keeps more of it in memory compares this.
    pub(crate) resets: u64,
}

impl Known {
    /// Moves the head forward. Returns whether it moved.
    pub(super) fn advance(&mut self, newest: Seq) -> bool {
        let is_further = newest > self.head;
        self.head = self.head.max(newest);
        is_further
    }
}

impl Feed {
    /// Returns what is known at this moment.
    #[must_use]
    pub fn known(&self) -> Known {
        *self.known.borrow()
    }

    /// Records the epoch and the newest event as the store has them. It was asked after `before` was known. `false`: the
    /// feed was reset meanwhile, so the answer may be outdated.
    pub fn observe(&self, before: Known, epoch: Epoch, head: Seq) -> bool {
        self.record(before, epoch, head, false)
    }

    /// Records the same, and begins another epoch if the feed has gone back without one. Returns the epoch; `None`: the feed
    /// was reset meanwhile, so the answer may be outdated.
    ///
    /// # Errors
    /// The store failed. Nothing is recorded; the next check finds the same.
    pub(crate) async fn check(
        &self,
        log: &dyn EventLog,
        before: Known,
        epoch: Epoch,
        head: Seq,
    ) -> Result<Option<Epoch>, StoreError> {
        let went_back = before.head > head;
        let is_same_epoch = before.epoch.is_none_or(|known| known == epoch);
        let epoch = if went_back && is_same_epoch { log.renew_epoch(epoch).await? } else { epoch };
        Ok(self.record(before, epoch, head, went_back).then_some(epoch))
    }

    fn record(&self, before: Known, epoch: Epoch, head: Seq, went_back: bool) -> bool {
        let (mut is_current, mut is_reset) = (true, false);
        // Locked first: no reader may get a frame of the earlier epoch once it knows the new one.
        let mut ring = self.ring.write();
        self.known.send_if_modified(|known| {
            if known.epoch != before.epoch {
                is_current = false;
                return false;
            }
            is_reset = went_back || known.epoch.is_some_and(|known| known != epoch);
            if is_reset {
                *known = Known { epoch: Some(epoch), head, begin: head, resets: known.resets + 1 };
                ring.clear();
                self.snapshots.forget();
                return true;
            }
            known.epoch = Some(epoch);
            known.advance(head)
        });
        drop(ring);
        if is_reset {
            counter!("cti_feed_resets_total").increment(1);
            warn!(
                app.id = %self.app_id(), known_seq = %before.head, seq = %head, %epoch,
                "a feed has gone back in the database, or it was restored: its readers get a gap"
            );
        }
        is_current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AppId;

    const HERE: Epoch = Epoch(uuid::Uuid::from_u128(1));
    const THERE: Epoch = Epoch(uuid::Uuid::from_u128(2));

    #[test]
    fn an_answer_that_is_older_than_what_was_published_meanwhile_is_no_reset() {
        let feed = Feed::new(AppId::generate());
        assert!(feed.observe(feed.known(), HERE, Seq(5)));
        let asked = feed.known();
        feed.advance(Seq(7));
        assert!(feed.record(asked, HERE, Seq(5), false));
        assert_eq!((feed.head(), feed.known().resets), (Seq(7), 0));
    }

    #[test]
    fn the_first_answer_is_no_reset_and_another_epoch_is() {
        let feed = Feed::new(AppId::generate());
        feed.advance(Seq(7));
        assert!(feed.observe(feed.known(), HERE, Seq(7)));
        assert_eq!(feed.known().resets, 0);
        assert!(feed.observe(feed.known(), THERE, Seq(9)));
        assert_eq!(feed.known(), Known { epoch: Some(THERE), head: Seq(9), begin: Seq(9), resets: 1 });
    }

    #[test]
    fn two_answers_that_tell_the_same_reset_cause_one() {
        let feed = Feed::new(AppId::generate());
        feed.observe(feed.known(), HERE, Seq(9));
        let asked = feed.known();
        assert!(feed.record(asked, THERE, Seq(4), true));
        feed.advance(Seq(5));
        assert!(!feed.record(asked, THERE, Seq(4), true), "it may be outdated");
        assert_eq!(feed.known(), Known { epoch: Some(THERE), head: Seq(5), begin: Seq(4), resets: 1 });
    }
}
