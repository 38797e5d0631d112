//! The stream that a CRM reads.

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

use crate::book::Book;
use crate::cursor::CursorStore;
use crate::error::Stopped;
use crate::event::Event;
use crate::message::Gap;
use crate::snapshot::Snapshot;
use crate::subscription::Subscription;
use crate::worker;

/// How many events may wait to be read. When so many do, the connection is not read either.
const ROOM: usize = 256;
/// How long a server may take to say goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// What comes out of a feed.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Something happened.
    Event(Box<Event>),
    /// What is going on, where the feed begins [with it](Subscription::with_snapshot). It comes first and whole.
    Snapshot(Snapshot),
    /// Events are missing: set yourself right, then say that [it is done](Gap::go_on_from).
    Gap(Gap),
}

/// What becomes of the connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// It stands.
    Connected {
        /// Behind which event it resumes; `None`: with what comes from now on.
        after: Option<u64>,
        /// The newest event.
        seq: u64,
    },
    /// It broke, or could not be opened.
    Interrupted {
        /// Why.
        reason: String,
        /// When it is tried again.
        back_in: Duration,
    },
    /// A newer connection of the consumer took over, or the consumer was deleted. The feed ends, and gives out nothing
    /// more of what it has: that is the newer one's. Whoever deals with an event just now may leave off.
    TakenOver {
        /// In the server's words.
        reason: String,
    },
    /// The place behind events that are not for us could not be kept; it is tried again with the next one.
    NotKept(io::Error),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { after: Some(after), seq } => {
                write!(f, "connected; resuming behind event {after} of {seq}")
            }
            Self::Connected { after: None, seq } => {
                write!(f, "connected; {seq} events so far, listening to what comes")
            }
            Self::Interrupted { reason, back_in } => {
                write!(f, "{reason}; trying again in {:.1} s", back_in.as_secs_f64())
            }
            Self::TakenOver { reason } => write!(f, "the consumer is not ours any more: {reason}"),
            Self::NotKept(error) => write!(f, "the cursor can't be kept: {error}"),
        }
    }
}

/// The events of an app, in the order of their `seq`, each once, through broken connections. It ends after the first
/// error. While you take nothing it resumes later, and loses nothing.
pub struct Feed {
    heard: mpsc::Receiver<Result<Heard, Stopped>>,
    places: Arc<Places>,
    worker: Option<JoinHandle<()>>,
}

/// The places in the feed, shared by whoever reads the connection and whoever deals with events.
pub(crate) struct Places {
    book: Mutex<Book>,
    store: Arc<dyn CursorStore>,
    /// What the store holds. Held while it is written to: cursors are kept in the order in which they came about.
    stored: tokio::sync::Mutex<Option<u64>>,
    /// Whether what is not dealt with is somebody else's.
    given_up: AtomicBool,
}

impl Places {
    pub(crate) fn new(book: Book, store: Arc<dyn CursorStore>) -> Self {
        Self {
            book: Mutex::new(book),
            store,
            stored: tokio::sync::Mutex::default(),
            given_up: AtomicBool::new(false),
        }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is not dealt with is somebody else's from now on.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    /// Whether this is not to be given out any more.
    fn is_not_ours(&self, heard: Option<&Result<Heard, Stopped>>) -> bool {
        matches!(heard, Some(Ok(_))) && self.given_up.load(Ordering::Acquire)
    }

    /// Begins at the cursor that is kept.
    pub(crate) async fn recall(&self) -> io::Result<()> {
        let mut stored = self.stored.lock().await;
        if let Some(seq) = self.store.load().await? {
            *stored = Some(seq);
            self.book().begin(seq);
        }
        Ok(())
    }

    /// Keeps what is dealt with, if that has changed. It does so even if nobody waits for it any more: a cursor that is
    /// half written when the next one comes could overtake it.
    pub(crate) async fn keep(self: &Arc<Self>) -> io::Result<()> {
        let places = Arc::clone(self);
        let kept = tokio::spawn(async move { places.store().await });
        kept.await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }

    async fn store(&self) -> io::Result<()> {
        let mut stored = self.stored.lock().await;
        let kept = self.book().kept();
        if let Some(seq) = kept.filter(|_| kept != *stored) {
            self.store.save(seq).await?;
            *stored = Some(seq);
        }
        Ok(())
    }
}

impl Feed {
    pub(crate) fn open(subscription: Subscription) -> Self {
        let (tell, heard) = mpsc::channel(ROOM);
        let (book, store, acknowledged) = subscription.ways_to_keep();
        let places = Arc::new(Places::new(book, store));
        let worker = tokio::spawn(worker::work(subscription, Arc::clone(&places), acknowledged, tell));
        Self { heard, places, worker: Some(worker) }
    }

    /// What comes next; `None` after the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Heard, Stopped>> {
        loop {
            let heard = self.heard.recv().await;
            if !self.places.is_not_ours(heard.as_ref()) {
                return heard;
            }
        }
    }

    /// Says that everything up to this event is dealt with, and returns when that is kept. It need not be said of
    /// every event: the last one of a batch is enough.
    ///
    /// # Errors
    /// The cursor could not be kept; it may be said again.
    pub async fn done(&self, seq: u64) -> io::Result<()> {
        self.places.book().done(seq);
        self.places.keep().await
    }

    /// Says goodbye to the server. What was not said to be [done](Feed::done) comes again.
    pub async fn close(mut self) {
        self.heard.close();
        if let Some(worker) = self.worker.take() {
            // A server that does not answer the goodbye is none of our business any more.
            let _ = timeout(GOODBYE_WITHIN, worker).await;
        }
    }
}

impl Stream for Feed {
    type Item = Result<Heard, Stopped>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let heard = ready!(self.heard.poll_recv(context));
            if !self.places.is_not_ours(heard.as_ref()) {
                return Poll::Ready(heard);
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
