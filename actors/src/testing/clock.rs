//! A clock for tests: time passes when they say so.

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use crate::clock::Clock;

/// A clock that moves only when a test moves it.
#[derive(Debug)]
pub struct ManualClock(Mutex<DateTime<Utc>>);

impl Default for ManualClock {
    fn default() -> Self {
        Self(Mutex::new(DateTime::from_timestamp(1_704_067_200, 0).unwrap_or_default()))
    }
}

impl ManualClock {
    /// Lets time pass.
    pub fn advance(&self, by: TimeDelta) {
        *self.0.lock() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock()
    }
}
