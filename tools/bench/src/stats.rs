//! Percentiles, medians and rates, computed the same way for every measure.

use std::time::Duration;

use serde::Serialize;

/// The distribution of a set of durations, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The minimum.
    pub min_ms: f64,
    /// The median.
    pub p50_ms: f64,
    /// The 90th percentile.
    pub p90_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// The maximum.
    pub max_ms: f64,
}

impl Spread {
    /// Returns the distribution of `samples`; `None` without any.
    pub(crate) fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort_unstable();
        Some(Self {
            min_ms: millis(*samples.first()?),
            p50_ms: millis(percentile(&samples, 50)?),
            p90_ms: millis(percentile(&samples, 90)?),
            p99_ms: millis(percentile(&samples, 99)?),
            max_ms: millis(*samples.last()?),
        })
    }
}

/// Returns the nearest-rank percentile: the smallest sample that at least `percent` of all do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Returns the middle value (the upper one of two); 0 without any.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Returns a rate per second; 0 when no time passed.
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    ratio(count as f64, time.as_secs_f64())
}

/// Returns `part / whole` with three digits; 0 when `whole` is 0.
pub(crate) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { rounded(part / whole) } else { 0.0 }
}

/// Returns a duration in milliseconds with three digits.
pub(crate) fn millis(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1_000.0)
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(range: std::ops::RangeInclusive<u64>) -> Vec<Duration> {
        range.rev().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_samples_that_were_measured() {
        let spread = Spread::of(milliseconds(1..=200)).unwrap();
        let expected = Spread { min_ms: 1.0, p50_ms: 100.0, p90_ms: 180.0, p99_ms: 198.0, max_ms: 200.0 };
        assert_eq!(spread, expected);
    }

    #[test]
    fn one_sample_is_every_percentile() {
        let spread = Spread::of(milliseconds(7..=7)).unwrap();
        assert_eq!(spread, Spread { min_ms: 7.0, p50_ms: 7.0, p90_ms: 7.0, p99_ms: 7.0, max_ms: 7.0 });
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn rates_without_time_and_ratios_without_a_whole_are_zero() {
        assert_eq!(per_second(10, Duration::ZERO), 0.0);
        assert_eq!(per_second(10, Duration::from_millis(250)), 40.0);
        assert_eq!(ratio(1.0, 3.0), 0.333);
        assert_eq!(ratio(1.0, 0.0), 0.0);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(Vec::new()), 0.0);
    }
}
