//! The feed that a CRM reads.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::cursor::{Cursor, CursorStore};
use crate::error::FeedError;
use crate::event::Event;
use crate::message::Gap;
use crate::snapshot::Snapshot;
use crate::subscription::Subscription;
use crate::tracker::Tracker;
use crate::worker;

/// How many items may be queued. At this number the connection is not read any more.
const MAX_QUEUED: usize = 256;
/// How long the close handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// An item of a feed.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An event.
    Event(Box<Event>),
    /// The active calls, with [`Subscription::with_snapshot`]. It is the first item, and complete.
    Snapshot(Snapshot),
    /// Events are missing: catch up over REST, then acknowledge [its end](Gap::resume_after).
    Gap(Gap),
    /// The server's database was restored, or has lost events: the same `seq` may be another event by now. What you have may
    /// be newer than what the server has, so read everything again: `GET /api/calls/active` and the lists of calls, messages
    /// and voicemails. Then acknowledge [its end](Gap::resume_after). The feed continues there.
    EpochChanged(Gap),
}

/// A change of the connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// The connection is open.
    Connected {
        /// The event after which it resumes; `None`: with new events.
        after: Option<u64>,
        /// The newest event.
        seq: u64,
    },
    /// The connection broke, or could not be opened.
    Disconnected {
        /// The reason.
        reason: String,
        /// The delay before the next attempt.
        retry_in: Duration,
    },
    /// A newer connection of the consumer took over, or the consumer was deleted. The feed ends and delivers nothing of its
    /// queue: these events go to the newer connection. Processing of the current event may be aborted.
    TakenOver {
        /// The server's reason.
        reason: String,
    },
    /// The cursor after skipped events could not be saved; the next save tries again.
    CursorNotSaved(io::Error),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { after: Some(after), seq } => {
                write!(f, "connected; resuming after event {after} of {seq}")
            }
            Self::Connected { after: None, seq } => {
                write!(f, "connected; {seq} events so far, waiting for new ones")
            }
            Self::Disconnected { reason, retry_in } => {
                write!(f, "{reason}; retrying in {:.1} s", retry_in.as_secs_f64())
            }
            Self::TakenOver { reason } => write!(f, "the consumer belongs to another connection: {reason}"),
            Self::CursorNotSaved(error) => write!(f, "the cursor can't be saved: {error}"),
        }
    }
}

/// The events of an app in the order of their `seq`, each once, across broken connections. It ends after the first error.
/// If it is not read, it resumes later and loses nothing.
pub struct Feed {
    items: mpsc::Receiver<Result<Item, FeedError>>,
    progress: Arc<Progress>,
    worker: Option<JoinHandle<()>>,
}

/// The progress of a feed, shared by the worker that reads the connection and by the caller that acknowledges.
pub(crate) struct Progress {
    tracker: Mutex<Tracker>,
    store: Arc<dyn CursorStore>,
    /// The cursor in the store. Locked during a save, so that cursors are saved in order.
    saved: tokio::sync::Mutex<Option<Cursor>>,
    /// Whether pending events belong to another connection.
    taken_over: AtomicBool,
}

impl Progress {
    pub(crate) fn new(tracker: Tracker, store: Arc<dyn CursorStore>) -> Self {
        Self {
            tracker: Mutex::new(tracker),
            store,
            saved: tokio::sync::Mutex::default(),
            taken_over: AtomicBool::new(false),
        }
    }

    pub(crate) fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks all pending events as belonging to another connection.
    pub(crate) fn mark_taken_over(&self) {
        self.taken_over.store(true, Ordering::Release);
    }

    /// Records that an item leaves the queue. Returns whether it may be delivered: it may belong to another connection.
    fn take(&self, item: Option<&Result<Item, FeedError>>) -> bool {
        if let Some(Ok(Item::EpochChanged(_))) = item {
            self.tracker().change_taken();
        }
        !(matches!(item, Some(Ok(_))) && self.taken_over.load(Ordering::Acquire))
    }

    /// Loads the cursor and starts after it.
    pub(crate) async fn load(&self) -> io::Result<()> {
        let mut saved = self.saved.lock().await;
        if let Some(cursor) = self.store.load().await? {
            *saved = Some(cursor.clone());
            self.tracker().start_after(cursor);
        }
        Ok(())
    }

    /// Saves the cursor if it changed. The save completes even if the caller is dropped: otherwise a half-finished save
    /// could overtake the next one.
    pub(crate) async fn save(self: &Arc<Self>) -> io::Result<()> {
        let progress = Arc::clone(self);
        let saved = tokio::spawn(async move { progress.save_now().await });
        saved.await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }

    async fn save_now(&self) -> io::Result<()> {
        let mut saved = self.saved.lock().await;
        let acked = self.tracker().acked();
        if acked.is_some() && acked != *saved {
            if let Some(cursor) = acked.clone() {
                self.store.save(cursor).await?;
            }
            *saved = acked;
        }
        Ok(())
    }
}

impl Feed {
    pub(crate) fn open(subscription: Subscription) -> Self {
        let (sender, items) = mpsc::channel(MAX_QUEUED);
        let (tracker, store, acknowledged) = subscription.cursor_parts();
        let progress = Arc::new(Progress::new(tracker, store));
        let worker = tokio::spawn(worker::run(subscription, Arc::clone(&progress), acknowledged, sender));
        Self { items, progress, worker: Some(worker) }
    }

    /// Returns the next item; `None` after the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Item, FeedError>> {
        loop {
            let item = self.items.recv().await;
            if self.progress.take(item.as_ref()) {
                return item;
            }
        }
    }

    /// Acknowledges everything up to this event; returns once the cursor is saved. One call can cover many events.
    ///
    /// # Errors
    /// Fails if the cursor could not be saved; it can be acknowledged again.
    pub async fn ack(&self, seq: u64) -> io::Result<()> {
        self.progress.tracker().ack(seq);
        self.progress.save().await
    }

    /// Closes the connection. What was not [acknowledged](Feed::ack) is delivered again.
    pub async fn close(mut self) {
        self.items.close();
        if let Some(worker) = self.worker.take() {
            // A server that does not answer the close frame is abandoned.
            let _ = timeout(CLOSE_TIMEOUT, worker).await;
        }
    }
}

impl Stream for Feed {
    type Item = Result<Item, FeedError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let item = ready!(self.items.poll_recv(context));
            if self.progress.take(item.as_ref()) {
                return Poll::Ready(item);
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.abort();
        }
    }
}
