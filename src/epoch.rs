//! Unix time that may have been meant in seconds or in milliseconds: Dialpad and CRMs send both.

use chrono::{DateTime, Utc};

/// Read as seconds, this lies beyond the year 5138: it must have been milliseconds.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

/// The instant that was meant; `None` where it lies beyond what can be represented.
pub(crate) fn instant(whole: i64) -> Option<DateTime<Utc>> {
    if whole.unsigned_abs() >= MILLISECONDS_FROM {
        DateTime::from_timestamp_millis(whole)
    } else {
        DateTime::from_timestamp(whole, 0)
    }
}

/// The same of a number with a fraction, as `Date.now() / 1000` and Python's `time.time()` give it; to the microsecond.
pub(crate) fn fractional(number: f64) -> Option<DateTime<Utc>> {
    #[allow(clippy::cast_precision_loss)]
    let is_milliseconds = number.abs() >= MILLISECONDS_FROM as f64;
    let microseconds = (number * if is_milliseconds { 1e3 } else { 1e6 }).round();
    // A cast ends at the largest number, which is beyond what can be represented; what is no number would be 0.
    #[allow(clippy::cast_possible_truncation)]
    if microseconds.is_finite() { DateTime::from_timestamp_micros(microseconds as i64) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_counts_in_seconds_and_in_milliseconds() {
        let noon = DateTime::from_timestamp_micros(1_704_110_400_250_000);
        assert_eq!(fractional(1_704_110_400.25), noon);
        assert_eq!(fractional(1_704_110_400_250.0), noon);
        assert_eq!(fractional(-0.5), DateTime::from_timestamp_micros(-500_000));
    }

    #[test]
    fn what_is_no_instant_is_none() {
        assert!(
            [f64::NAN, f64::INFINITY, 1e300, -1e300].into_iter().all(|number| fractional(number).is_none())
        );
    }
}
