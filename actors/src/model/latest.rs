//! Values that merge without regard to the order in which they are reported: the newest, and the earliest instant.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A value that a later report replaces. Two reports of the same instant are told apart by the value itself, so
/// that the order of arrival never matters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Latest<T> {
    at: DateTime<Utc>,
    value: T,
}

/// Takes in a report of a value.
pub(crate) fn latest<T: Clone + Ord>(known: &mut Option<Latest<T>>, at: DateTime<Utc>, reported: &Option<T>) {
    if let Some(value) = reported {
        let reported = Latest { at, value: value.clone() };
        if known.as_ref().is_none_or(|known| *known < reported) {
            *known = Some(reported);
        }
    }
}

/// The value without its instant.
pub(crate) fn value<T: Clone>(known: &Option<Latest<T>>) -> Option<T> {
    known.as_ref().map(|latest| latest.value.clone())
}

/// Takes in a report of when something was so.
pub(crate) fn earliest(known: &mut Option<DateTime<Utc>>, reported: Option<DateTime<Utc>>) {
    *known = match (*known, reported) {
        (Some(known), Some(reported)) => Some(known.min(reported)),
        (known, reported) => known.or(reported),
    };
}
