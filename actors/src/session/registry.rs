//! The open sessions of an app.

use std::{collections::HashMap, ops::Add, sync::Arc, time::Duration};

use metrics::{Counter, counter, gauge};
use parking_lot::Mutex;
use strum::{IntoStaticStr, VariantArray, VariantNames};
use tokio::sync::oneshot;
use tracing::info;

use super::{
    close_code::{CloseCode, SessionEnd},
    progress::DeliveryProgress,
    protocol::OutboundBatch,
};
use crate::{
    consumer::CloseConnection,
    id::{KeyId, SessionId},
};

/// How a session's events are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Transport {
    /// Over a WebSocket: a cursor that can't be served is announced as a gap.
    WebSocket,
    /// As server-sent events: such a cursor is refused, unless it is of another epoch.
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

/// After how long without taking anything a client lags.
const LAGGING_AFTER: Duration = Duration::from_secs(1);

/// What the sessions of this moment wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionBacklog {
    /// Bytes that sessions were given and their clients have not taken yet.
    pub queued_bytes: usize,
    /// Sessions whose client has taken nothing for more than a second.
    pub lagging: usize,
}

impl Add for SessionBacklog {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { queued_bytes: self.queued_bytes + other.queued_bytes, lagging: self.lagging + other.lagging }
    }
}

/// The open sessions of one app.
pub struct Sessions {
    max: usize,
    open: Mutex<HashMap<SessionId, Entry>>,
}

struct Entry {
    key_id: KeyId,
    transport: Transport,
    progress: Arc<DeliveryProgress>,
    /// Taken by what closes the session first.
    close_tx: Option<oneshot::Sender<SessionEnd>>,
}

impl Entry {
    fn close(&mut self, code: CloseCode, reason: &str) {
        if let Some(close_tx) = self.close_tx.take() {
            // An error means that the session has ended by itself.
            let _ = close_tx.send(SessionEnd { code, reason: reason.to_owned() });
        }
    }
}

/// An open session, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// The session.
    pub id: SessionId,
    /// The key that opened it.
    pub key_id: KeyId,
    /// How its events are delivered.
    pub transport: Transport,
    /// For how long its client has not taken what it was sent.
    pub stalled_for: Duration,
}

/// A session's registration. Dropping it removes the session.
pub(super) struct SessionGuard {
    sessions: Arc<Sessions>,
    pub(super) id: SessionId,
    pub(super) transport: Transport,
    delivered: Counter,
    pub(super) progress: Arc<DeliveryProgress>,
}

impl SessionGuard {
    /// Records that a batch is given to the connection.
    pub(super) fn sent(&self, batch: &OutboundBatch) {
        let (events, bytes) = batch.size();
        self.delivered.increment(events);
        self.progress.sent(bytes);
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.sessions.open.lock().remove(&self.id);
        gauge!("cti_feed_listeners", "transport" => self.transport.as_str()).decrement(1);
    }
}

impl Sessions {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, open: Mutex::default() })
    }

    /// Returns how many sessions are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Whether no session is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the sessions that have been open for the longest time, at most so many: their ids begin with the time.
    #[must_use]
    pub fn oldest(&self, max: usize) -> Vec<OpenSession> {
        let open = self.open.lock();
        let mut listed: Vec<OpenSession> = open
            .iter()
            .map(|(id, entry)| OpenSession {
                id: *id,
                key_id: entry.key_id,
                transport: entry.transport,
                stalled_for: entry.progress.stalled_for(),
            })
            .collect();
        drop(open);
        listed.sort_unstable_by_key(|session| session.id);
        listed.truncate(max);
        listed
    }

    /// Closes one session. Returns whether it was open.
    pub fn close_one(&self, id: SessionId, code: CloseCode, reason: &str) -> bool {
        let mut open = self.open.lock();
        let entry = open.get_mut(&id);
        entry.map(|entry| entry.close(code, reason)).is_some()
    }

    /// Closes the sessions that a key opened.
    pub fn close_of_key(&self, key_id: KeyId, code: CloseCode, reason: &str) {
        for entry in self.open.lock().values_mut().filter(|entry| entry.key_id == key_id) {
            entry.close(code, reason);
        }
    }

    /// Closes all sessions.
    pub fn close_all(&self, code: CloseCode, reason: &str) {
        for entry in self.open.lock().values_mut() {
            entry.close(code, reason);
        }
    }

    /// Closes the sessions whose client has taken nothing for so long.
    pub(crate) fn close_stuck(&self, after: Duration) {
        let mut open = self.open.lock();
        for (id, entry) in open.iter_mut().filter(|(_, entry)| entry.progress.stalled_for() >= after) {
            if entry.progress.mark_stalled() {
                info!(session.id = %id, "a session is closed: its client takes nothing");
            }
            entry.close(CloseCode::TooSlow, "nothing was taken for too long");
        }
    }

    /// Returns what the sessions wait for.
    pub(crate) fn backlog(&self) -> SessionBacklog {
        let of_entry = |entry: &Entry| SessionBacklog {
            queued_bytes: entry.progress.queued_bytes(),
            lagging: usize::from(entry.progress.stalled_for() > LAGGING_AFTER),
        };
        self.open.lock().values().map(of_entry).fold(SessionBacklog::default(), Add::add)
    }

    /// Returns the keys that opened the sessions, each once.
    pub(crate) fn keys(&self) -> Vec<KeyId> {
        let mut keys: Vec<KeyId> = self.open.lock().values().map(|entry| entry.key_id).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Registers a session. The receiver gets what closes it. `None`: too many are open.
    pub(super) fn register(
        self: &Arc<Self>,
        id: SessionId,
        key_id: KeyId,
        transport: Transport,
    ) -> Option<(SessionGuard, oneshot::Receiver<SessionEnd>)> {
        let mut open = self.open.lock();
        if open.len() >= self.max {
            return None;
        }
        let (close_tx, close_rx) = oneshot::channel();
        let progress = Arc::<DeliveryProgress>::default();
        let entry = Entry { key_id, transport, progress: Arc::clone(&progress), close_tx: Some(close_tx) };
        open.insert(id, entry);
        gauge!("cti_feed_listeners", "transport" => transport.as_str()).increment(1);
        let delivered = counter!("cti_events_delivered_total", "transport" => transport.as_str());
        Some((SessionGuard { sessions: Arc::clone(self), id, transport, delivered, progress }, close_rx))
    }
}

impl CloseConnection for Sessions {
    fn close_reset(&self, connection: SessionId, reason: &str) {
        self.close_one(connection, CloseCode::GoingAway, reason);
    }

    fn close_taken_over(&self, connection: SessionId, reason: &str) {
        self.close_one(connection, CloseCode::TakenOver, reason);
    }
}
