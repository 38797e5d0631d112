//! A reader of a feed: a cursor, a filter, and where to get the next frames from.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::sleep,
};

use super::{Feed, Slice};
use crate::event::{Filter, Frame};
use crate::{error::StoreError, id::Seq, ports::EventLog};

/// How many frames a reader takes at a time. One batch is what a socket that has stopped draining holds on to.
const BATCH_FRAMES: usize = 64;
/// After how many bytes a batch is complete.
const BATCH_BYTES: usize = 16 << 10;
/// How many frames are read from the store at a time.
const PAGE: usize = 256;
/// After how many bytes a page is complete.
const PAGE_BYTES: usize = 128 << 10;

/// Follows a feed from a cursor, through the past and into the present, without holes and without repeats.
pub struct FeedReader {
    feed: Arc<Feed>,
    log: Arc<dyn EventLog>,
    filter: Filter,
    cursor: Seq,
    wake: watch::Receiver<Seq>,
}

/// The next frames of a reader.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Those that the filter admits, in order. May be empty when all were filtered out.
    pub frames: Vec<Frame>,
    /// The cursor behind the batch, filtered frames included.
    pub cursor: Seq,
    /// Events between the old cursor and this batch that are no longer kept: the first and the last of them.
    pub gap: Option<(Seq, Seq)>,
}

impl FeedReader {
    /// A reader that has everything up to and including `after`.
    #[must_use]
    pub fn new(feed: Arc<Feed>, log: Arc<dyn EventLog>, after: Seq, filter: Filter) -> Self {
        let wake = feed.watch();
        Self { feed, log, filter, cursor: after, wake }
    }

    /// Goes on behind this place, which may lie before what it has read.
    pub(crate) fn seek(&mut self, after: Seq) {
        self.cursor = after;
    }

    /// The next frames; waits while there are none. `None` when the feed is gone. Dropping the future loses
    /// nothing: the cursor moves only when a batch is returned.
    ///
    /// # Errors
    /// The store could not be read. The cursor has not moved; asking again is right.
    pub async fn next(&mut self) -> Result<Option<Batch>, StoreError> {
        loop {
            // Marked as seen before looking: what is published after the look wakes the wait below.
            self.wake.borrow_and_update();
            match self.feed.after(self.cursor, BATCH_FRAMES, BATCH_BYTES) {
                Slice::Frames(frames) => return Ok(Some(self.advance(frames))),
                Slice::Behind => match self.look_back().await? {
                    Past::Frames(frames) => return Ok(Some(self.advance(frames))),
                    Past::Gone(last) => {
                        let gap = Some((self.cursor.next(), last));
                        self.cursor = last;
                        return Ok(Some(Batch { frames: Vec::new(), cursor: last, gap }));
                    }
                    Past::Nothing => {}
                },
                Slice::UpToDate => {}
            }
            if self.wake.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Reads what lies behind the cursor from the store. A task of its own does it: it holds one of few places, and a
    /// reader whose client takes nothing is not run.
    async fn look_back(&self) -> Result<Past, StoreError> {
        let looking = look_back(Arc::clone(&self.feed), Arc::clone(&self.log), self.cursor);
        let interrupted = |_| StoreError::Unavailable("the feed could not be read".into());
        tokio::spawn(looking).await.map_err(interrupted)?
    }

    fn advance(&mut self, frames: Vec<Frame>) -> Batch {
        let expected = self.cursor.next();
        let gap =
            frames.first().filter(|first| first.seq > expected).map(|first| (expected, Seq(first.seq.0 - 1)));
        if let Some(last) = frames.last() {
            self.cursor = last.seq;
        }
        let mut frames = frames;
        frames.retain(|frame| self.filter.admits(frame));
        Batch { frames, cursor: self.cursor, gap }
    }
}

/// What lies behind a cursor.
enum Past {
    Frames(Vec<Frame>),
    /// Everything up to here has outlived its retention.
    Gone(Seq),
    Nothing,
}

/// Keeps a place for a while. Who has much to read would otherwise take whatever the machine has to give, and those who
/// listen to what happens now would wait.
fn rest(place: Option<OwnedSemaphorePermit>, time: Duration) {
    tokio::spawn(async move {
        sleep(time).await;
        drop(place);
    });
}

async fn look_back(feed: Arc<Feed>, log: Arc<dyn EventLog>, cursor: Seq) -> Result<Past, StoreError> {
    let place = feed.place().await;
    // Whoever had the place before may have read the same.
    if let Slice::Frames(frames) = feed.after(cursor, BATCH_FRAMES, BATCH_BYTES) {
        return Ok(Past::Frames(frames));
    }
    let began = Instant::now();
    let page = log.page_within(feed.app_id(), cursor, PAGE, PAGE_BYTES).await?;
    if let Some(last) = page.last() {
        if last.seq < feed.head() {
            rest(place, began.elapsed());
        }
        feed.recall(&page);
        return Ok(Past::Frames(page));
    }
    // Not up to the head: something may have been told since the page was read.
    let last_gone = Seq(log.bounds(feed.app_id()).await?.oldest.0 - 1);
    Ok(if last_gone > cursor { Past::Gone(last_gone) } else { Past::Nothing })
}
