//! The circuit breaker: stops sending requests while Dialpad keeps failing, and finds out when it works again. One per
//! company; time is an argument.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// How many failures in a row open it.
const MAX_FAILURES: u32 = 5;
/// How long it stays open; each failed probe doubles that.
const OPEN_BACKOFF: Backoff =
    Backoff { initial: Duration::from_secs(2), max: Duration::from_secs(60), jitter: 0.0 };
/// After which time a probe without a result is given up. Longer than any answer may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);
/// When to retry while a probe is in progress: it ends soon.
const PROBE_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Whether requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// They are.
    Closed {
        /// Failures since the last success.
        failures: u32,
    },
    /// None is, until this instant.
    Open {
        until: Instant,
        /// How often it has opened since the last success.
        openings: u32,
    },
    /// One is in progress to find out; the others wait for its result, but not beyond this instant.
    Probing { until: Instant, openings: u32 },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// Returns for how long no request may be sent; `None` if one may be sent now.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { until, .. } => until.checked_duration_since(now).filter(|left| !left.is_zero()),
            Self::Probing { until, .. } => (*until > now).then_some(PROBE_POLL_INTERVAL),
        }
    }

    /// Records that a request is sent. [`Self::pause`] says whether it may be.
    pub(crate) fn begin(&mut self, now: Instant) {
        match *self {
            Self::Closed { .. } => {}
            Self::Open { openings, .. } | Self::Probing { openings, .. } => {
                *self = Self::Probing { until: now + PROBE_TIMEOUT, openings };
            }
        }
    }

    /// Records a usable answer, which may be a refusal.
    pub(crate) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// Records a failure. Returns whether it opened the breaker.
    pub(crate) fn fail(&mut self, now: Instant) -> bool {
        let openings = match *self {
            Self::Closed { failures } if failures + 1 < MAX_FAILURES => {
                *self = Self::Closed { failures: failures + 1 };
                return false;
            }
            // A request that began before the breaker opened: it says nothing new.
            Self::Open { until, .. } if until > now => return false,
            Self::Closed { .. } => 0,
            Self::Open { openings, .. } | Self::Probing { openings, .. } => openings,
        };
        let openings = openings.saturating_add(1);
        *self = Self::Open { until: now + OPEN_BACKOFF.ceiling(openings), openings };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..MAX_FAILURES {
            breaker.fail(now);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 1..MAX_FAILURES {
            assert!(!breaker.fail(now));
        }
        breaker.succeed();
        for _ in 1..MAX_FAILURES {
            assert!(!breaker.fail(now));
        }
        assert_eq!(breaker.pause(now), None);
        assert!(breaker.fail(now));
        assert_eq!(breaker.pause(now), Some(OPEN_BACKOFF.initial));
    }

    #[test]
    fn after_the_pause_one_probe_is_sent_and_the_others_wait_for_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + OPEN_BACKOFF.initial;
        assert_eq!(breaker.pause(later), None);
        breaker.begin(later);
        assert_eq!(breaker.pause(later), Some(PROBE_POLL_INTERVAL));
        breaker.succeed();
        assert_eq!(breaker.pause(later), None);
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_a_limit() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let pause = breaker.pause(now).expect("it is open");
            pauses.push(pause.as_secs());
            now += pause;
            breaker.begin(now);
            assert!(breaker.fail(now));
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60, 60, 60]);
    }

    #[test]
    fn a_probe_without_a_result_blocks_requests_for_15_seconds() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.begin(now + OPEN_BACKOFF.initial);
        assert_eq!(breaker.pause(now + OPEN_BACKOFF.initial + PROBE_TIMEOUT), None);
    }

    #[test]
    fn late_failures_change_nothing_and_a_late_success_closes_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.fail(now + Duration::from_secs(1)));
        assert_eq!(breaker.pause(now + Duration::from_secs(1)), Some(Duration::from_secs(1)));
        breaker.succeed();
        assert_eq!(breaker.pause(now), None);
    }
}
