//! One reader of an app's feed: which messages to send to it, one batch after the other. WebSockets, server-sent events
//! and long polls are thin layers around it, so that all of them deliver the same under the same `seq`.

use std::{sync::Arc, time::Duration};

use opentelemetry::global::BoxedSpan;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, warn};

use super::{
    close_code::{CloseCode, SessionEnd},
    progress::DeliveryProgress,
    protocol::{BadCursor, ConsumerFields, ControlMessage, OutboundBatch, OutboundMessage, gap},
    registry::{SessionGuard, Transport},
    snapshot::SnapshotCursor,
    start::{Refusal, find_start},
    subscription::Subscription,
    tenant::TenantHandle,
    watermark::Watermarks,
};
use crate::{
    consumer::{Acknowledger, Membership, Mode},
    feed::{Batch, FeedReader, Missing},
    id::{Epoch, Seq, SessionId},
    ports::{AuthenticatedKey, Bounds, GapTimes},
    trace,
};

/// How long a session waits after it could not read the store.
const READ_RETRY_BACKOFF: Duration = Duration::from_secs(1);
/// After how long skipped events are announced, unless an event follows.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(1);

/// One reader of an app's feed. Dropping it ends the session.
pub struct Listener {
    guard: SessionGuard,
    close_rx: oneshot::Receiver<SessionEnd>,
    reader: FeedReader,
    /// Its membership of a named consumer.
    membership: Option<Membership>,
    ids_as_text: bool,
    /// The first messages.
    first: Vec<OutboundMessage>,
    /// The calls that are not over, which follow if they were asked for.
    snapshot: Option<Box<SnapshotCursor>>,
    /// Everything up to here was sent to it, or is not for it.
    cursor: Seq,
    /// The epoch of the cursor.
    epoch: Epoch,
    /// When to tell that silence is health, if that was asked for.
    watermarks: Option<Watermarks>,
    /// When to announce the cursor, because events were skipped since it was announced last.
    announce_at: Option<Instant>,
    /// The deliveries that its client has not taken yet, of those that are traced.
    delivering: Vec<BoxedSpan>,
    has_ended: bool,
}

