//! Pauses that grow from one failure to the next.

use std::time::Duration;

/// A pause that doubles with each failure in a row.
///
/// `jitter` is the share of a pause that is random, from 0 (none) to 1 (all of it): it keeps callers that failed
/// together from retrying together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) initial: Duration,
    pub(crate) max: Duration,
    pub(crate) jitter: f64,
}

impl Backoff {
    /// Returns the longest pause after this many failures in a row. The first failure counts as 1.
    pub(crate) fn ceiling(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1);
        self.initial.saturating_mul(2_u32.saturating_pow(doublings)).min(self.max)
    }

    /// Returns the pause after this many failures in a row. `random` is from 0 to 1.
    pub(crate) fn pause(&self, failures: u32, random: f64) -> Duration {
        self.ceiling(failures).mul_f64(1.0 - self.jitter * (1.0 - random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { initial: Duration::from_secs(2), max: Duration::from_secs(60), jitter: 0.5 };

    #[test]
    fn pauses_double_up_to_the_maximum() {
        let pauses = [0, 1, 2, 3, 5, 6, u32::MAX].map(|failures| BACKOFF.ceiling(failures).as_secs());
        assert_eq!(pauses, [2, 2, 4, 8, 32, 60, 60]);
    }

    #[test]
    fn jitter_is_the_random_share_of_a_pause() {
        let pauses = [0.0, 0.5, 1.0].map(|random| BACKOFF.pause(2, random).as_millis());
        assert_eq!(pauses, [2000, 3000, 4000]);
        let full = Backoff { jitter: 1.0, ..BACKOFF };
        assert_eq!([full.pause(1, 0.0), full.pause(1, 1.0)], [Duration::ZERO, Duration::from_secs(2)]);
    }
}
