//! A reader of a feed: a cursor, a filter, and where to get the next frames from.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep},
};

use super::{Checked, Feed, Known, Slice};
use crate::{
    error::StoreError,
    event::{Filter, Frame},
    id::{Epoch, Seq},
    ports::{Bounds, EventLog, GapTimes},
};

/// How many frames a reader takes at a time. A socket that has stopped draining holds on to one batch.
const MAX_BATCH_FRAMES: usize = 64;
/// After how many bytes a batch is complete.
const MAX_BATCH_BYTES: usize = 16 << 10;
/// How many frames are read from the store at a time.
const MAX_PAGE_FRAMES: usize = 256;
/// After how many bytes a page is complete.
const MAX_PAGE_BYTES: usize = 128 << 10;

/// Follows a feed from a cursor, through the stored events to the live ones, without holes and without repeats.
pub struct FeedReader {
    feed: Arc<Feed>,
    log: Arc<dyn EventLog>,
    filter: Filter,
    cursor: Seq,
    /// The epoch of the cursor.
    epoch: Option<Epoch>,
    wake: watch::Receiver<Known>,
}

/// The next frames of a reader.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The frames that the filter admits, in order. Can be empty.
    pub frames: Vec<Frame>,
    /// The cursor after the batch, skipped frames included.
    pub cursor: Seq,
    /// The events before this batch that are missing.
    pub gap: Option<Missing>,
}

/// Events that a reader missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// They are no longer kept.
    Expired {
        /// The first of them.
        first: Seq,
        /// The last of them.
        last: Seq,
        /// When they were emitted.
        times: GapTimes,
    },
    /// The feed was reset: which ones are missing is not known.
    EpochChanged(Bounds),
}

impl FeedReader {
    /// Returns a reader of the events after `after`.
    #[must_use]
    pub fn new(feed: Arc<Feed>, log: Arc<dyn EventLog>, after: Seq, filter: Filter) -> Self {
        let wake = feed.watch();
        let epoch = wake.borrow().epoch;
        Self { feed, log, filter, cursor: after, epoch, wake }
    }

    /// Says that the cursor belongs to this epoch, and not to the one that the feed is known to have.
    pub(crate) fn in_epoch(mut self, epoch: Epoch) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// Returns when the feed was last compared with the store.
    pub(crate) fn checked(&self) -> Option<Checked> {
        self.feed.checked()
    }

    /// Moves the cursor, forward or back.
    pub(crate) fn seek(&mut self, after: Seq) {
        self.cursor = after;
    }

