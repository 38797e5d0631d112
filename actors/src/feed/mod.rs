//! The feed of one app: its events in the order of `seq`, for any number of readers.
//!
//! Nothing is pushed into a reader. A reader is a cursor: it takes the events after it from a short ring of recent frames
//! in memory, or from the store when it has fallen behind the ring, and sleeps when it has all of them. So a reader that
//! stops costs its cursor and nothing else, it can fall behind and catch up any number of times without a hole, and no
//! queue can overflow.
//!
//! The feed in the store can go back: a backup is restored, or a replica that lacks the last events takes over. The same
//! numbers are then used again. [`reset`] says how that is noticed; readers get a gap, and go on behind it.

mod announcements;
mod pages;
mod position;
mod reader;
mod reset;
mod ring;
mod snapshot_cache;
mod tail;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use metrics::counter;
use parking_lot::RwLock;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep},
};

pub(crate) use self::tail::Follower;
pub use self::{
    announcements::{Announcements, Due},
    position::{NoPosition, Position},
    reader::{Batch, FeedReader, Missing},
    reset::Known,
};
use self::{
    ring::{Ring, Slice},
    snapshot_cache::SnapshotCache,
};
use crate::{
    event::Frame,
    id::{AppId, Epoch, Seq},
};

/// How long a page from the store is kept for readers that want the same one.
const PAGE_LIFETIME: Duration = Duration::from_secs(1);

/// What the store said about the end of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Before it was asked, in the server's time.
    pub(crate) at: DateTime<Utc>,
    /// The newest event.
    pub(crate) head: Seq,
    /// Before it was asked.
    pub(crate) checked_at: Instant,
}

/// The live end of one app's feed.
pub struct Feed {
    app_id: AppId,
    /// Extended by the app's supervisor after each commit, read by every reader that is up to date.
    ring: RwLock<Ring>,
    /// Wakes the readers. Its value is what is known to be durable.
    known: watch::Sender<Known>,
    /// Limits how many readers read the store at a time; shared by all feeds.
    store_readers: Arc<Semaphore>,
    /// The active calls, for readers that begin with them.
    snapshots: SnapshotCache,
    /// When the store was last asked for the newest event.
    checked: RwLock<Option<Checked>>,
    /// Where new events are marked for other processes.
    announcements: Arc<Announcements>,
    /// How often stored events were changed: what was read before is not put into the ring.
    rewrites: AtomicU64,
}

impl Feed {
    /// Returns a feed of which nothing is known yet.
    #[must_use]
    pub fn new(app_id: AppId) -> Arc<Self> {
        Self::sharing(app_id, &Arc::new(Semaphore::new(1)), &Arc::default())
    }

    /// Returns a feed that shares this limit of readers, and the announcements, with others.
    pub(crate) fn sharing(
        app_id: AppId,
        store_readers: &Arc<Semaphore>,
        announcements: &Arc<Announcements>,
    ) -> Arc<Self> {
        let (known, _) = watch::channel(Known::default());
        Arc::new(Self {
            app_id,
            ring: RwLock::default(),
            known,
            store_readers: Arc::clone(store_readers),
            snapshots: SnapshotCache::default(),
            checked: RwLock::default(),
            announcements: Arc::clone(announcements),
            rewrites: AtomicU64::new(0),
        })
    }

    /// Returns the app.
    #[must_use]
    pub fn app_id(&self) -> AppId {
        self.app_id
    }

    /// Returns the newest event that is known to be durable.
    #[must_use]
    pub fn head(&self) -> Seq {
        self.known.borrow().head
    }

    /// Whether other processes work on the same database.
    pub(crate) fn is_shared(&self) -> bool {
        self.announcements.is_wanted()
    }

    /// Publishes durable events of this process to the readers. They must be in order and without holes.
    pub fn publish(&self, frames: Vec<Frame>) {
        let Some(newest) = frames.last().map(|frame| frame.seq) else { return };
        if self.app_id != AppId::CANARY {
            counter!("cti_events_published_total").increment(frames.len() as u64);
        }
        self.ring.write().extend(frames);
        self.advance(newest);
        self.announcements.head(self.app_id, newest);
    }

    /// Records that the feed reaches at least this far.
    fn advance(&self, newest: Seq) {
        self.known.send_if_modified(|known| known.advance(newest));
    }

    /// Records what the store said about the end of the feed.
    pub(crate) fn record_check(&self, checked: Checked) {
        *self.checked.write() = Some(checked);
    }

    fn checked(&self) -> Option<Checked> {
        *self.checked.read()
    }

    /// Shares a page from the store with all readers: after a restart, after a burst, or where another process publishes,
    /// each would otherwise read the same one. It is kept for a moment; in an empty ring, one that reaches the head stays.
    /// `epoch` and `rewrites` were known before it was read. Must be called within a runtime.
    fn share(self: &Arc<Self>, epoch: Option<Epoch>, page: &[Frame], rewrites: u64) {
        let known = self.known();
        let Some(newest) = page.last().filter(|_| known.epoch == epoch) else { return };
        let mut ring = self.ring.write();
        if self.rewrites() != rewrites {
            return;
        }
        if newest.seq == known.head {
            ring.extend(page.to_vec());
        }
        let page: Arc<[Frame]> = page.into();
        ring.keep(Arc::clone(&page));
        let feed = Arc::downgrade(self);
        tokio::spawn(async move {
            sleep(PAGE_LIFETIME).await;
            if let Some(feed) = feed.upgrade() {
                feed.ring.write().release(&page);
            }
        });
    }

    /// Forgets everything in memory, because stored events were changed: all of it is read anew.
    pub fn forget(&self) {
        let mut ring = self.ring.write();
        self.rewrites.fetch_add(1, Ordering::SeqCst);
        ring.clear();
        drop(ring);
        self.snapshots.forget();
    }

    fn rewrites(&self) -> u64 {
        self.rewrites.load(Ordering::SeqCst)
    }

    /// Waits for the permit to read the store, in the order of the calls.
    async fn read_permit(&self) -> Option<OwnedSemaphorePermit> {
        // An error is impossible: the semaphore is never closed.
        Arc::clone(&self.store_readers).acquire_owned().await.ok()
    }

    fn after(&self, cursor: Seq, max_frames: usize, max_bytes: usize) -> Slice {
        if cursor >= self.head() {
            return Slice::UpToDate;
        }
        self.ring.read().after(cursor, max_frames, max_bytes)
    }

    fn watch(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }
}
