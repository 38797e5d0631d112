//! One who listens to an app's feed: what to say to it, one turn after the other. A WebSocket, a stream of server-sent
//! events and a long poll are thin clothes around it, so that all of them tell the same under the same `seq`.

use std::{sync::Arc, time::Duration};

use strum::{IntoStaticStr, VariantArray, VariantNames};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, warn};

use super::{
    SessionGuard,
    close_code::{CloseCode, SessionEnd},
    progress::DeliveryProgress,
    protocol::{BadCursor, ConsumerSaid, ControlMessage, OutboundMessage, gap, starting_point},
    snapshot::SnapshotCursor,
    subscription::Subscription,
    tenant::TenantHandle,
};
use crate::{
    consumer::{Acknowledger, Consumers, JoinError, Membership, Mode},
    error::StoreError,
    feed::{Batch, FeedReader},
    id::{Seq, SessionId},
    ports::{AuthenticatedKey, Bounds},
};

/// How long a reader rests when the store could not be read.
const READ_RETRY: Duration = Duration::from_secs(1);
/// How long what was skipped may go unannounced.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(1);

/// How a listener's events are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Transport {
    /// Over a WebSocket: a cursor that can't be served is announced as a gap.
    WebSocket,
    /// As server-sent events: such a cursor is refused.
    Stream,
    /// In the response to a request that waits: such a cursor is refused.
    Poll,
}

impl Transport {
    /// Returns the label in the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why somebody can't listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The app has too many listeners.
    TooMany,
    /// The cursor can't be served.
    Cursor(BadCursor, Bounds),
    /// It can't be one of the consumer's connections.
    Consumer(JoinError),
    /// The store could not be asked.
    Store(StoreError),
}

impl From<JoinError> for Refusal {
    fn from(reason: JoinError) -> Self {
        match reason {
            JoinError::Store(failure) => Self::Store(failure),
            reason => Self::Consumer(reason),
        }
    }
}

/// What is said at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboundBatch {
    /// One after the other.
    pub messages: Vec<OutboundMessage>,
    /// After these messages, it is over.
    pub end: Option<SessionEnd>,
}

