//! The delays between attempts to connect. Pure: time and randomness are arguments.

use std::time::Duration;

/// How long to wait between attempts: at random up to a limit that doubles with each failure (exponential backoff with
/// full jitter), so that clients which lost the same server do not reconnect at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The limit after the first failure.
    pub initial: Duration,
    /// The highest limit.
    pub max: Duration,
    /// A connection that lasted this long resets the number of failures.
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            max: Duration::from_secs(30),
            reset_after: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// Returns the delay after this many failures in a row. `jitter` is a random number from 0 to 1.
    #[must_use]
    pub fn delay(self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1);
        let limit = self.initial.saturating_mul(2_u32.saturating_pow(doublings)).min(self.max);
        limit.mul_f64(jitter.clamp(0.0, 1.0))
    }

    /// Returns the number of failures in a row after a connection that lasted `connected_for` has failed.
    pub(crate) fn count_failure(self, failures: u32, connected_for: Duration) -> u32 {
        if connected_for >= self.reset_after { 1 } else { failures.saturating_add(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_limit_up_to_the_maximum() {
        let limits: Vec<u128> =
            (1..=9).map(|failures| Backoff::default().delay(failures, 1.0).as_millis()).collect();
        assert_eq!(limits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(Backoff::default().delay(u32::MAX, 1.0), Duration::from_secs(30));
    }

    #[test]
    fn the_jitter_chooses_a_delay_up_to_the_limit() {
        let delay = |jitter| Backoff::default().delay(1, jitter).as_millis();
        assert_eq!((delay(0.0), delay(0.5), delay(1.0)), (0, 250, 500));
    }

    #[test]
    fn only_a_long_connection_resets_the_failures() {
        let count = |connected_for| Backoff::default().count_failure(1, Duration::from_secs(connected_for));
        assert_eq!((count(0), count(59), count(60)), (2, 2, 1));
        assert_eq!(Backoff::default().count_failure(u32::MAX, Duration::ZERO), u32::MAX);
    }
}
