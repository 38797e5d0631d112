//! Unix timestamps in seconds or in milliseconds: Dialpad sends milliseconds, CRMs send both.

use chrono::{DateTime, Utc};

/// From here on a number counts milliseconds: as seconds, it would be beyond the year 5138.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

/// Converts a whole number. Returns `None` beyond the range of [`DateTime`].
pub(crate) fn instant(number: i64) -> Option<DateTime<Utc>> {
    if number.unsigned_abs() >= MILLISECONDS_FROM {
        DateTime::from_timestamp_millis(number)
    } else {
        DateTime::from_timestamp(number, 0)
    }
}

/// Converts a number with a fraction, such as `Date.now() / 1000` or Python's `time.time()`, with a precision of 1 µs.
pub(crate) fn fractional(number: f64) -> Option<DateTime<Utc>> {
    #[expect(clippy::cast_precision_loss, reason = "the bound is far below 2^53")]
    let is_milliseconds = number.abs() >= MILLISECONDS_FROM as f64;
    let microseconds = (number * if is_milliseconds { 1e3 } else { 1e6 }).round();
    if !microseconds.is_finite() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and the bounds are out of range")]
    DateTime::from_timestamp_micros(microseconds as i64)
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
    fn a_number_out_of_range_is_none() {
        assert!(
            [f64::NAN, f64::INFINITY, 1e300, -1e300].into_iter().all(|number| fractional(number).is_none())
        );
    }
}
