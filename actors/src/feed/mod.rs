//! The feed of one app: what was told, in the order of `seq`, for as many readers as like.
//!
//! Nothing is pushed into a reader. A reader is a cursor: it takes what lies behind its cursor from a short ring
//! of recent frames in memory, or from the store when it has fallen behind the ring, and sleeps when it has
//! everything. So a reader that stops costs its cursor and nothing else, it can fall behind and catch up any
//! number of times without a hole, and there is no queue that could overflow.

mod frame;
mod reader;
mod ring;

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use self::ring::Ring;
pub(crate) use self::ring::Slice;
pub use self::{
    frame::{Frame, ID_FIELDS, OutEvent, number_or_text},
    reader::{Batch, FeedReader, Filter},
};
use crate::id::{AppId, Seq};

/// The live end of one app's feed.
pub struct Feed {
    app_id: AppId,
    /// Written by the app's supervisor after each commit, read by every reader that is wide awake.
    ring: RwLock<Ring>,
    /// Wakes the readers. Its value is the newest place that is known to be durable.
    head: watch::Sender<Seq>,
}

impl Feed {
    /// A feed of which nothing is known yet.
    #[must_use]
    pub fn new(app_id: AppId) -> Arc<Self> {
        let (head, _) = watch::channel(Seq::START);
        Arc::new(Self { app_id, ring: RwLock::default(), head })
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

    fn after(&self, cursor: Seq, most: usize, most_bytes: usize) -> Slice {
        if cursor >= self.head() {
            return Slice::UpToDate;
        }
        self.ring.read().unwrap_or_else(PoisonError::into_inner).after(cursor, most, most_bytes)
    }

    fn watch(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }
}
