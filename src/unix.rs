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
