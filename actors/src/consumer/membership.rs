//! A connection's place in a consumer: how it gets it, what it is given there, and that it leaves it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{Consumer, Consumers, Entry, Progress, partitions::Standing};
use crate::{
    error::StoreError,
    feed::{Batch, FeedReader},
    id::{Seq, SessionId},
    ports::{Acquire, Acquired, Bounds},
};

/// How long is waited for another process to let go of a consumer: somewhat longer than it could if it had died.
const WAIT_FOR_HOLDER: Duration = Duration::from_secs(6);
/// How often is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Why somebody can't be a consumer's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The connections that share its work are at another process.
    Elsewhere,
    /// The app has too many consumers, and this would be a new one.
    TooMany,
    /// The store could not be asked.
    Store(StoreError),
}

impl From<StoreError> for JoinError {
    fn from(failure: StoreError) -> Self {
        Self::Store(failure)
    }
}

/// A connection's place in a consumer. Dropping it leaves it.
pub(crate) struct Membership {
    consumers: Arc<Consumers>,
    consumer: Consumer,
    member: SessionId,
    changed: watch::Receiver<()>,
    acked: Seq,
}

impl Consumers {
    /// Where a consumer stands, as the store has it; `None` if there is none of this name.
    pub(crate) async fn standing_of(&self, name: &str) -> Result<Option<Seq>, StoreError> {
        self.log.consumer(self.app, name).await
    }

    /// Makes a connection one of a consumer's, which begins behind `start` if it is new, and stands within what is kept
    /// of the feed.
    pub(crate) async fn join(
        self: &Arc<Self>,
        consumer: Consumer,
        member: SessionId,
        start: Seq,
        kept: Bounds,
    ) -> Result<Membership, JoinError> {
        let give_up = Instant::now() + WAIT_FOR_HOLDER;
        loop {
            match self.try_to_join(&consumer, member, start, kept).await {
                Ok((changed, acked)) => {
                    self.cursor_store.notify();
                    return Ok(Membership { consumers: Arc::clone(self), consumer, member, changed, acked });
                }
                Err(JoinError::Elsewhere) if Instant::now() < give_up => sleep(LOOK_AGAIN).await,
                Err(refusal) => return Err(refusal),
            }
        }
    }

    async fn try_to_join(
        &self,
        consumer: &Consumer,
        member: SessionId,
        start: Seq,
        kept: Bounds,
    ) -> Result<(watch::Receiver<()>, Seq), JoinError> {
        let _entering = self.cursor_store.entering().await;
        let (holder, asked_at) = (self.cursor_store.holder(), Instant::now());
        let wish = Acquire {
            app_id: self.app,
            name: &consumer.name,
            mode: consumer.mode,
            start,
            head: kept.head,
            holder,
            held_until: self.cursor_store.lease(consumer.mode),
        };
        let (acked, before) = match self.log.take_up(wish).await? {
            Acquired::Held { acked, before } => (acked, before),
            Acquired::Elsewhere => return Err(JoinError::Elsewhere),
            Acquired::TooMany => return Err(JoinError::TooMany),
        };
        if before != Some(holder) {
            self.forget_if_older(&consumer.name, asked_at);
        }
        // What is gone nobody has to deal with any more.
        Ok(self.enter(consumer, member, acked.max(Seq(kept.oldest.0 - 1))))
    }

    /// What this process remembers of a consumer is of an earlier time, if nobody has entered it since.
    fn forget_if_older(&self, name: &str, asked_at: Instant) {
        if self.lock().get(name).is_some_and(|entry| entry.entered_at < asked_at) {
            self.forget(name, "the consumer was taken over meanwhile");
        }
    }

    fn enter(&self, consumer: &Consumer, member: SessionId, acked: Seq) -> (watch::Receiver<()>, Seq) {
        let mut entries = self.lock();
        let entry = entries.entry(consumer.name.clone()).or_insert_with(|| Entry {
            progress: Progress::new(consumer.mode, acked),
            changed: watch::channel(()).0,
            entered_at: Instant::now(),
            kept: None,
            renew_at: Instant::now(),
        });
        let before = entry.progress.members();
        entry.progress.enter(consumer.mode, member, acked);
        entry.entered_at = Instant::now();
        entry.kept = None;
        entry.changed.send_replace(());
        let place = (entry.changed.subscribe(), entry.progress.low_water());
        let after = entry.progress.members();
        drop(entries);
        let out: Vec<SessionId> = before.into_iter().filter(|member| !after.contains(member)).collect();
        self.put_out(&out, "a newer connection of this consumer has taken over");
        place
    }
}

impl Membership {
    /// Everything up to here was dealt with when it came.
    pub(crate) fn acked(&self) -> Seq {
        self.acked
    }

    pub(crate) fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// The next events that are this connection's; `None` when the feed is gone.
    pub(crate) async fn next(&mut self, reader: &mut FeedReader) -> Result<Option<Batch>, StoreError> {
        loop {
            // Marked as seen before looking: what changes after the look wakes the waits below.
            self.changed.borrow_and_update();
            let changed = match self.standing() {
                Standing::At(place) => {
                    reader.seek(place);
                    tokio::select! {
                        biased;
                        changed = self.changed.changed() => changed,
                        batch = reader.next() => {
                            let Some(mut batch) = batch? else { return Ok(None) };
                            if self.take(place, &mut batch) {
                                return Ok(Some(batch));
                            }
                            continue;
                        }
                    }
                }
                Standing::Full | Standing::Out => self.changed.changed().await,
            };
            if changed.is_err() {
                // Nobody holds the consumer any more: whoever let go of it ends this connection as well.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Says that this connection has dealt with this event and all that were given to it before.
    pub(crate) fn acknowledger(&self) -> Acknowledger {
        let (consumers, name) = (Arc::clone(&self.consumers), self.consumer.name.clone());
        Acknowledger { consumers, name, member: self.member }
    }

    fn standing(&self) -> Standing {
        let entries = self.consumers.lock();
        entries.get(&self.consumer.name).map_or(Standing::Out, |entry| entry.progress.standing(self.member))
    }

    /// Takes of a batch that was read from here what is this connection's; `false` when it stands elsewhere by now.
    fn take(&self, from: Seq, batch: &mut Batch) -> bool {
        let mut entries = self.consumers.lock();
        let Some(entry) = entries.get_mut(&self.consumer.name) else { return false };
        let taken = entry.progress.take(self.member, from, batch);
        drop(entries);
        self.consumers.cursor_store.notify();
        taken
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut entries = self.consumers.lock();
        if let Some(entry) = entries.get_mut(&self.consumer.name)
            && entry.progress.leave(self.member)
        {
            entry.changed.send_replace(());
        }
        drop(entries);
        self.consumers.cursor_store.notify();
    }
}

/// Says for one connection what it has dealt with.
pub(crate) struct Acknowledger {
    consumers: Arc<Consumers>,
    name: String,
    member: SessionId,
}

impl Acknowledger {
    /// It has dealt with this event and with all that were given to it before.
    pub(crate) fn ack(&self, seq: Seq) {
        // Nobody holds it any more: then this connection is about to end.
        let _ = self.consumers.count(&self.name, Some(self.member), seq);
    }
}
