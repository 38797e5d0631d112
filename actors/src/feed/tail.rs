//! Events that another process has written: read from the store once for all readers of this process.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
};

use tokio::sync::Semaphore;
use tracing::debug;

use super::{Feed, Known};
use crate::{
    background::caught,
    error::StoreError,
    event::Frame,
    id::{Epoch, Seq},
    ports::EventLog,
};

/// How many events are read at a time.
const MAX_PAGE_FRAMES: usize = 1024;
/// After how many bytes a page is complete.
const MAX_PAGE_BYTES: usize = 512 << 10;

/// Reads on in a feed whenever another process announces new events.
#[derive(Default)]
pub(crate) struct Follower {
    /// The newest event that was announced.
    announced: AtomicI64,
    /// Whether a task reads.
    is_reading: AtomicBool,
}

impl Follower {
    /// Lets the readers of a feed have what another process has written, up to this event. `permits` limits how many feeds are
    /// read at a time. Must be called within a runtime.
    pub(crate) fn follow(
        self: &Arc<Self>,
        feed: &Arc<Feed>,
        log: &Arc<dyn EventLog>,
        permits: &Arc<Semaphore>,
        announced: Seq,
    ) {
        self.announced.fetch_max(announced.0, SeqCst);
        if announced <= feed.head() || self.is_reading.swap(true, SeqCst) {
            return;
        }
        let (follower, feed) = (Arc::clone(self), Arc::clone(feed));
        let (log, permits) = (Arc::clone(log), Arc::clone(permits));
        tokio::spawn(async move {
            if caught("feed tail", follower.read(&feed, &*log, &permits)).await.is_none() {
                // The next announcement begins again; until then, the session watch finds the events.
                follower.is_reading.store(false, SeqCst);
            }
        });
    }

    async fn read(&self, feed: &Feed, log: &dyn EventLog, permits: &Semaphore) {
        loop {
            let announced = self.announced.load(SeqCst);
            if feed.head().0 < announced {
                // An error is impossible: the semaphore is never closed.
                let _permit = permits.acquire().await;
                match feed.read_tail(log).await {
                    Ok(true) => continue,
                    Ok(false) => {}
                    // The session watch logs an outage, and finds the events after it.
                    Err(failure) => debug!(error = %failure, "announced events could not be read"),
                }
                // Announced from an earlier epoch, for instance: what is there, the session watch finds.
                let _ = self.announced.compare_exchange(announced, 0, SeqCst, SeqCst);
            }
            self.is_reading.store(false, SeqCst);
            // Something may have been announced since it was looked at last.
            if feed.head().0 >= self.announced.load(SeqCst) || self.is_reading.swap(true, SeqCst) {
                return;
            }
        }
    }
}

impl Feed {
    /// Reads the events after the head and publishes them to the readers. `false`: there were none, or the feed was reset.
    async fn read_tail(&self, log: &dyn EventLog) -> Result<bool, StoreError> {
        let (known, rewrites) = (self.known(), self.rewrites());
        let (epoch, frames) = log.tail(self.app_id, known.head, MAX_PAGE_FRAMES, MAX_PAGE_BYTES).await?;
        Ok(self.extend(known, rewrites, epoch, frames))
    }

    fn extend(&self, before: Known, rewrites: u64, epoch: Epoch, frames: Vec<Frame>) -> bool {
        let Some(newest) = frames.last().map(|frame| frame.seq) else { return false };
        // Locked first, as a reset does: no frame of another epoch may get in.
        let mut ring = self.ring.write();
        let mut is_current = true;
        self.known.send_if_modified(|known| {
            is_current = known.epoch == Some(epoch) && known.resets == before.resets;
            if is_current && self.rewrites() == rewrites {
                ring.extend(frames);
            }
            is_current && known.advance(newest)
        });
        is_current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AppId;

    const HERE: Epoch = Epoch(uuid::Uuid::from_u128(1));
    const THERE: Epoch = Epoch(uuid::Uuid::from_u128(2));

    fn frames(seqs: std::ops::RangeInclusive<i64>) -> Vec<Frame> {
        seqs.map(|seq| Frame::stored(Seq(seq), "call.ring", None, "{\"a\":1}").expect("an object")).collect()
    }

    #[test]
    fn what_another_process_has_written_is_in_memory_for_all_readers() {
        let feed = Feed::new(AppId::generate());
        feed.observe(feed.known(), HERE, Seq(4));
        let before = feed.known();
        assert!(feed.extend(before, feed.rewrites(), HERE, frames(5..=7)));
        assert_eq!(feed.head(), Seq(7));
        assert!(
            matches!(feed.after(Seq(4), 9, 1000), super::super::Slice::Frames(found) if found.len() == 3)
        );
        assert!(!feed.extend(before, feed.rewrites(), HERE, Vec::new()), "nothing was there");
    }

    #[test]
    fn events_of_another_epoch_are_not_mixed_in() {
        let feed = Feed::new(AppId::generate());
        feed.observe(feed.known(), HERE, Seq(4));
        let before = feed.known();
        assert!(!feed.extend(before, feed.rewrites(), THERE, frames(5..=7)));
        assert_eq!(feed.head(), Seq(4));
        feed.observe(before, THERE, Seq(6));
        assert!(!feed.extend(before, feed.rewrites(), HERE, frames(5..=7)), "it was read before the reset");
    }
}
