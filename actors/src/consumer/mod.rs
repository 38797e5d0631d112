//! Named consumers: readers of an app's feed whose cursor the server keeps.
//!
//! A consumer has connections. Either it has one at a time, and the newest one takes over ([`exclusive`]), or several that
//! share the work ([`group`]). What was given to a connection and not acknowledged by it is given again. What is kept in
//! the store is one place: everything up to it is dealt with ([`cursor_store`]). That statement stays true whoever makes it,
//! so of two the larger one counts.
//!
//! The connections of one consumer are at one process, its holder, which knows more than the one place. Another process
//! that wants an exclusive consumer takes it over; one that wants to share waits until the holder has let go.

mod cursor_store;
pub(crate) mod cursors;
mod exclusive;
mod membership;
mod partitions;
mod progress;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use strum::{EnumString, IntoStaticStr, VariantNames};
use tokio::{sync::watch, time::Instant};
use utoipa::ToSchema;

pub use self::membership::JoinError;
pub(crate) use self::{
    cursor_store::CursorStore,
    membership::{Acknowledger, Membership},
};
use self::{cursor_store::Kept, progress::Progress};
use crate::{
    error::StoreError,
    id::{AppId, Seq, SessionId},
    ports::EventLog,
    session::{CloseCode, Sessions},
};

/// How a consumer's events are distributed over its connections.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema, EnumString, IntoStaticStr, VariantNames,
)]
#[schema(as = ConsumerMode)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Mode {
    /// One connection at a time has all of them; the newest one takes over.
    #[default]
    Exclusive,
    /// The connections share the work.
    Share,
}

impl Mode {
    /// Returns the word in queries, in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// As which consumer somebody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// How it stands to other connections of the same name.
    pub mode: Mode,
}

/// A consumer, by its app and its name.
pub type ConsumerKey = (AppId, String);

/// What came of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// It counts, and is durable.
    Counted,
    /// There is no such consumer.
    Unknown,
    /// Several connections share the work, and it was not said which of them acknowledges.
    Whose,
    /// The connections that share the work are at another process.
    Elsewhere,
}

/// The consumers of one app.
pub struct Consumers {
    app: AppId,
    log: Arc<dyn EventLog>,
    sessions: Arc<Sessions>,
    cursor_store: Arc<CursorStore>,
    entries: Mutex<HashMap<String, Entry>>,
}

/// A consumer that this process holds.
struct Entry {
    progress: Progress,
    /// Wakes those of its connections that wait for something else than events.
    changed: watch::Sender<()>,
    /// When a connection last came, having made sure of who holds it.
    entered_at: Instant,
    /// What the store has of it; `None`: that may be anything.
    kept: Option<Kept>,
    /// By when the store is to hear of it again.
    renew_at: Instant,
}

impl Consumers {
    pub(crate) fn new(
        app: AppId,
        log: Arc<dyn EventLog>,
        sessions: Arc<Sessions>,
        cursor_store: Arc<CursorStore>,
    ) -> Arc<Self> {
        Arc::new(Self { app, log, sessions, cursor_store, entries: Mutex::default() })
    }

    /// Everything up to here is dealt with, says a connection of this consumer: everything that was given to it up to
    /// here, where several share the work. Without connections, whoever says it moves the cursor on purpose. It never
    /// goes back.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn ack(
        &self,
        name: &str,
        connection: Option<SessionId>,
        seq: Seq,
    ) -> Result<Acked, StoreError> {
        match self.count(name, connection, seq) {
            Some(true) => self.cursor_store.keep(&[self]).await?,
            Some(false) => return Ok(Acked::Whose),
            None => {}
        }
        if self.lock().contains_key(name) {
            return Ok(Acked::Counted);
        }
        // Another process holds it, as may have turned out just now, or nobody does.
        self.log.advance_consumer(self.app, name, seq).await
    }

    /// Ends a consumer and its connections. `false`: there is none of this name.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn remove(&self, name: &str) -> Result<bool, StoreError> {
        // A store that is away is noticed before anything is waited for.
        if self.log.consumer(self.app, name).await?.is_none() {
            return Ok(false);
        }
        // Nothing is kept of it meanwhile: that would move the cursor of the next one of this name.
        let _turn = self.cursor_store.turn().await;
        let existed = self.log.remove_consumer(self.app, name).await?;
        self.forget(name, "the consumer was deleted");
        Ok(existed)
    }

    /// Counts an acknowledgement, if this process holds the consumer; `false`: it is not clear for whom it counts.
    fn count(&self, name: &str, connection: Option<SessionId>, seq: Seq) -> Option<bool> {
        let mut entries = self.lock();
        let entry = entries.get_mut(name)?;
        let moved = entry.progress.ack(connection, seq);
        if moved == Some(true) {
            entry.changed.send_replace(());
        }
        drop(entries);
        self.cursor_store.notify();
        Some(moved.is_some())
    }

    /// Returns how many of them this process holds.
    pub(crate) fn held(&self) -> usize {
        self.lock().len()
    }

    /// Whether this process holds none of them.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().is_empty()
    }

    /// Lets go of a consumer and ends its connections. Whoever calls this has the cursor_store's turn.
    fn forget(&self, name: &str, why: &str) {
        let entry = self.lock().remove(name);
        self.put_out(&entry.map(|entry| entry.progress.members()).unwrap_or_default(), why);
    }

    fn put_out(&self, members: &[SessionId], why: &str) {
        for member in members {
            self.sessions.close_one(*member, CloseCode::TakenOver, why);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
