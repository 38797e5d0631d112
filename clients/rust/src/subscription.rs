//! What to follow, and how.

use std::sync::Arc;

use secrecy::SecretString;

use crate::address::Address;
use crate::backoff::Pace;
use crate::cursor::{CursorStore, MemoryCursor};
use crate::error::InvalidUrl;
use crate::feed::{Feed, Notice};

/// What of an app's feed to follow. Nothing happens until it is [opened](Subscription::open).
#[must_use]
pub struct Subscription {
    pub(crate) address: Address,
    pub(crate) api_key: SecretString,
    pub(crate) begin: Begin,
    pub(crate) wishes: Vec<(String, String)>,
    pub(crate) cursor: Arc<dyn CursorStore>,
    pub(crate) pace: Pace,
    pub(crate) observer: Box<dyn Fn(Notice) + Send + Sync>,
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

    /// Only events of these types; `call.*` is all that begin so.
    pub fn types<T: AsRef<str>>(self, types: impl IntoIterator<Item = T>) -> Self {
        let types: Vec<String> = types.into_iter().map(|kind| kind.as_ref().to_owned()).collect();
        if types.is_empty() { self } else { self.asking("types", types.join(",")) }
    }

    /// Only events that concern this Dialpad user.
    pub fn dialpad_user(self, id: i64) -> Self {
        self.asking("dialpad_user_id", id.to_string())
    }

    /// Any other parameter of `/ws`.
    pub fn asking(mut self, name: &str, value: impl Into<String>) -> Self {
        self.wishes.retain(|(asked, _)| asked != name);
        self.wishes.push((name.to_owned(), value.into()));
        self
    }

    /// Keeps the place in the feed there, and begins at it.
    pub fn keep_cursor_in(mut self, store: impl CursorStore + 'static) -> Self {
        self.cursor = Arc::new(store);
        self
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

    /// Begins to follow. Must be called within a tokio runtime.
    #[must_use]
    pub fn open(self) -> Feed {
        Feed::open(self)
    }
}
