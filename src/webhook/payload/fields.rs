//! Fields of a payload, found by several names in several objects. Numbers may come as numbers or as strings. A field
//! that is `null`, `""`, `{}` or `[]` counts as absent.

use std::cell::RefCell;

use chrono::{DateTime, Utc};
use cti_actors::model::call::Millis;
use serde_json::{Map, Value};

use super::instant;

/// How much of a value is shown that can't be read.
const MAX_SHOWN: usize = 60;

/// The objects that are searched, in this order.
pub(crate) struct Fields<'a> {
    layers: Vec<&'a Map<String, Value>>,
    /// The first time that is there and can't be read.
    unreadable: RefCell<Option<String>>,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(object: &'a Map<String, Value>) -> Self {
        Self { layers: vec![object], unreadable: RefCell::default() }
    }

    /// Searches this object as well, after those before it.
    pub(crate) fn or_in(mut self, object: Option<&'a Value>) -> Self {
        self.layers.extend(object.and_then(Value::as_object));
        self
    }

    /// Returns the values that are there, the preferred one first.
    fn present(&self, names: &[&'static str]) -> impl Iterator<Item = (&'static str, &'a Value)> {
        let fields =
            self.layers.iter().flat_map(|layer| names.iter().map(move |name| (*name, layer.get(*name))));
        fields.filter_map(|(name, value)| Some((name, value.filter(|value| is_present(value))?)))
    }

    fn find<T>(&self, names: &[&'static str], read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        self.present(names).find_map(|(_, value)| read(value))
    }

    /// Whether one of these fields is there.
    pub(crate) fn has(&self, names: &[&'static str]) -> bool {
        self.present(names).next().is_some()
    }

    /// Whether this field is there without a value.
    pub(crate) fn is_null(&self, name: &str) -> bool {
        let mut values = self.layers.iter().filter_map(|layer| layer.get(name)).peekable();
        values.peek().is_some() && values.all(Value::is_null)
    }

    /// Returns `content`, unless a time that was asked for is there and can't be read: what happened at an unknown time
    /// must not be taken for the present.
    pub(crate) fn unless_unreadable<T>(&self, content: T) -> Result<T, String> {
        self.unreadable.take().map_or(Ok(content), Err)
    }

    pub(crate) fn integer(&self, names: &[&'static str]) -> Option<i64> {
        self.find(names, integer)
    }

    /// Returns a text. Of a number its digits, of a list its first text.
    pub(crate) fn text(&self, names: &[&'static str]) -> Option<String> {
        self.find(names, text)
    }

    /// Returns a text, or the texts of a list separated by commas.
    pub(crate) fn texts(&self, names: &[&'static str]) -> Option<String> {
        self.find(names, |value| match value {
            Value::Array(list) => {
                let texts: Vec<String> = list.iter().filter_map(text).collect();
                (!texts.is_empty()).then(|| texts.join(","))
            }
            single => text(single),
        })
    }

    /// Returns a time. One that is there and can't be read is remembered: see [`Fields::unless_unreadable`].
    pub(crate) fn instant(&self, names: &[&'static str]) -> Option<DateTime<Utc>> {
        self.present(names).find_map(|(name, value)| match instant::read(value) {
            Ok(instant) => instant,
            Err(instant::Unreadable) => {
                let shown: String = value.to_string().chars().take(MAX_SHOWN).collect();
                let problem = format!("{name} can't be read as a time: {shown}");
                self.unreadable.borrow_mut().get_or_insert(problem);
                None
            }
        })
    }

    /// Returns a switch; some senders write it as text.
    pub(crate) fn boolean(&self, names: &[&'static str]) -> Option<bool> {
        self.find(names, |value| match value {
            Value::Bool(switch) => Some(*switch),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        })
    }

    /// Returns all texts of a text or a list, from all of these fields, each once. An object in a list has its text in
    /// `url`.
    pub(crate) fn all_texts(&self, names: &[&'static str]) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        for (_, value) in self.present(names) {
            let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            for item in items.iter().filter_map(url_or_text) {
                if !texts.contains(&item) {
                    texts.push(item);
                }
            }
        }
        texts
    }

    /// Returns a length that is given in seconds.
    pub(crate) fn seconds(&self, names: &[&'static str]) -> Option<Millis> {
        self.find(names, number).map(|seconds| Millis::from_f64(seconds * 1000.0))
    }

    /// Returns a length that is given in milliseconds.
    pub(crate) fn milliseconds(&self, names: &[&'static str]) -> Option<Millis> {
        self.find(names, number).map(Millis::from_f64)
    }

    pub(crate) fn value(&self, name: &'static str) -> Option<&'a Value> {
        self.present(&[name]).next().map(|(_, value)| value)
    }
}

/// Whether a value says something.
pub(crate) fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(object) => !object.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
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

/// Reads a text. The character U+0000 is removed: PostgreSQL can't store it.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.replace('\0', "")).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(list) => list.iter().find_map(url_or_text),
        _ => None,
    }
}

fn url_or_text(value: &Value) -> Option<String> {
    match value {
        Value::Object(object) => text(object.get("url")?),
        other => text(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_empty_value_is_absent_in_every_form() {
        for value in [json!(null), json!(""), json!({}), json!([]), json!("\0")] {
            assert_eq!(text(&value), None, "{value}");
            assert_eq!(integer(&value), None, "{value}");
        }
        let payload = json!({"a": null, "b": {}, "c": [], "d": "", "e": 0});
        let inner = json!({"a": 1, "b": {"id": 2}});
        let fields = Fields::of(payload.as_object().expect("an object")).or_in(Some(&inner));
        assert_eq!((fields.integer(&["a"]), fields.value("b")), (Some(1), Some(&json!({"id": 2}))));
        assert!(fields.has(&["c", "d", "e"]) && !fields.has(&["c", "d", "f"]));
    }

    #[test]
    fn a_time_that_cannot_be_read_is_an_error_that_names_it() {
        let payload = json!({"date_started": null, "date_connected": "soon", "date_ended": {"at": 5}});
        let fields = Fields::of(payload.as_object().expect("an object"));
        assert_eq!(fields.instant(&["date_started", "missing"]), None);
        assert_eq!(fields.unless_unreadable(()), Ok(()));
        assert_eq!(fields.instant(&["date_connected"]), None);
        assert_eq!(fields.instant(&["date_ended"]), None);
        let problem = "date_connected can't be read as a time: \"soon\"";
        assert_eq!(fields.unless_unreadable(()), Err(problem.to_owned()));
    }
}
