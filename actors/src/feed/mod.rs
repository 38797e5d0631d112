//! The feed of one app: what was told, in the order of `seq`, for as many readers as like.
//!
//! Nothing is pushed into a reader. A reader is a cursor: it takes what lies behind its cursor from a short ring
//! of recent frames in memory, or from the store when it has fallen behind the ring, and sleeps when it has
//! everything. So a reader that stops costs its cursor and nothing else, it can fall behind and catch up any
//! number of times without a hole, and there is no queue that could overflow.

mod reader;
mod ring;
mod snapshot_cache;

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub use self::reader::{Batch, FeedReader};
pub(crate) use self::ring::Slice;
use self::{ring::Ring, snapshot_cache::Snapshots};
use crate::{
    event::Frame,
    id::{AppId, Seq},
};

/// The live end of one app's feed.
pub struct Feed {
    app_id: AppId,
    /// Written by the app's supervisor after each commit, read by every reader that is wide awake.
    ring: RwLock<Ring>,
    /// Wakes the readers. Its value is the newest place that is known to be durable.
    head: watch::Sender<Seq>,
    /// The places of those who read the past from the store, shared by all feeds.
    past: Arc<Semaphore>,
    /// What is told to those who begin with the calls that are not over.
    snapshots: Snapshots,
}

impl Feed {
    /// A feed of which nothing is known yet.
    #[must_use]
    pub fn new(app_id: AppId) -> Arc<Self> {
        Self::beside(app_id, &Arc::new(Semaphore::new(1)))
    }

    /// A feed that shares these places for readers of the past with others.
    pub(crate) fn beside(app_id: AppId, past: &Arc<Semaphore>) -> Arc<Self> {
        let (head, _) = watch::channel(Seq::START);
        let (ring, snapshots) = (RwLock::default(), Snapshots::default());
        Arc::new(Self { app_id, ring, head, past: Arc::clone(past), snapshots })
    }

    /// Whose feed it is.
    #[must_use]
    pub fn app_id(&self) -> AppId {
        self.app_id
    }

    /// The newest place that is known to be durable.
    #[must_use]
    pub fn head(&self) -> Seq {
        *self.head.borrow()
    }

    /// Shows durable events to the readers. They must be in order and without holes.
    pub fn publish(&self, frames: Vec<Frame>) {
        let Some(newest) = frames.last().map(|frame| frame.seq) else { return };
        self.ring.write().unwrap_or_else(PoisonError::into_inner).extend(frames);
        self.advance(newest);
    }

    /// Learns that the feed reaches at least this far, as another writer or the store says.
    pub fn advance(&self, newest: Seq) {
        self.head.send_if_modified(|head| {
            let further = newest > *head;
            if further {
                *head = newest;
            }
            further
        });
    }

    /// Keeps what was read from the store for others who come from there, where it is the newest there is: after a
    /// restart, or where another process tells, all readers would otherwise read the same from the store.
    fn recall(&self, page: &[Frame]) {
        if page.last().is_some_and(|newest| newest.seq == self.head()) {
            self.ring.write().unwrap_or_else(PoisonError::into_inner).extend(page.to_vec());
        }
    }

    /// A place to read the past from the store; waits for it, first come, first served.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // Nobody closes the semaphore.
        Arc::clone(&self.past).acquire_owned().await.ok()
    }

    fn after(&self, cursor: Seq, most: usize, max_bytes: usize) -> Slice {
        if cursor >= self.head() {
            return Slice::UpToDate;
        }
        self.ring.read().unwrap_or_else(PoisonError::into_inner).after(cursor, most, max_bytes)
    }

    fn watch(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }
}