    /// Returns the next frames; waits while there are none. `None`: the feed has ended. Dropping the future loses
    /// nothing, because the cursor moves only when a batch is returned.
    ///
    /// # Errors
    /// The store could not be read. The cursor has not moved; calling again is right.
    pub async fn next(&mut self) -> Result<Option<Batch>, StoreError> {
        loop {
            // Marked as seen before looking: what is published after the look wakes the wait below.
            let known = *self.wake.borrow_and_update();
            if self.is_outdated(known) {
                return self.follow_reset().await.map(Some);
            }
            match self.feed.after(self.cursor, MAX_BATCH_FRAMES, MAX_BATCH_BYTES) {
                // They may be of another epoch.
                _ if self.feed.known().resets != known.resets => continue,
                Slice::Frames(frames) => return Ok(Some(self.advance(frames, None))),
                Slice::Behind => match self.read_store().await? {
                    // The page as well.
                    _ if self.feed.known().resets != known.resets => continue,
                    Stored::Frames(frames) => {
                        let gap = self.gap_before(&frames).await?;
                        return Ok(Some(self.advance(frames, gap)));
                    }
                    Stored::Expired(last) => {
                        let gap = self.gap_until(last).await?;
                        self.cursor = last;
                        return Ok(Some(Batch { frames: Vec::new(), cursor: last, gap: Some(gap) }));
                    }
                    Stored::Nothing => {}
                },
                Slice::UpToDate => {}
            }
            if self.wake.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Waits until the feed is reset, and returns the gap. `None`: the feed has ended.
    ///
    /// # Errors
    /// The store could not be read. Calling again is right.
    pub(crate) async fn reset(&mut self) -> Result<Option<Batch>, StoreError> {
        loop {
            let known = *self.wake.borrow_and_update();
            if self.is_outdated(known) {
                return self.follow_reset().await.map(Some);
            }
            if self.wake.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Whether the cursor belongs to an earlier epoch.
    fn is_outdated(&mut self, known: Known) -> bool {
        if self.epoch.is_none() {
            self.epoch = known.epoch;
        }
        known.epoch.is_some() && self.epoch != known.epoch
    }

    /// Moves the cursor to where readers of earlier epochs go on.
    async fn follow_reset(&mut self) -> Result<Batch, StoreError> {
        let bounds = self.log.bounds(self.feed.app_id()).await?;
        let known = self.feed.known();
        self.epoch = known.epoch;
        self.cursor = known.begin;
        let epoch = known.epoch.unwrap_or(bounds.epoch);
        let bounds = Bounds { epoch, head: bounds.head.max(known.begin), ..bounds };
        Ok(Batch { frames: Vec::new(), cursor: self.cursor, gap: Some(Missing::EpochChanged(bounds)) })
    }

    /// Reads the events after the cursor from the store, in a task of its own: the task holds one of few permits, and a
    /// reader whose client takes nothing is not polled.
    async fn read_store(&self) -> Result<Stored, StoreError> {
        let reading = read_store(Arc::clone(&self.feed), Arc::clone(&self.log), self.cursor);
        let interrupted = |_| StoreError::Unavailable("the feed could not be read".into());
        tokio::spawn(reading).await.map_err(interrupted)?
    }

    async fn gap_before(&self, frames: &[Frame]) -> Result<Option<Missing>, StoreError> {
        match frames.first() {
            Some(first) if first.seq > self.cursor.next() => {
                self.gap_until(Seq(first.seq.0 - 1)).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Returns the gap from the cursor to the last event that is no longer kept.
    async fn gap_until(&self, last: Seq) -> Result<Missing, StoreError> {
        let first = self.cursor.next();
        let times = self.log.gap_times(self.feed.app_id(), first).await?;
        Ok(Missing::Expired { first, last, times })
    }

    fn advance(&mut self, mut frames: Vec<Frame>, gap: Option<Missing>) -> Batch {
        if let Some(last) = frames.last() {
            self.cursor = last.seq;
        }
        frames.retain(|frame| self.filter.admits(frame));
        Batch { frames, cursor: self.cursor, gap }
    }
}

/// What the store has after a cursor.
enum Stored {
    Frames(Vec<Frame>),
    /// Nothing is kept up to here.
    Expired(Seq),
    Nothing,
}

async fn read_store(feed: Arc<Feed>, log: Arc<dyn EventLog>, cursor: Seq) -> Result<Stored, StoreError> {
    let permit = feed.read_permit().await;
    // The reader that had the permit before may have read the same.
    if let Slice::Frames(frames) = feed.after(cursor, MAX_BATCH_FRAMES, MAX_BATCH_BYTES) {
        return Ok(Stored::Frames(frames));
    }
    let began_at = Instant::now();
    let epoch = feed.known().epoch;
    let rewrites = feed.rewrites();
    let page = log.page_within(feed.app_id(), cursor, MAX_PAGE_FRAMES, MAX_PAGE_BYTES).await?;
    if let Some(last) = page.last() {
        if last.seq < feed.head() {
            release_after(permit, began_at.elapsed());
        }
        feed.share(epoch, &page, rewrites);
        return Ok(Stored::Frames(page));
    }
    // Not the head: an event may have been published since the page was read.
    let last_expired = Seq(log.bounds(feed.app_id()).await?.oldest.0 - 1);
    Ok(if last_expired > cursor { Stored::Expired(last_expired) } else { Stored::Nothing })
}

/// Releases a permit a while later. A reader with much to catch up on would otherwise take all that the machine has, and
/// those who follow live events would wait.
fn release_after(permit: Option<OwnedSemaphorePermit>, delay: Duration) {
    tokio::spawn(async move {
        sleep(delay).await;
        drop(permit);
    });
}
