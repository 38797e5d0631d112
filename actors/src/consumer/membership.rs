//! A connection as a member of a consumer: joining, reading, acknowledging, leaving.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Consumer, Consumers, partitions::ReadState};
use crate::{
    error::StoreError,
    feed::{Batch, FeedReader, Missing},
    id::{Seq, SessionId},
    ports::Bounds,
};

/// Why a connection can't join a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The app has too many consumers, and this would be a new one.
    TooMany,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for JoinError {
    fn from(failure: StoreError) -> Self {
        Self::Store(failure)
    }
}

/// A connection's membership of a consumer. Dropping it leaves the consumer.
pub(crate) struct Membership {
    consumers: Arc<Consumers>,
    consumer: Consumer,
    member: SessionId,
    changed: watch::Receiver<()>,
    acked: Seq,
}

impl Membership {
    /// Makes a connection one of a consumer's. A new consumer begins after `start`. The cursor is moved into `bounds`.
    pub(crate) async fn join(
        consumers: &Arc<Consumers>,
        consumer: Consumer,
        member: SessionId,
        start: Seq,
        bounds: Bounds,
    ) -> Result<Self, JoinError> {
        let (changed, acked) = consumers.join(&consumer, member, start, bounds).await?;
        Ok(Self { consumers: Arc::clone(consumers), consumer, member, changed, acked })
    }

    /// Returns the cursor of the consumer when the connection joined.
    pub(crate) fn acked(&self) -> Seq {
        self.acked
    }

    pub(crate) fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// Returns the next events for this connection. `None`: the feed has ended.
    pub(crate) async fn next(&mut self, reader: &mut FeedReader) -> Result<Option<Batch>, StoreError> {
        loop {
            // Marked as seen before looking: what changes after the look wakes the waits below.
            self.changed.borrow_and_update();
            let changed = match self.consumers.read_state(&self.consumer.name, self.member) {
                ReadState::After(position) => {
                    reader.seek(position);
                    tokio::select! {
                        biased;
                        changed = self.changed.changed() => changed,
                        batch = reader.next() => {
                            let Some(mut batch) = batch? else { return Ok(None) };
                            if let Some(Missing::EpochChanged(_)) = batch.gap {
                                return Ok(Some(batch));
                            }
                            let name = &self.consumer.name;
                            if self.consumers.deliver(name, self.member, position, &mut batch) {
                                return Ok(Some(batch));
                            }
                            continue;
                        }
                    }
                }
                ReadState::Waits | ReadState::NotMember => tokio::select! {
                    biased;
                    changed = self.changed.changed() => changed,
                    batch = reader.reset() => return batch,
                },
            };
            if changed.is_err() {
                // The process no longer holds the consumer; what dropped it closes this connection as well.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns what acknowledges for this connection.
    pub(crate) fn acknowledger(&self) -> Acknowledger {
        let consumers = Arc::clone(&self.consumers);
        Acknowledger { consumers, name: self.consumer.name.clone(), member: self.member }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.consumers.leave(&self.consumer.name, self.member);
    }
}

/// Acknowledges for one connection.
pub(crate) struct Acknowledger {
    consumers: Arc<Consumers>,
    name: String,
    member: SessionId,
}

impl Acknowledger {
    /// Acknowledges this event and all that were delivered to the connection before it.
    pub(crate) fn ack(&self, seq: Seq) {
        // `None`: the process no longer holds the consumer, and this connection is about to be closed.
        let _ = self.consumers.count_ack(&self.name, Some(self.member), seq);
    }
}
