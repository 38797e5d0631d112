//! Whether the client of a WebSocket is still there.

use std::time::{Duration, Instant};

use crate::id::SessionId;

/// After how long without a sign of life a client is pinged. Each session has its own time between these two, so that
/// sessions that begin together are not pinged together.
const PING_INTERVAL: (Duration, Duration) = (Duration::from_secs(16), Duration::from_secs(20));
/// After how long without a sign of life a client is dropped.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(25);
/// A timer that fires so late was frozen together with its socket: the client has taken data just now.
const FROZEN_AFTER: Duration = Duration::from_secs(2);

/// The signs of life of one client.
pub(super) struct Liveness {
    last_seen: Instant,
    ping_interval: Duration,
}

/// What to do about a client.
pub(super) enum Check {
    /// Nothing until then.
    Wait(Instant),
    /// Ping it, and check again then.
    Ping(Instant),
    /// Drop it.
    Silent,
}

impl Liveness {
    pub(super) fn new(id: SessionId) -> Self {
        let (min, max) = PING_INTERVAL;
        let ping_interval = min + (max - min) * u32::from(id.0.as_bytes()[15]) / 256;
        Self { last_seen: Instant::now(), ping_interval }
    }

    /// Records a sign of life.
    pub(super) fn touch(&mut self) {
        self.last_seen = Instant::now();
    }

    /// Returns when to check first.
    pub(super) fn first_check(&self) -> Instant {
        self.last_seen + self.ping_interval
    }

    /// Checks the client. The check was due then.
    pub(super) fn check(&mut self, due: Instant) -> Check {
        if due.elapsed() > FROZEN_AFTER {
            self.touch();
        }
        let silence = self.last_seen.elapsed();
        if silence >= SILENCE_TIMEOUT {
            Check::Silent
        } else if silence >= self.ping_interval {
            Check::Ping(self.last_seen + SILENCE_TIMEOUT)
        } else {
            Check::Wait(self.last_seen + self.ping_interval)
        }
    }
}
