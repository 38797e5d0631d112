//! The time of a simulation: that of its runtime, which jumps to the next moment at which something is to happen.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::clock::Clock;
use tokio::time::Instant;

/// The clock of one life of the process. It goes on where that of the life before ended.
#[derive(Debug)]
pub(crate) struct VirtualClock {
    began_at: DateTime<Utc>,
    origin: Instant,
}

/// When every simulation begins.
pub(crate) fn beginning() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_704_067_200)
}

impl VirtualClock {
    /// Must be called within the runtime of the life.
    pub(crate) fn begin(began_at: DateTime<Utc>) -> Self {
        Self { began_at, origin: Instant::now() }
    }

    /// Returns the milliseconds since the beginning of the simulation.
    pub(crate) fn millis(&self) -> i64 {
        (self.now() - beginning()).num_milliseconds()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> DateTime<Utc> {
        self.began_at + TimeDelta::from_std(self.origin.elapsed()).unwrap_or_default()
    }
}
