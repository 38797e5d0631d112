//! Leaves Dialpad alone when it keeps failing, and finds out when it is back. One breaker per company; time is an
//! argument.

use std::time::{Duration, Instant};

/// How many failures in a row open it.
const FAILURES: u32 = 5;
/// How long the first rest is; each one that follows is twice as long.
const FIRST_REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// After how long a probe that nobody told the end of is given up. Longer than any answer may take.
const PROBE: Duration = Duration::from_secs(15);
/// When to come back while a probe is under way: it ends soon.
const SOON: Duration = Duration::from_secs(1);

/// Whether there is any use in asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// There is, as far as known.
    Closed {
        /// How many failed since the last one that did not.
        failures: u32,
    },
    /// There is none until then.
    Open {
        until: Instant,
        /// How often it has been opened without a success between.
        rests: u32,
    },
    /// One is on its way to find out; the others wait for it, but no longer than this.
    Probing { until: Instant, rests: u32 },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// For how long nothing is to be asked; none if one may.
    pub(crate) fn rests(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { until, .. } => until.checked_duration_since(now).filter(|left| !left.is_zero()),
            Self::Probing { until, .. } => (*until > now).then_some(SOON),
        }
    }

    /// Somebody asks. Whether that may be, [`Self::rests`] says.
    pub(crate) fn begin(&mut self, now: Instant) {
        match *self {
            Self::Closed { .. } => {}
            Self::Open { rests, .. } | Self::Probing { rests, .. } => {
                *self = Self::Probing { until: now + PROBE, rests };
            }
        }
    }

    /// It answered sensibly, even if it refused.
    pub(crate) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// It failed. Says whether that opened the breaker.
    pub(crate) fn fail(&mut self, now: Instant) -> bool {
        let rests = match *self {
            Self::Closed { failures } if failures + 1 < FAILURES => {
                *self = Self::Closed { failures: failures + 1 };
                return false;
            }
            // One that began before it was opened: nothing new.
            Self::Open { until, .. } if until > now => return false,
            Self::Closed { .. } => 0,
            Self::Open { rests, .. } | Self::Probing { rests, .. } => rests,
        };
        let rest = FIRST_REST.saturating_mul(2_u32.saturating_pow(rests)).min(LONGEST_REST);
        *self = Self::Open { until: now + rest, rests: rests.saturating_add(1) };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            breaker.fail(now);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES {
            assert!(!breaker.fail(now));
        }
        breaker.succeed();
        for _ in 1..FAILURES {
            assert!(!breaker.fail(now));
        }
        assert_eq!(breaker.rests(now), None);
        assert!(breaker.fail(now));
        assert_eq!(breaker.rests(now), Some(FIRST_REST));
    }

    #[test]
    fn after_the_rest_one_probe_goes_and_the_others_wait_for_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + FIRST_REST;
        assert_eq!(breaker.rests(later), None);
        breaker.begin(later);
        assert_eq!(breaker.rests(later), Some(SOON));
        breaker.succeed();
        assert_eq!(breaker.rests(later), None);
    }

    #[test]
    fn each_probe_that_fails_makes_the_rest_longer_up_to_a_limit() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut rests = Vec::new();
        for _ in 0..10 {
            let rest = breaker.rests(now).expect("it rests");
            rests.push(rest.as_secs());
            now += rest;
            breaker.begin(now);
            assert!(breaker.fail(now));
        }
        assert_eq!(rests, [2, 4, 8, 16, 32, 60, 60, 60, 60, 60]);
    }

    #[test]
    fn a_probe_that_was_lost_hinders_nobody_for_long() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.begin(now + FIRST_REST);
        assert_eq!(breaker.rests(now + FIRST_REST + PROBE), None);
    }

    #[test]
    fn latecomers_neither_lengthen_the_rest_nor_are_they_ignored_when_they_succeed() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.fail(now + Duration::from_secs(1)));
        assert_eq!(breaker.rests(now + Duration::from_secs(1)), Some(Duration::from_secs(1)));
        breaker.succeed();
        assert_eq!(breaker.rests(now), None);
    }
}
