//! Sessions: whoever listens to an app at this moment. [`Listener`] is one of them, whatever it is told over;
//! [`serve`] makes one of a WebSocket. This register finds them again, to end those of a revoked key, those that are
//! stuck, or all of them before a stop.

mod actor;
mod close_code;
mod listener;
mod progress;
pub(crate) mod protocol;
mod snapshot;
mod subscription;
mod tenant;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::gauge;
use tokio::sync::oneshot;
use tracing::info;

use self::progress::DeliveryProgress;
pub use self::{
    actor::{SessionOptions, serve},
    close_code::{CloseCode, CloseReason, SessionEnd},
    listener::{Listener, OutboundBatch, Refusal, Transport},
    protocol::{BadCursor, ControlType, MessageKind, OutboundMessage},
    subscription::{Subscription, SubscriptionError, phone_number},
    tenant::{TenantDirectory, TenantHandle},
};
use crate::id::{KeyId, SessionId};

/// The open sessions of one app.
pub struct Sessions {
    most: usize,
    open: Mutex<HashMap<SessionId, Entry>>,
}

struct Entry {
    key_id: KeyId,
    pulse: Arc<DeliveryProgress>,
    /// Used by whoever is the first to end it.
    hang_up: Option<oneshot::Sender<SessionEnd>>,
}

impl Entry {
    fn end(&mut self, code: CloseCode, reason: &str) {
        if let Some(hang_up) = self.hang_up.take() {
            // Nobody listens where the session has ended by itself.
            let _ = hang_up.send(SessionEnd { code, reason: reason.to_owned() });
        }
    }
}

/// A place in the register. Dropping it gives it up.
struct SessionGuard {
    sessions: Arc<Sessions>,
    id: SessionId,
    transport: Transport,
    pulse: Arc<DeliveryProgress>,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.id);
        gauge!("cti_feed_listeners", "transport" => self.transport.as_str()).decrement(1);
    }
}

impl Sessions {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the sessions that a key opened.
    pub fn close_of_key(&self, key_id: KeyId, code: CloseCode, reason: &str) {
        for entry in self.lock().values_mut().filter(|entry| entry.key_id == key_id) {
            entry.end(code, reason);
        }
    }

    /// Ends one of them.
    pub(crate) fn close_one(&self, id: SessionId, code: CloseCode, reason: &str) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.end(code, reason);
        }
    }

    /// Ends them all.
    pub fn close_all(&self, code: CloseCode, reason: &str) {
        for entry in self.lock().values_mut() {
            entry.end(code, reason);
        }
    }

    /// Ends those that have taken nothing for so long.
    pub(crate) fn close_stuck(&self, after: Duration) {
        for (id, entry) in self.lock().iter_mut().filter(|(_, entry)| entry.pulse.owed_for() >= after) {
            if entry.pulse.give_up() {
                info!(session.id = %id, "a session is given up: its client takes nothing");
            }
            entry.end(CloseCode::TooSlow, "nothing was taken for too long");
        }
    }

    /// The keys that opened them.
    pub(crate) fn keys(&self) -> Vec<KeyId> {
        let mut keys: Vec<KeyId> = self.lock().values().map(|entry| entry.key_id).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Enters a session, unless there are too many.
    fn enter(
        self: &Arc<Self>,
        id: SessionId,
        key_id: KeyId,
        transport: Transport,
    ) -> Option<(SessionGuard, oneshot::Receiver<SessionEnd>)> {
        let mut open = self.lock();
        if open.len() >= self.most {
            return None;
        }
        let (hang_up, hung_up) = oneshot::channel();
        let pulse = Arc::<DeliveryProgress>::default();
        open.insert(id, Entry { key_id, pulse: Arc::clone(&pulse), hang_up: Some(hang_up) });
        gauge!("cti_feed_listeners", "transport" => transport.as_str()).increment(1);
        Some((SessionGuard { sessions: Arc::clone(self), id, transport, pulse }, hung_up))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
