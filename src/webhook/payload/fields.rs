//! Fields of a payload, found by several names in several objects. Numbers may come as numbers or as strings. A field
//! that is
//! `null`, `""` or `{}` counts as absent.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::model::call::Millis;
use serde_json::{Map, Value};

use crate::epoch;

/// The objects that are searched, in this order.
pub(crate) struct Fields<'a> {
    layers: Vec<&'a Map<String, Value>>,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(object: &'a Map<String, Value>) -> Self {
        Self { layers: vec![object] }
    }

    /// Searches this object as well, after those before it.
    pub(crate) fn or_in(mut self, object: Option<&'a Value>) -> Self {
        self.layers.extend(object.and_then(Value::as_object));
        self
    }

    fn find<T>(&self, names: &[&str], read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        self.layers.iter().flat_map(|layer| names.iter().filter_map(|name| layer.get(*name))).find_map(read)
    }

    pub(crate) fn integer(&self, names: &[&str]) -> Option<i64> {
        self.find(names, integer)
    }

    /// Returns a text. Of a number its digits, of a list its first text.
    pub(crate) fn text(&self, names: &[&str]) -> Option<String> {
        self.find(names, text)
    }

    /// Returns a text, or the texts of a list separated by commas.
    pub(crate) fn texts(&self, names: &[&str]) -> Option<String> {
        self.find(names, |value| match value {
            Value::Array(list) => {
                let texts: Vec<String> = list.iter().filter_map(text).collect();
                (!texts.is_empty()).then(|| texts.join(","))
            }
            single => text(single),
        })
    }

    /// Returns a truth value, which some senders write as text.
    pub(crate) fn truth(&self, names: &[&str]) -> Option<bool> {
        self.find(names, |value| match value {
            Value::Bool(truth) => Some(*truth),
            Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
            _ => None,
        })
    }

    pub(crate) fn instant(&self, names: &[&str]) -> Option<DateTime<Utc>> {
        self.find(names, instant)
    }

    /// Returns a length that is given in seconds.
    pub(crate) fn seconds(&self, names: &[&str]) -> Option<Millis> {
        self.find(names, number).map(|seconds| Millis::from_f64(seconds * 1000.0))
    }

    /// Returns a length that is given in milliseconds.
    pub(crate) fn milliseconds(&self, names: &[&str]) -> Option<Millis> {
        self.find(names, number).map(Millis::from_f64)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.layers.iter().find_map(|layer| layer.get(name))
    }
}

/// Reads a whole number. Dialpad sends 0 for "none", so that is `None`.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    let integer = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    integer.filter(|integer| *integer != 0)
}

fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

#[expect(clippy::cast_possible_truncation, reason = "saturates, and no call lasts longer than that")]
fn to_integer(number: f64) -> i64 {
    number.round() as i64
}

/// Reads a text. The character U+0000 is removed: PostgreSQL can't store it.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.replace('\0', "")).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(list) => list.iter().find_map(|item| match item {
            Value::Object(object) => text(object.get("url")?),
            other => text(other),
        }),
        _ => None,
    }
}

/// Reads unix seconds (with or without a fraction), unix milliseconds, or RFC 3339.
fn instant(value: &Value) -> Option<DateTime<Utc>> {
    if let Value::String(text) = value
        && let Ok(instant) = DateTime::parse_from_rfc3339(text.trim())
    {
        return Some(instant.to_utc());
    }
    if let Some(whole) = integer(value) {
        return from_unix(whole);
    }
    let seconds = number(value).filter(|seconds| *seconds > 0.0)?;
    let milliseconds = if seconds >= 1e11 { seconds } else { seconds * 1000.0 };
    DateTime::from_timestamp_millis(to_integer(milliseconds))
}

fn from_unix(whole: i64) -> Option<DateTime<Utc>> {
    // PostgreSQL and RFC 3339 both end sooner than chrono does.
    let end_of_years = DateTime::UNIX_EPOCH + TimeDelta::days(365 * 7000);
    epoch::instant(whole).filter(|instant| (DateTime::UNIX_EPOCH..end_of_years).contains(instant))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_instant_may_come_in_every_unit() {
        let expected = DateTime::from_timestamp(1_704_067_200, 0);
        for value in [
            json!(1_704_067_200),
            json!("1704067200"),
            json!(1_704_067_200_000_i64),
            json!(1_704_067_200.0),
            json!("2024-01-01T00:00:00Z"),
            json!("2024-01-01T01:00:00+01:00"),
        ] {
            assert_eq!(instant(&value), expected, "{value}");
        }
        for value in [json!(null), json!(""), json!("soon"), json!(i64::MAX), json!(-1), json!({})] {
            assert_eq!(instant(&value), None, "{value}");
        }
    }

    #[test]
    fn an_empty_value_is_absent_in_every_form() {
        for value in [json!(null), json!(""), json!({}), json!([]), json!("\0")] {
            assert_eq!(text(&value), None, "{value}");
            assert_eq!(integer(&value), None, "{value}");
        }
    }
}
