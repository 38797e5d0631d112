//! Whether an app that receives no webhooks usually would: decided by what it received at the same hours of the weeks
//! before. Pure.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

/// How many hours a week has.
const WEEK: i64 = 168;
/// How many weeks must be known before anything is judged.
const MIN_WEEKS: i64 = 3;
/// How many weeks are looked at.
pub(super) const MAX_WEEKS: i64 = 8;
/// A shorter silence is none.
pub(super) const MIN_SILENCE: TimeDelta = TimeDelta::minutes(10);
/// After a longer one, the app is not in use any more.
pub(super) const MAX_SILENCE: TimeDelta = TimeDelta::days(7);
/// How many webhooks must be missing. A call has about five.
const MIN_MISSING: f64 = 20.0;
/// More of a silence is not looked at: so much is enough for any app that is in use.
const MAX_HOURS: i64 = 24;

/// What is to be thought of an app's webhooks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Traffic {
    /// Too little is known of the weeks before.
    Unknown,
    /// They come, or usually don't come at this hour.
    Normal,
    /// None has come since an instant, although so many usually would have.
    Silent {
        /// When the last one came.
        since: DateTime<Utc>,
        /// How many are missing.
        missing: f64,
    },
}

impl Traffic {
    /// Returns the word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Normal => "normal",
            Self::Silent { .. } => "silent",
        }
    }
}

/// What an app received before.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// The first hour of which anything is known, in hours since 1970.
    pub(super) first_hour: i64,
    /// When the last webhook came.
    pub(super) last_at: DateTime<Utc>,
    /// How many came in each hour that had any.
    pub(super) hours: HashMap<i64, i64>,
}

impl History {
    /// Judges the time since the last webhook.
    pub(super) fn judge(&self, now: DateTime<Utc>) -> Traffic {
        let silence = now - self.last_at;
        let hour = now.timestamp().div_euclid(3600);
        let weeks = ((hour - self.first_hour) / WEEK).min(MAX_WEEKS);
        if weeks < MIN_WEEKS || silence > MAX_SILENCE {
            return Traffic::Unknown;
        }
        if silence < MIN_SILENCE {
            return Traffic::Normal;
        }
        let since = self.last_at.max(now - TimeDelta::hours(MAX_HOURS));
        let first = since.timestamp().div_euclid(3600);
        let missing: f64 = (first..=hour).map(|of| self.usual(of, weeks) * share(of, since, now)).sum();
        if missing >= MIN_MISSING {
            Traffic::Silent { since: self.last_at, missing }
        } else {
            Traffic::Normal
        }
    }

    /// Returns the median of what came at this hour of the weeks before: one holiday, or one outage, changes little.
    fn usual(&self, hour: i64, weeks: i64) -> f64 {
        let of_week = |week| self.hours.get(&(hour - week * WEEK)).copied().unwrap_or_default();
        let mut counts: Vec<i64> = (1..=weeks).map(of_week).collect();
        counts.sort_unstable();
        // The lower one of an even number: rather no alarm than a wrong one.
        counts[(counts.len() - 1) / 2] as f64
    }
}

/// Returns which share of an hour lies between two instants.
fn share(hour: i64, since: DateTime<Utc>, until: DateTime<Utc>) -> f64 {
    let (begin, end) = (hour * 3600, (hour + 1) * 3600);
    let seconds = until.timestamp().min(end) - since.timestamp().max(begin);
    seconds.clamp(0, 3600) as f64 / 3600.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Monday.
    const NOW: i64 = 473_352;

    fn at(hour: i64, minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(hour * 60 + minute)
    }

    /// An app that received so many in the present hour and the one before, in each of the weeks before.
    fn history(counts: &[i64], last_at: DateTime<Utc>) -> History {
        let mut hours = HashMap::new();
        for (week, count) in (1..).zip(counts) {
            hours.insert(NOW - week * WEEK, *count);
            hours.insert(NOW - 1 - week * WEEK, *count);
        }
        History { first_hour: NOW - 1 - WEEK * counts.len() as i64, last_at, hours }
    }

    #[test]
    fn silence_at_a_busy_hour_is_told_and_grows() {
        let busy = history(&[60, 60, 60], at(NOW - 1, 30));
        assert_eq!(busy.judge(at(NOW - 1, 35)), Traffic::Normal, "five minutes are none");
        assert_eq!(busy.judge(at(NOW - 1, 45)), Traffic::Normal, "15 are missing");
        let silent = |missing| Traffic::Silent { since: at(NOW - 1, 30), missing };
        assert_eq!(busy.judge(at(NOW - 1, 50)), silent(20.0));
        assert_eq!(busy.judge(at(NOW, 30)), silent(60.0));
    }

    #[test]
    fn a_quiet_hour_is_quiet() {
        let night = history(&[2, 0, 3], at(NOW - 12, 0));
        assert_eq!(night.judge(at(NOW, 50)), Traffic::Normal);
    }

    #[test]
    fn one_odd_week_changes_nothing() {
        let after_a_holiday = history(&[0, 60, 60], at(NOW - 1, 0));
        assert!(matches!(after_a_holiday.judge(at(NOW, 0)), Traffic::Silent { .. }));
        let after_a_campaign = history(&[900, 0, 0], at(NOW - 1, 0));
        assert_eq!(after_a_campaign.judge(at(NOW, 0)), Traffic::Normal);
    }

    #[test]
    fn without_three_weeks_nothing_is_judged() {
        assert_eq!(history(&[60, 60], at(NOW - 1, 0)).judge(at(NOW, 0)), Traffic::Unknown);
    }

    #[test]
    fn an_app_that_is_silent_for_a_week_is_not_in_use() {
        let left = history(&[60, 60, 60], at(NOW - WEEK - 1, 0));
        assert_eq!(left.judge(at(NOW, 30)), Traffic::Unknown);
    }
}
