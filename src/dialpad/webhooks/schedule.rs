//! When to look at an app's webhook again. Chance, from 0 to 1, is an argument: it keeps apps apart.

use std::time::Duration;

use crate::dialpad::{client::DialpadError, oauth::access::NoAccess};

/// The pause after the first failure; after each one it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// After everything was found, or made, as it should be.
pub(crate) fn after_success(interval: Duration, chance: f64) -> Duration {
    interval.mul_f64(0.9 + 0.2 * chance)
}

/// After so many failures in a row, the last of which was this one. Never longer than the usual interval, unless
/// Dialpad wants it so.
pub(crate) fn after_failure(
    failures: u32,
    error: &DialpadError,
    interval: Duration,
    chance: f64,
) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let pause = doubled.min(interval).mul_f64(0.5 + 0.5 * chance);
    match error {
        DialpadError::RateLimited { retry_after } | DialpadError::CircuitOpen { retry_after } => {
            pause.max(*retry_after)
        }
        // Only a person can change these, and then it is looked at once.
        DialpadError::NoAccess(NoAccess::NotConnected | NoAccess::Expired) => after_success(interval, chance),
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
    fn looks_are_spread_around_the_interval() {
        let looks = [0.0, 0.5, 1.0].map(|chance| after_success(INTERVAL, chance).as_secs());
        assert_eq!(looks, [270, 300, 330]);
    }

    #[test]
    fn failures_make_it_patient_up_to_the_interval() {
        let broken = DialpadError::InvalidResponse;
        let pauses = [1, 2, 3, 8, 9, 100].map(|it| after_failure(it, &broken, INTERVAL, 1.0).as_secs());
        assert_eq!(pauses, [2, 4, 8, 256, 300, 300]);
        assert_eq!(after_failure(1, &broken, INTERVAL, 0.0).as_secs(), 1);
    }

    #[test]
    fn dialpads_wish_goes_first() {
        let limited = DialpadError::RateLimited { retry_after: Duration::from_secs(900) };
        assert_eq!(after_failure(1, &limited, INTERVAL, 0.5).as_secs(), 900);
    }
}