/// One who listens. Dropping it is leaving.
pub struct Listener {
    seat: SessionGuard,
    hung_up: oneshot::Receiver<SessionEnd>,
    reader: FeedReader,
    /// Its place in a named consumer.
    membership: Option<Membership>,
    ids_as_text: bool,
    /// What is said before anything else.
    first: Vec<OutboundMessage>,
    /// What is said then, if it was asked for: the calls that are not over.
    snapshot: Option<Box<SnapshotCursor>>,
    /// Where the reader stands.
    cursor: Seq,
    /// When it is to be told where it stands, because events were skipped since the last one.
    announce_at: Option<Instant>,
    over: bool,
}

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn open(
        tenant: &TenantHandle,
        admission: AuthenticatedKey,
        wanted: Subscription,
        transport: Transport,
    ) -> Result<Self, Refusal> {
        let id = SessionId::generate();
        let entered = tenant.sessions.enter(id, admission.key_id, transport);
        let (seat, hung_up) = entered.ok_or(Refusal::TooMany)?;
        let bounds = tenant.bounds().await.map_err(Refusal::Store)?;
        let (mut start, gap) = beginning(&tenant.consumers, &wanted, transport, bounds).await?;
        let (mut seq, mut snapshot) = (bounds.head, None);
        if wanted.snapshot {
            let calls = tenant.feed.active_calls(&tenant.log).await.map_err(Refusal::Store)?;
            (start, seq) = (calls.as_of, calls.as_of);
            snapshot = Some(Box::new(SnapshotCursor::new(calls, wanted.filter.clone(), wanted.ids_as_text)));
        }
        let membership = match wanted.consumer {
            Some(consumer) => Some(tenant.consumers.join(consumer, id, start, bounds).await?),
            None => None,
        };
        let start = membership.as_ref().map_or(start, Membership::acked);
        let connected = ControlMessage::Connected {
            app_id: admission.app_id,
            session_id: id,
            seq,
            oldest_seq: bounds.oldest,
            consumer: membership.as_ref().map(ConsumerSaid::of),
        };
        // Whoever breaks off before it has heard the active calls is to begin with them again.
        let mut first = vec![connected.message(snapshot.is_none().then_some(start))];
        first.extend(gap.map(|gap| gap.message(Some(start))));
        let (feed, log) = (Arc::clone(&tenant.feed), Arc::clone(&tenant.log));
        let reader = FeedReader::new(feed, log, start, wanted.filter);
        let ids_as_text = wanted.ids_as_text;
        let (cursor, announce_at, over) = (start, None, false);
        Ok(Self {
            seat,
            hung_up,
            reader,
            membership,
            ids_as_text,
            first,
            snapshot,
            cursor,
            announce_at,
            over,
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.seat.id
    }

    /// Everything up to here was said to it, or is not for it.
    #[must_use]
    pub fn cursor(&self) -> Seq {
        self.cursor
    }

    /// What to say next; waits while there is nothing. `None` when it is over. Asking says that the turn before was
    /// taken.
    pub async fn next(&mut self) -> Option<OutboundBatch> {
        if self.over {
            return None;
        }
        // Always pending once: whoever polls this for a socket writes out the turn before, and comes back only when
        // there is room for another one. Nothing is prepared for a client that does not read.
        tokio::task::yield_now().await;
        self.seat.pulse.took();
        let turn = match self.begin() {
            Some(turn) => turn,
            None => self.listen().await,
        };
        self.over = turn.end.is_some();
        self.seat.pulse.gave();
        Some(turn)
    }

    /// What is said before any event, as long as there is more of it.
    fn begin(&mut self) -> Option<OutboundBatch> {
        if !self.first.is_empty() {
            return Some(OutboundBatch { messages: std::mem::take(&mut self.first), end: None });
        }
        let telling = self.snapshot.as_mut()?;
        let piece = telling.next_piece();
        if let Ok(ending) = self.hung_up.try_recv() {
            return Some(self.take_leave(ending));
        }
        if piece.cursor.is_some() {
            self.snapshot = None;
        }
        Some(OutboundBatch { messages: vec![piece], end: None })
    }

    async fn listen(&mut self) -> OutboundBatch {
        loop {
            let announce_at = self.announce_at;
            let announce = async {
                match announce_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // The register is kept for as long as the seat is, so somebody has hung up.
                ending = &mut self.hung_up => return self.take_leave(ending.unwrap_or_else(|_| gone())),
                batch = read(&mut self.reader, self.membership.as_mut(), self.seat.id) => match batch {
                    Some(batch) => {
                        if let Some(turn) = self.take(batch) {
                            return turn;
                        }
                    }
                    None => return OutboundBatch { messages: Vec::new(), end: Some(gone()) },
                },
                () = announce => {
                    self.announce_at = None;
                    let word = ControlMessage::Cursor { seq: self.cursor }.message(Some(self.cursor));
                    return OutboundBatch { messages: vec![word], end: None };
                }
            }
        }
    }

    /// Makes a turn of a batch, unless there is nothing in it for this listener.
    fn take(&mut self, batch: Batch) -> Option<OutboundBatch> {
        let mut messages = Vec::with_capacity(batch.frames.len() + usize::from(batch.gap.is_some()));
        self.cursor = batch.cursor;
        if let Some((from_seq, to_seq)) = batch.gap {
            let (oldest_seq, seq) = (to_seq.next(), batch.cursor);
            let gap = ControlMessage::Gap { reason: "expired", from_seq, to_seq, oldest_seq, seq };
            messages.push(gap.message(Some(to_seq)));
        }
        messages.extend(batch.frames.into_iter().map(|frame| OutboundMessage::of(frame, self.ids_as_text)));
        let told = messages.last().and_then(|word| word.cursor);
        // Where several share the work, others have what lies between: no place follows from it.
        let is_shared = self.membership.as_ref().is_some_and(|place| place.consumer().mode == Mode::Share);
        if told == Some(batch.cursor) || is_shared {
            self.announce_at = None;
        } else {
            self.announce_at.get_or_insert_with(|| Instant::now() + ANNOUNCE_AFTER);
        }
        (!messages.is_empty()).then_some(OutboundBatch { messages, end: None })
    }

    fn take_leave(&self, ending: SessionEnd) -> OutboundBatch {
        let mut messages = Vec::new();
        if ending.code == CloseCode::GoingAway {
            // Spread over a few seconds, so that they do not all come back in the same moment.
            let after_ms = 500 + u64::from(self.seat.id.0.as_bytes()[15]) * 10;
            messages.push(ControlMessage::Reconnect { after_ms }.message(None));
        }
        OutboundBatch { messages, end: Some(ending) }
    }

    /// Says for it what it has dealt with, where it is a named consumer's.
    pub(super) fn acknowledger(&self) -> Option<Acknowledger> {
        self.membership.as_ref().map(Membership::acknowledger)
    }

    /// What is seen of it from outside.
    pub(super) fn watched(&self) -> Arc<DeliveryProgress> {
        Arc::clone(&self.seat.pulse)
    }
}

/// Where a listener begins that is none of a consumer's connections yet, and what it is told to have missed.
async fn beginning(
    consumers: &Consumers,
    wanted: &Subscription,
    transport: Transport,
    bounds: Bounds,
) -> Result<(Seq, Option<ControlMessage>), Refusal> {
    let kept = match &wanted.consumer {
        Some(consumer) => consumers.standing_of(&consumer.name).await.map_err(Refusal::Store)?,
        None => None,
    };
    let after = kept.or(wanted.after);
    let (start, problem) = starting_point(after, bounds);
    let (Some(after), Some(problem)) = (after, problem) else { return Ok((start, None)) };
    if transport == Transport::WebSocket || kept.is_some() {
        return Ok((start, Some(gap(after, problem, bounds))));
    }
    // The beginning is always a place to begin at where a gap can't be told.
    if after == Seq::START && problem == BadCursor::Expired {
        return Ok((start, None));
    }
    Err(Refusal::Cursor(problem, bounds))
}

fn gone() -> SessionEnd {
    SessionEnd { code: CloseCode::GoingAway, reason: "the feed ended".to_owned() }
}

/// The next batch, however often the store has to be asked.
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
                sleep(READ_RETRY).await;
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        debug!(session.id = %self.seat.id, cursor = %self.cursor, "a listener left");
    }
}
