//! What to follow, and how.

use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::watch;

use crate::address::Address;
use crate::backoff::Pace;
use crate::book::Book;
use crate::cursor::{CursorStore, MemoryCursor, ServerCursor};
use crate::error::{InvalidSubscription, InvalidUrl};
use crate::feed::{Feed, Notice};
use crate::ledger::Ledger;
use crate::share::Share;

/// What of an app's feed to follow. Nothing happens until it is [opened](Subscription::open).
#[must_use]
pub struct Subscription {
    pub(crate) address: Address,
    pub(crate) api_key: SecretString,
    pub(crate) begin: Begin,
    pub(crate) wishes: Vec<(String, String)>,
    cursor: Arc<dyn CursorStore>,
    consumer: Option<Consumer>,
    pub(crate) snapshot: bool,
    /// A parameter that was asked for by its name and must not be.
    misplaced: Option<String>,
    pub(crate) pace: Pace,
    pub(crate) observer: Box<dyn Fn(Notice) + Send + Sync>,
}

/// The parameters of `/ws` that the client says by itself, or has to know of: it counts on what they do.
const OWN: [&str; 5] = ["after", "snapshot", "consumer", "mode", "ids"];

/// How a feed is a named consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consumer {
    Alone,
    Sharing,
}

/// Where a feed begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// At the cursor that is kept; without one, now.
    WhereItWas,
    /// Behind this event.
    After(u64),
    /// With what comes from now on.
    Now,
}

impl Subscription {
    /// The events of the app that the key opens. `server` is its address, such as `https://cti.example.com`.
    ///
    /// # Errors
    /// That is no address of a server.
    pub fn new(server: &str, api_key: impl Into<SecretString>) -> Result<Self, InvalidUrl> {
        Ok(Self {
            address: Address::of_server(server)?,
            api_key: api_key.into(),
            begin: Begin::WhereItWas,
            wishes: Vec::new(),
            cursor: Arc::new(MemoryCursor),
            consumer: None,
            snapshot: false,
            misplaced: None,
            pace: Pace::default(),
            observer: Box::new(drop),
        })
    }

    /// Begins behind this event, whatever cursor is kept; 0: with the oldest one there is. Without it, and without a
    /// cursor that was kept, a feed begins with what comes from then on.
    pub fn after(mut self, seq: u64) -> Self {
        self.begin = Begin::After(seq);
        self
    }

    /// Begins with what comes from now on, whatever cursor is kept.
    pub fn from_now_on(mut self) -> Self {
        self.begin = Begin::Now;
        self
    }

    /// Begins with the calls that are not over, as [one whole](crate::Heard::Snapshot), and goes on with the events behind
    /// it. Only where there is no cursor yet (or none that counts: [`from_now_on`](Subscription::from_now_on)), and until
    /// the snapshot has come once; from then on a connection resumes behind what was heard. A process that ends before it
    /// was [done](Feed::done) is given a new one.
    ///
    /// It goes together neither with [`after`](Subscription::after) nor with a consumer.
    pub fn with_snapshot(mut self) -> Self {
        self.snapshot = true;
        self
    }

    /// Only events of these types; `call.*` is all that begin so.
    pub fn types<T: AsRef<str>>(self, types: impl IntoIterator<Item = T>) -> Self {
        let types: Vec<String> = types.into_iter().map(|kind| kind.as_ref().to_owned()).collect();
        if types.is_empty() { self } else { self.wishing("types", types.join(",")) }
    }

    /// Only events that concern this Dialpad user.
    pub fn dialpad_user(self, id: i64) -> Self {
        self.wishing("dialpad_user_id", id.to_string())
    }

    /// Any other parameter of `/ws`. Those that this has methods for, and `ids`, are refused when it is
    /// [opened](Subscription::open): numbers are exact here.
    pub fn asking(mut self, name: &str, value: impl Into<String>) -> Self {
        if OWN.contains(&name) {
            self.misplaced = Some(name.to_owned());
            return self;
        }
        self.wishing(name, value)
    }

    fn wishing(mut self, name: &str, value: impl Into<String>) -> Self {
        self.wishes.retain(|(asked, _)| asked != name);
        self.wishes.push((name.to_owned(), value.into()));
        self
    }

    /// Keeps the place in the feed there, and begins at it.
    pub fn keep_cursor_in(mut self, store: impl CursorStore + 'static) -> Self {
        self.cursor = Arc::new(store);
        self
    }

    /// Lets the server keep the place in the feed, under this name, instead of a cursor of one's own. What is not
    /// [done](Feed::done) comes again to whoever is this consumer next; a newer connection takes it over and ends this
    /// feed. [`after`](Subscription::after) says where a consumer begins that is new.
    pub fn as_consumer(mut self, name: &str) -> Self {
        self.consumer = Some(Consumer::Alone);
        self.wishing("consumer", name)
    }

    /// The same, sharing the work with the other connections of the consumer: each event goes to one of them, those of
    /// one call to the same one, in their order. What a connection that broke had not acknowledged goes to another, and
    /// may then be dealt with twice; `event_id` tells.
    pub fn sharing_consumer(mut self, name: &str) -> Self {
        self.consumer = Some(Consumer::Sharing);
        self.wishing("consumer", name).wishing("mode", "share")
    }

    /// How patiently it comes back.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Is told what becomes of the connection. It must not block.
    pub fn observed_by(mut self, observer: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Where the places are noted and kept, and where it is seen what to acknowledge.
    pub(crate) fn ways_to_keep(&self) -> (Book, Arc<dyn CursorStore>, Option<watch::Receiver<Option<u64>>>) {
        let book = match self.consumer {
            Some(Consumer::Sharing) => Book::Shared(Share::default()),
            Some(Consumer::Alone) | None => Book::Own(Ledger::default()),
        };
        if self.consumer.is_none() {
            return (book, Arc::clone(&self.cursor), None);
        }
        let (acknowledged, seen) = watch::channel(None);
        (book, Arc::new(ServerCursor { acknowledged }), Some(seen))
    }

    /// Begins to follow. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// It asks for what does not go together.
    pub fn open(self) -> Result<Feed, InvalidSubscription> {
        if let Some(name) = self.misplaced {
            return Err(InvalidSubscription::OwnParameter(name));
        }
        if self.snapshot && self.consumer.is_some() {
            return Err(InvalidSubscription::SnapshotOfConsumer);
        }
        if self.snapshot && matches!(self.begin, Begin::After(_)) {
            return Err(InvalidSubscription::SnapshotAfter);
        }
        Ok(Feed::open(self))
    }
}
