//! How long to wait before coming back. Pure: chance and time are arguments.

use std::time::Duration;

/// How patiently a feed comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The longest wait after the first failure; it doubles with each one that follows.
    pub base: Duration,
    /// The longest wait of all.
    pub cap: Duration,
    /// A connection that stood so long forgives the failures before it.
    pub stable_after: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            stable_after: Duration::from_secs(60),
        }
    }
}

impl Pace {
    /// How long to wait after so many failures in a row. `chance` is from 0 to 1, and the wait anything up to the limit:
    /// then thousands who lost the same server do not come back in the same moment.
    #[must_use]
    pub fn wait(self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1);
        let limit = self.base.saturating_mul(2_u32.saturating_pow(doublings)).min(self.cap);
        limit.mul_f64(chance.clamp(0.0, 1.0))
    }
}

/// The failures so far.
#[derive(Debug)]
pub(crate) struct Backoff {
    pace: Pace,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, failures: 0 }
    }

    /// A connection that stood for `stood` broke.
    pub(crate) fn wait(&mut self, stood: Duration, chance: f64) -> Duration {
        if stood >= self.pace.stable_after {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.pace.wait(self.failures, chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_AT_ALL: Duration = Duration::ZERO;

    #[test]
    fn each_failure_doubles_the_limit_up_to_the_cap() {
        let mut backoff = Backoff::new(Pace::default());
        let waits: Vec<u128> = (0..9).map(|_| backoff.wait(NOT_AT_ALL, 1.0).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        backoff.failures = u32::MAX - 1;
        assert_eq!(backoff.wait(NOT_AT_ALL, 1.0), Duration::from_secs(30));
    }

    #[test]
    fn chance_decides_from_nothing_to_the_limit() {
        let wait = |chance| Backoff::new(Pace::default()).wait(NOT_AT_ALL, chance).as_millis();
        assert_eq!((wait(0.0), wait(0.5), wait(1.0)), (0, 250, 500));
    }

    #[test]
    fn only_a_connection_that_stood_forgives() {
        let mut backoff = Backoff::new(Pace::default());
        backoff.wait(NOT_AT_ALL, 1.0);
        assert_eq!(backoff.wait(Duration::from_secs(59), 1.0).as_millis(), 1_000);
        assert_eq!(backoff.wait(Duration::from_secs(60), 1.0).as_millis(), 500);
    }
}
