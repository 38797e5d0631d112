//! Whether a session takes what it is given, seen from outside: a session whose socket is full does not run, and can't
//! tell.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// The sign of life of one session.
#[derive(Debug, Default)]
pub(super) struct DeliveryProgress {
    /// Since when something was given to it that it has not taken.
    owed_since: Mutex<Option<Instant>>,
    /// Whether somebody outside has lost patience.
    given_up: AtomicBool,
}

impl DeliveryProgress {
    /// Something is given to it.
    pub(super) fn gave(&self) {
        *self.owed_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// It comes for more, so it has taken what it was given.
    pub(super) fn took(&self) {
        *self.owed_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// For how long it has not taken what it was given.
    pub(super) fn owed_for(&self) -> Duration {
        let since = *self.owed_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Loses patience; whether that is new.
    pub(super) fn give_up(&self) -> bool {
        !self.given_up.swap(true, Ordering::Relaxed)
    }

    /// Whether it ends because it took nothing, even if it could not be told so any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }
}
