//! Values that merge without regard to the order in which they are reported: the newest value, and the earliest time.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A value that a later report replaces. Of two reports of the same time the greater value counts, so that the order of
/// arrival never matters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Latest<T> {
    at: DateTime<Utc>,
    value: T,
}

/// Merges in a report of a value.
pub(crate) fn latest<T: Clone + Ord>(known: &mut Option<Latest<T>>, at: DateTime<Utc>, reported: &Option<T>) {
    if let Some(value) = reported {
        let reported = Latest { at, value: value.clone() };
        if known.as_ref().is_none_or(|known| *known < reported) {
            *known = Some(reported);
        }
    }
}

/// Returns the value without its time.
pub(crate) fn value<T: Clone>(known: &Option<Latest<T>>) -> Option<T> {
    known.as_ref().map(|latest| latest.value.clone())
}

/// Merges in a report of when something was so.
pub(crate) fn earliest(known: &mut Option<DateTime<Utc>>, reported: Option<DateTime<Utc>>) {
    *known = match (*known, reported) {
        (Some(known), Some(reported)) => Some(known.min(reported)),
        (known, reported) => known.or(reported),
    };
}
