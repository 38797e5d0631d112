//! Where named consumers stand, as the store has it: the part of the [`crate::ports::EventLog`] that only they need.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Acked, ConsumerKey, Mode};
use crate::{
    error::StoreError,
    id::{AppId, Seq},
};

/// The cursors of named consumers, and which process holds each.
#[async_trait]
pub trait Cursors: Send + Sync + 'static {
    /// Everything up to here a consumer has dealt with; `None` if there is none of this name.
    async fn consumer(&self, app: AppId, name: &str) -> Result<Option<Seq>, StoreError>;

    /// Makes this process the holder of a consumer, and the consumer if it is new.
    async fn take_up(&self, wish: Acquire<'_>) -> Result<Acquired, StoreError>;

    /// Keeps where consumers stand, never further back than is known already. Gives those that this process still
    /// holds. When this returns, it is durable.
    async fn keep_consumers(
        &self,
        holder: i64,
        cursors: &[StoredConsumer],
    ) -> Result<Vec<ConsumerKey>, StoreError>;

    /// All that this process holds.
    async fn consumers_of(&self, holder: i64) -> Result<Vec<ConsumerKey>, StoreError>;

    /// Moves a consumer on that this process does not hold.
    async fn advance_consumer(&self, app: AppId, name: &str, acked: Seq) -> Result<Acked, StoreError>;

    /// Removes a consumer; `false`: there was none of this name.
    async fn remove_consumer(&self, app: AppId, name: &str) -> Result<bool, StoreError>;
}

/// A process wants to be the holder of a consumer.
#[derive(Clone, Copy, Debug)]
pub struct Acquire<'a> {
    /// Whose consumer it is.
    pub app_id: AppId,
    /// Its name.
    pub name: &'a str,
    /// How its connections stand to each other from now on.
    pub mode: Mode,
    /// Where it begins if it is new.
    pub start: Seq,
    /// The newest event: no consumer stands further.
    pub head: Seq,
    /// The process.
    pub holder: i64,
    /// Until when it is the holder without being heard of again.
    pub held_until: DateTime<Utc>,
}

/// What came of [`Cursors::take_up`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// It is held.
    Held {
        /// Everything up to here is dealt with.
        acked: Seq,
        /// Who held it until now; `None` where it is new.
        before: Option<i64>,
    },
    /// It is to be shared, and another process holds connections that share it.
    Elsewhere,
    /// It would be new, and the app has too many.
    TooMany,
}

/// Where a consumer stands, as its holder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConsumer {
    /// Whose consumer it is.
    pub app_id: AppId,
    /// Its name.
    pub name: String,
    /// Everything up to here is dealt with.
    pub acked: Seq,
    /// How many connections it has.
    pub connections: usize,
    /// Until when they are believed to be there without being heard of again.
    pub held_until: DateTime<Utc>,
}