impl Listener {
    /// Opens a session.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn open(
        tenant: &TenantHandle,
        key: AuthenticatedKey,
        mut subscription: Subscription,
        transport: Transport,
    ) -> Result<Self, Refusal> {
        let id = SessionId::generate();
        let (guard, close_rx) =
            tenant.sessions.register(id, key.key_id, transport).ok_or(Refusal::TooMany)?;
        if subscription.filter.has_numbers() {
            let region = tenant.log.region(key.app_id).await?;
            subscription.filter = subscription.filter.in_region(region);
        }
        let bounds = tenant.bounds().await?;
        let (mut start, gap) = find_start(tenant, &subscription, transport, bounds).await?;
        let Bounds { mut epoch, head: mut seq, .. } = bounds;
        let mut snapshot = None;
        if subscription.snapshot {
            let calls = tenant.feed.active_calls(&tenant.log).await?;
            start = calls.as_of;
            seq = calls.as_of;
            epoch = calls.epoch;
            let filter = subscription.filter.clone();
            snapshot = Some(Box::new(SnapshotCursor::new(calls, filter, subscription.ids_as_text)));
        }
        let membership = match subscription.consumer {
            Some(consumer) => Some(Membership::join(&tenant.consumers, consumer, id, start, bounds).await?),
            None => None,
        };
        let start = membership.as_ref().map_or(start, Membership::acked);
        let connected = ControlMessage::Connected {
            app_id: key.app_id,
            session_id: id,
            epoch,
            seq,
            oldest_seq: bounds.oldest,
            consumer: membership.as_ref().map(ConsumerFields::of),
        };
        // A client that loses the connection before it has the whole snapshot has to begin with it again.
        let mut first = vec![connected.message(snapshot.is_none().then_some(start))];
        first.extend(gap.map(|gap| gap.message(Some(start))));
        let feed = Arc::clone(&tenant.feed);
        let log = Arc::clone(&tenant.log);
        Ok(Self {
            guard,
            close_rx,
            reader: FeedReader::new(feed, log, start, subscription.filter).in_epoch(epoch),
            membership,
            ids_as_text: subscription.ids_as_text,
            first,
            snapshot,
            cursor: start,
            epoch,
            watermarks: subscription.watermark.then(|| Watermarks::begin(Instant::now())),
            announce_at: None,
            delivering: Vec::new(),
            has_ended: false,
        })
    }

    /// Returns the id of the session.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.guard.id
    }

    /// Returns the cursor: everything up to it was sent, or is not for this session.
    #[must_use]
    pub fn cursor(&self) -> Seq {
        self.cursor
    }

    /// Returns the epoch of the cursor, which is that of all messages that were returned last.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the next messages; waits while there are none. `None`: the session has ended. A call says that the batch
    /// before was taken.
    pub async fn next(&mut self) -> Option<OutboundBatch> {
        if self.has_ended {
            return None;
        }
        // Always pending once: what polls this for a socket first writes out the batch before, and comes back when there
        // is room for another one. Nothing is prepared for a client that does not read.
        tokio::task::yield_now().await;
        self.guard.progress.taken();
        self.delivering.clear();
        let batch = match self.opening_batch() {
            Some(batch) => batch,
            None => self.live_batch().await,
        };
        self.has_ended = batch.end.is_some();
        self.guard.sent(&batch);
        Some(batch)
    }

    /// Returns the next messages that precede the events, as long as there are any.
    fn opening_batch(&mut self) -> Option<OutboundBatch> {
        if !self.first.is_empty() {
            return Some(OutboundBatch { messages: std::mem::take(&mut self.first), end: None });
        }
        let part = self.snapshot.as_mut()?.next_part();
        if let Ok(end) = self.close_rx.try_recv() {
            return Some(self.closing_batch(end));
        }
        if part.cursor.is_some() {
            self.snapshot = None;
        }
        Some(OutboundBatch { messages: vec![part], end: None })
    }

    async fn live_batch(&mut self) -> OutboundBatch {
        loop {
            let announce = due(self.announce_at);
            let watermark = due(self.watermarks.as_ref().map(Watermarks::due));
            tokio::select! {
                biased;
                // An error is impossible: the registry keeps the sender for as long as the guard lives.
                end = &mut self.close_rx => return self.closing_batch(end.unwrap_or_else(|_| feed_ended())),
                batch = read(&mut self.reader, self.membership.as_mut(), self.guard.id) => match batch {
                    Some(batch) => {
                        if let Some(batch) = self.on_frames(batch) {
                            return batch;
                        }
                    }
                    None => return OutboundBatch { messages: Vec::new(), end: Some(feed_ended()) },
                },
                () = announce => {
                    self.announce_at = None;
                    let cursor = ControlMessage::Cursor { seq: self.cursor };
                    return OutboundBatch { messages: vec![cursor.message(Some(self.cursor))], end: None };
                }
                () = watermark => {
                    let checked = self.reader.checked();
                    let watermarks = self.watermarks.as_mut();
                    let next = watermarks.and_then(|it| it.next(Instant::now(), self.cursor, checked));
                    if let Some(watermark) = next {
                        self.announce_at = None;
                        let message = watermark.message(Some(self.cursor));
                        return OutboundBatch { messages: vec![message], end: None };
                    }
                }
            }
        }
    }

    /// Moves the cursor behind a batch of frames. Returns their messages, unless there are none.
    fn on_frames(&mut self, batch: Batch) -> Option<OutboundBatch> {
        let mut messages = Vec::with_capacity(batch.frames.len() + usize::from(batch.gap.is_some()));
        self.cursor = batch.cursor;
        match batch.gap {
            Some(Missing::EpochChanged(bounds)) if self.membership.is_some() => {
                // Its next connection begins at the cursor that the store has now.
                self.epoch = bounds.epoch;
                return Some(self.closing_batch(feed_was_reset()));
            }
            Some(missing) => {
                let gap = self.gap(missing, batch.cursor);
                if let ControlMessage::Gap { epoch, to_seq, .. } = gap {
                    self.epoch = epoch;
                    messages.push(gap.message(Some(to_seq)));
                }
            }
            None => {}
        }
        if let (Some(first), Some(last)) = (batch.frames.first(), batch.frames.last()) {
            let (first_seq, last_seq) = (first.seq.0, last.seq.0);
            debug!(session.id = %self.guard.id, first_seq, last_seq, "events were sent to a client");
        }
        let (id, transport) = (self.guard.id, self.guard.transport.as_str());
        self.delivering.extend(batch.frames.iter().filter_map(|it| trace::delivery(id, transport, it)));
        messages
            .extend(batch.frames.into_iter().map(|frame| OutboundMessage::of_event(frame, self.ids_as_text)));
        let announced = messages.last().and_then(|message| message.cursor);
        // Where several connections share the work, others have what lies between: a cursor would mean nothing.
        let is_shared =
            self.membership.as_ref().is_some_and(|membership| membership.consumer().mode == Mode::Share);
        if announced == Some(batch.cursor) || is_shared {
            self.announce_at = None;
        } else {
            self.announce_at.get_or_insert_with(|| Instant::now() + ANNOUNCE_AFTER);
        }
        (!messages.is_empty()).then_some(OutboundBatch { messages, end: None })
    }

    /// Returns the announcement of what is missing before a batch that ends at `cursor`.
    fn gap(&self, missing: Missing, cursor: Seq) -> ControlMessage {
        match missing {
            Missing::Expired { first, last, times } => {
                let bounds = Bounds { epoch: self.epoch, oldest: last.next(), head: cursor };
                gap(Seq(first.0 - 1), last, BadCursor::Expired, bounds, times)
            }
            Missing::EpochChanged(bounds) => {
                gap(self.cursor, cursor, BadCursor::OtherEpoch, bounds, GapTimes::default())
            }
        }
    }

    fn closing_batch(&self, end: SessionEnd) -> OutboundBatch {
        let mut messages = Vec::new();
        if end.code == CloseCode::GoingAway {
            // Spread over a few seconds, so that the clients do not all reconnect in the same moment.
            let after_ms = 500 + u64::from(self.guard.id.0.as_bytes()[15]) * 10;
            messages.push(ControlMessage::Reconnect { after_ms }.message(None));
        }
        OutboundBatch { messages, end: Some(end) }
    }

    /// Returns what acknowledges for it, if it is a connection of a named consumer.
    pub(super) fn acknowledger(&self) -> Option<Acknowledger> {
        self.membership.as_ref().map(Membership::acknowledger)
    }

    pub(super) fn progress(&self) -> Arc<DeliveryProgress> {
        Arc::clone(&self.guard.progress)
    }
}

/// Waits for an instant, or for ever.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn feed_was_reset() -> SessionEnd {
    SessionEnd { code: CloseCode::GoingAway, reason: "the feed was reset: reconnect".to_owned() }
}

fn feed_ended() -> SessionEnd {
    SessionEnd { code: CloseCode::GoingAway, reason: "the feed ended".to_owned() }
}

/// Returns the next frames; asks the store until it answers. `None`: the feed has ended.
async fn read(
    reader: &mut FeedReader,
    mut membership: Option<&mut Membership>,
    id: SessionId,
) -> Option<Batch> {
    loop {
        let batch = match &mut membership {
            Some(membership) => membership.next(reader).await,
            None => reader.next().await,
        };
        match batch {
            Ok(batch) => return batch,
            Err(failure) => {
                warn!(session.id = %id, error = %failure, "a session could not read its feed");
                sleep(READ_RETRY_BACKOFF).await;
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        debug!(session.id = %self.guard.id, cursor = %self.cursor, "a session ended");
    }
}
