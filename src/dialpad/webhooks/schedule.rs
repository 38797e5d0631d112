//! When to check an app's webhook again. `random`, from 0 to 1, spreads the apps.

use std::time::Duration;

use crate::{
    backoff::Backoff,
    dialpad::{client::DialpadError, oauth::access::NoAccess},
};

const INITIAL_BACKOFF: Duration = Duration::from_secs(2);

/// Returns the pause after a check that was completed: the interval ± 10 %.
pub(crate) fn after_success(interval: Duration, random: f64) -> Duration {
    interval.mul_f64(0.9 + 0.2 * random)
}

/// Returns the pause after so many failures in a row, the last of which was `error`. It is never longer than the
/// interval, unless Dialpad asks for that.
pub(crate) fn after_failure(
    failures: u32,
    error: &DialpadError,
    interval: Duration,
    random: f64,
) -> Duration {
    let backoff = Backoff { initial: INITIAL_BACKOFF, max: interval, jitter: 0.5 };
    let pause = backoff.pause(failures, random);
    match error {
        DialpadError::RateLimited { retry_after } | DialpadError::CircuitOpen { retry_after } => {
            pause.max(*retry_after)
        }
        // Only a new connection can change these, and it is followed by a check.
        DialpadError::NoAccess(NoAccess::NotConnected | NoAccess::Expired) => after_success(interval, random),
        DialpadError::NoAccess(NoAccess::Degraded(_) | NoAccess::Store(_))
        | DialpadError::Unreachable(_)
        | DialpadError::Refused(_)
        | DialpadError::InvalidResponse => pause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(300);

    #[test]
    fn checks_are_spread_around_the_interval() {
        let pauses = [0.0, 0.5, 1.0].map(|random| after_success(INTERVAL, random).as_secs());
        assert_eq!(pauses, [270, 300, 330]);
    }

    #[test]
    fn pauses_grow_with_failures_up_to_the_interval() {
        let broken = DialpadError::InvalidResponse;
        let pauses =
            [1, 2, 3, 8, 9, 100].map(|failures| after_failure(failures, &broken, INTERVAL, 1.0).as_secs());
        assert_eq!(pauses, [2, 4, 8, 256, 300, 300]);
        assert_eq!(after_failure(1, &broken, INTERVAL, 0.0).as_secs(), 1);
    }

    #[test]
    fn dialpad_can_ask_for_a_longer_pause() {
        let limited = DialpadError::RateLimited { retry_after: Duration::from_secs(900) };
        assert_eq!(after_failure(1, &limited, INTERVAL, 0.5).as_secs(), 900);
    }
}
