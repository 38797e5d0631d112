//! The cursors of named consumers in the store: the part of the [`EventLog`](super::EventLog) that only they need.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    error::StoreError,
    id::{AppId, Epoch, Seq},
    model::{consumer::ConsumerKey, sharing::Sharing},
};

/// The cursors of named consumers, and which process holds each consumer.
#[async_trait]
pub trait Cursors: Send + Sync + 'static {
    /// Returns a consumer's cursor. `None`: there is no consumer of this name.
    async fn consumer(&self, app: AppId, name: &str) -> Result<Option<StoredCursor>, StoreError>;

    /// Makes a process the holder of an exclusive consumer, and creates the consumer if it is new.
    async fn acquire(&self, request: Acquire<'_>) -> Result<Acquired, StoreError>;

    /// Saves the cursors of exclusive consumers; a cursor never goes back, and one of another epoch does not count. Returns those that
    /// the process still holds. When this returns, they are durable.
    async fn save_cursors(
        &self,
        holder: i64,
        cursors: &[StoredConsumer],
    ) -> Result<Vec<ConsumerKey>, StoreError>;

    /// Returns the exclusive consumers that a process holds.
    async fn held_by(&self, holder: i64) -> Result<Vec<ConsumerKey>, StoreError>;

    /// Advances the cursor of a consumer that this process does not hold and that is not shared. A cursor of another epoch is
    /// replaced. `false`: there is no such consumer.
    async fn advance_consumer(&self, app: AppId, name: &str, acked: Seq) -> Result<bool, StoreError>;

    /// Returns what processes share of a consumer, which is created if it is new. `None`: the app has too many.
    /// A new one has processed everything up to `start` in this epoch.
    async fn open_shared(
        &self,
        app: AppId,
        name: &str,
        start: Seq,
        epoch: Epoch,
    ) -> Result<Option<StoredSharing>, StoreError>;

    /// Returns what processes share of a consumer. `None`: there is no consumer of this name.
    async fn sharing(&self, app: AppId, name: &str) -> Result<Option<StoredSharing>, StoreError>;

    /// Replaces what processes share of consumers. Returns those for which nobody has done so since it was read, and whose epoch
    /// is still the same: only they are changed. When this returns, that is durable.
    async fn save_sharings(&self, saves: &[SharingSave]) -> Result<Vec<ConsumerKey>, StoreError>;

    /// Removes a consumer. `false`: there was no consumer of this name.
    async fn remove_consumer(&self, app: AppId, name: &str) -> Result<bool, StoreError>;
}

/// The request of a process to become the holder of a consumer.
#[derive(Clone, Copy, Debug)]
pub struct Acquire<'a> {
    /// The app.
    pub app_id: AppId,
    /// The name of the consumer.
    pub name: &'a str,
    /// Its cursor if it is new.
    pub start: Seq,
    /// The epoch of its cursor if it is new.
    pub epoch: Epoch,
    /// The newest event: no cursor is beyond it.
    pub head: Seq,
    /// The process.
    pub holder: i64,
    /// When the hold ends unless it is renewed.
    pub held_until: DateTime<Utc>,
}

/// The answer to [`Cursors::acquire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// The process holds the consumer.
    Held {
        /// Whether the cursor belongs to the present epoch.
        is_current: bool,
        /// Everything up to here is processed.
        acked: Seq,
        /// The previous holder; `None` if the consumer is new.
        before: Option<i64>,
    },
    /// The consumer would be new, and the app has too many.
    TooMany,
}

/// The result of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// It counts, and is durable.
    Counted,
    /// There is no such consumer.
    Unknown,
    /// Several connections share the work, and the acknowledgement does not name one of them.
    Ambiguous,
}

/// The cursor of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredCursor {
    /// Everything up to here is processed.
    pub acked: Seq,
    /// The epoch in which it was acknowledged; `None`: the present one.
    pub epoch: Option<Epoch>,
}

impl StoredCursor {
    /// Whether its number may be another event by now: it is of another epoch, or beyond the newest event.
    #[must_use]
    pub fn is_outdated(self, epoch: Epoch, head: Seq) -> bool {
        self.epoch.is_some_and(|own| own != epoch) || self.acked > head
    }
}

/// The cursor of a consumer, as its holder saves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConsumer {
    /// The app.
    pub app_id: AppId,
    /// The name of the consumer.
    pub name: String,
    /// Everything up to here is processed.
    pub acked: Seq,
    /// The epoch that the cursor belongs to. `None`: it has acknowledged nothing since the epoch changed, and its cursor stays.
    pub epoch: Option<Epoch>,
    /// How many connections it has.
    pub connections: usize,
    /// When the hold ends unless it is renewed.
    pub held_until: DateTime<Utc>,
}

/// What processes share of a consumer, as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSharing {
    /// Another one after each change.
    pub version: i64,
    /// Everything up to here is processed.
    pub acked: Seq,
    /// Whether that was acknowledged in the present epoch.
    pub is_current: bool,
    /// The present epoch.
    pub epoch: Epoch,
    /// Whether the consumer has the mode `exclusive`.
    pub is_exclusive: bool,
    /// Whether a process has connections of it, as far as the store knows.
    pub is_live: bool,
    /// What they share; `None`: nothing yet.
    pub sharing: Option<Sharing>,
}

/// What is to replace what processes share of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharingSave {
    /// The app.
    pub app_id: AppId,
    /// The name of the consumer.
    pub name: String,
    /// The version that was read.
    pub known: i64,
    /// The version from now on: a random number.
    pub version: i64,
    /// What they share from now on.
    pub sharing: Sharing,
    /// Until when the connections count as open, unless that is renewed.
    pub held_until: DateTime<Utc>,
}
