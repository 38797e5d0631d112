//! What to follow, and from where.

use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::watch;

use crate::address::Address;
use crate::backoff::Backoff;
use crate::cursor::{Cursor, CursorStore, MemoryCursor, ServerCursor};
use crate::error::{InvalidSubscription, InvalidUrl};
use crate::feed::{Feed, Notice};
use crate::tracker::Tracker;

/// Which events of an app to follow. Nothing happens until it is [opened](Subscription::open).
#[must_use]
pub struct Subscription {
    pub(crate) address: Address,
    pub(crate) api_key: SecretString,
    pub(crate) start: Start,
    pub(crate) parameters: Vec<(String, String)>,
    cursor: Arc<dyn CursorStore>,
    consumer: Option<Consumer>,
    pub(crate) snapshot: bool,
    /// A reserved parameter that was set with [`Subscription::parameter`].
    reserved_parameter: Option<String>,
    pub(crate) backoff: Backoff,
    pub(crate) observer: Box<dyn Fn(Notice) + Send + Sync>,
}

/// The parameters of `/ws` that the client sets itself, because it depends on their effect.
const RESERVED: [&str; 5] = ["after", "snapshot", "consumer", "mode", "ids"];

/// How a feed uses a named consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consumer {
    Exclusive,
    Shared,
}

/// Where a feed starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// After the stored cursor; without one, with new events.
    Cursor,
    /// After this event.
    After(Cursor),
    /// With new events.
    Now,
}

impl Subscription {
    /// Follows the events of the key's app. `server` is the server's address, such as `https://cti.example.com`.
    ///
    /// # Errors
    /// Fails if that is not an address of a server.
    pub fn new(server: &str, api_key: impl Into<SecretString>) -> Result<Self, InvalidUrl> {
        Ok(Self {
            address: Address::of_server(server)?,
            api_key: api_key.into(),
            start: Start::Cursor,
            parameters: Vec::new(),
            cursor: Arc::new(MemoryCursor),
            consumer: None,
            snapshot: false,
            reserved_parameter: None,
            backoff: Backoff::default(),
            observer: Box::new(drop),
        })
    }

    /// Starts after this event and ignores a stored cursor; 0 starts with the oldest stored event. By default a feed starts
    /// after the stored cursor, or with new events if there is none.
    pub fn after(self, seq: u64) -> Self {
        self.after_cursor(seq.into())
    }

    /// Starts after this event, like [`after`](Subscription::after). If the feed has another epoch by now, it starts with
    /// [`Item::EpochChanged`](crate::Item::EpochChanged).
    pub fn after_cursor(mut self, cursor: Cursor) -> Self {
        self.start = Start::After(cursor);
        self
    }

    /// Starts with new events and ignores a stored cursor.
    pub fn from_now(mut self) -> Self {
        self.start = Start::Now;
        self
    }

    /// Starts with [a snapshot](crate::Item::Snapshot) of the active calls, and continues with the events after it. This
    /// applies only without a cursor (or with [`from_now`](Subscription::from_now)), and until the snapshot was delivered
    /// once; later connections resume after the last event. A process that ends before it has [acknowledged](Feed::ack)
    /// the snapshot gets a new one.
    ///
    /// It can't be combined with [`after`](Subscription::after) or a consumer.
    pub fn with_snapshot(mut self) -> Self {
        self.snapshot = true;
        self
    }

    /// Follows only events of these types; `call.*` matches all types that start with `call.`.
    pub fn types<T: AsRef<str>>(self, types: impl IntoIterator<Item = T>) -> Self {
        let types: Vec<String> = types.into_iter().map(|kind| kind.as_ref().to_owned()).collect();
        if types.is_empty() { self } else { self.with_parameter("types", types.join(",")) }
    }

    /// Follows only events that concern this Dialpad user.
    pub fn dialpad_user(self, id: i64) -> Self {
        self.with_parameter("dialpad_user_id", id.to_string())
    }

    /// Sets another query parameter of `/ws`. Parameters that this type has methods for, and `ids`, are refused by
    /// [`open`](Subscription::open).
    pub fn parameter(mut self, name: &str, value: impl Into<String>) -> Self {
        if RESERVED.contains(&name) {
            self.reserved_parameter = Some(name.to_owned());
            return self;
        }
        self.with_parameter(name, value)
    }

    fn with_parameter(mut self, name: &str, value: impl Into<String>) -> Self {
        self.parameters.retain(|(other, _)| other != name);
        self.parameters.push((name.to_owned(), value.into()));
        self
    }

    /// Stores the cursor there, and starts after it.
    pub fn cursor_store(mut self, store: impl CursorStore + 'static) -> Self {
        self.cursor = Arc::new(store);
        self
    }

    /// Lets the server store the cursor, under the name of a consumer. Events that are not [acknowledged](Feed::ack) are
    /// delivered again to the next connection of the consumer; a newer connection takes over and ends this feed.
    /// [`after`](Subscription::after) sets where a new consumer starts.
    pub fn consumer(mut self, name: &str) -> Self {
        self.consumer = Some(Consumer::Exclusive);
        self.with_parameter("consumer", name)
    }

    /// Shares a consumer with other connections: each event goes to one connection, and all events of a call to the same
    /// one, in order. Events that a broken connection had not acknowledged go to another one; they may be processed twice,
    /// with the same `event_id`.
    pub fn shared_consumer(mut self, name: &str) -> Self {
        self.consumer = Some(Consumer::Shared);
        self.with_parameter("consumer", name).with_parameter("mode", "share")
    }

    /// Sets the delays between attempts to connect.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets a callback for changes of the connection. It must not block.
    pub fn on_notice(mut self, observer: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Returns the tracker and the store of the cursor; for a consumer also the acknowledgements to send.
    pub(crate) fn cursor_parts(
        &self,
    ) -> (Tracker, Arc<dyn CursorStore>, Option<watch::Receiver<Option<Cursor>>>) {
        let tracker = match self.consumer {
            Some(Consumer::Shared) => Tracker::shared(),
            Some(Consumer::Exclusive) | None => Tracker::exclusive(),
        };
        if self.consumer.is_none() {
            return (tracker, Arc::clone(&self.cursor), None);
        }
        let (acknowledged, to_send) = watch::channel(None);
        (tracker, Arc::new(ServerCursor { acknowledged }), Some(to_send))
    }

    /// Opens the feed. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Fails if options can't be combined.
    pub fn open(self) -> Result<Feed, InvalidSubscription> {
        if let Some(name) = self.reserved_parameter {
            return Err(InvalidSubscription::ReservedParameter(name));
        }
        if self.snapshot && self.consumer.is_some() {
            return Err(InvalidSubscription::SnapshotWithConsumer);
        }
        if self.snapshot && matches!(self.start, Start::After(_)) {
            return Err(InvalidSubscription::SnapshotWithAfter);
        }
        Ok(Feed::open(self))
    }
}
