//! Sessions: the open WebSockets of an app. [`actor`](self) holds one; this register finds them again, to close
//! those of a revoked key or all of them before a stop.

mod actor;
mod protocol;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use actix::Recipient;

use self::actor::HangUp;
pub use self::{
    actor::{SessionOptions, serve},
    protocol::{EVENT_TYPES, Subscription, SubscriptionError},
};
use crate::id::{KeyId, SessionId};

/// The close codes of `/ws`, beyond those of RFC 6455.
pub mod close {
    /// The server goes away; come back with your cursor.
    pub const GOING_AWAY: u16 = 1001;
    /// A message of the client was too big.
    pub const TOO_BIG: u16 = 1009;
    /// A message of the client can't be understood.
    pub const BAD_MESSAGE: u16 = 4400;
    /// The key is wrong, or none came in time.
    pub const NOT_AUTHENTICATED: u16 = 4401;
    /// The key was revoked or the app is switched off; don't come back.
    pub const FORBIDDEN: u16 = 4403;
    /// The client reads too slowly; come back with your cursor.
    pub const TOO_SLOW: u16 = 4408;
    /// The app has too many sessions.
    pub const TOO_MANY: u16 = 4429;
}

/// The open sessions of one app.
pub struct Sessions {
    most: usize,
    open: Mutex<HashMap<SessionId, Entry>>,
}

struct Entry {
    key_id: KeyId,
    session: Recipient<HangUp>,
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

    /// Closes the sessions that a key opened.
    pub fn close_of_key(&self, key_id: KeyId, code: u16, reason: &str) {
        for entry in self.lock().values().filter(|entry| entry.key_id == key_id) {
            entry.session.do_send(HangUp { code, reason: reason.to_owned() });
        }
    }

    /// Closes them all.
    pub fn close_all(&self, code: u16, reason: &str) {
        for entry in self.lock().values() {
            entry.session.do_send(HangUp { code, reason: reason.to_owned() });
        }
    }

    /// Enters a session, unless there are too many.
    fn enter(&self, id: SessionId, key_id: KeyId, session: Recipient<HangUp>) -> bool {
        let mut open = self.lock();
        let room = open.len() < self.most;
        if room {
            open.insert(id, Entry { key_id, session });
        }
        room
    }

    fn leave(&self, id: SessionId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
