//! One row of the source. What is missing is `None`; what is there and does not fit is `None` too, and remembered.

use std::cell::RefCell;

use chrono::{DateTime, Utc};
use cti_actors::model::call::{Direction, Millis};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::webhook::payload::{
    fields::{Fields, is_present},
    workflow,
};

/// How much of a value is shown that does not fit.
const MAX_SHOWN: usize = 40;
/// The columns by which the report names a row: the first that is there.
const NAMES: [&str; 4] = ["id", "dialpad_call_id", "dialpad_message_id", "dialpad_user_id"];

/// One row.
pub(super) struct Row {
    columns: Map<String, Value>,
    text: String,
    problems: RefCell<Vec<String>>,
}

impl Row {
    /// Reads a row that the database wrote as a JSON object.
    pub(super) fn read(text: String) -> Self {
        let columns = serde_json::from_str(&text).unwrap_or_default();
        Self { columns, text, problems: RefCell::default() }
    }

    /// Returns what the report calls it.
    pub(super) fn name(&self) -> String {
        let named =
            NAMES.iter().find_map(|name| Some((name, self.columns.get(*name).filter(|it| is_present(it))?)));
        match named {
            Some((name, Value::String(text))) => format!("{name} {text}"),
            Some((name, value)) => format!("{name} {value}"),
            None => "a row without an id".to_owned(),
        }
    }

    /// Returns what identifies it among the rows of its table.
    pub(super) fn key(&self) -> String {
        match self.columns.get("id") {
            Some(Value::Null) | None => self.text.clone(),
            Some(id) => id.to_string(),
        }
    }

    /// Returns what did not fit so far.
    pub(super) fn take_problems(&self) -> Vec<String> {
        self.problems.take()
    }

    /// Remembers something that does not fit.
    pub(super) fn remember(&self, problem: String) {
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.columns.get(name).filter(|value| is_present(value))
    }

    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        self.fit(name, Fields::of(&self.columns).text(&[name]).filter(|text| !text.trim().is_empty()))
    }

    /// Returns a whole number of 64 bits that is not 0.
    pub(super) fn integer(&self, name: &'static str) -> Option<i64> {
        let is_zero = self.columns.get(name).and_then(Value::as_i64) == Some(0);
        if is_zero { None } else { self.fit(name, Fields::of(&self.columns).integer(&[name])) }
    }

    pub(super) fn uuid(&self, name: &'static str) -> Option<Uuid> {
        self.fit(name, self.value(name).and_then(|value| value.as_str()?.parse().ok()))
    }

    pub(super) fn boolean(&self, name: &'static str) -> Option<bool> {
        self.fit(name, Fields::of(&self.columns).boolean(&[name]))
    }

    /// Returns a length that is given in seconds; `None` for 0, which the source writes where it knows none.
    pub(super) fn seconds(&self, name: &'static str) -> Option<Millis> {
        self.fit(name, Fields::of(&self.columns).seconds(&[name])).filter(|length| *length > Millis::ZERO)
    }

    /// Returns a time; one without a zone is UTC.
    pub(super) fn instant(&self, name: &'static str) -> Option<DateTime<Utc>> {
        let fields = Fields::of(&self.columns);
        let instant = fields.instant(&[name]);
        if let Err(problem) = fields.unless_unreadable(()) {
            self.problems.borrow_mut().push(problem);
        }
        instant
    }

    pub(super) fn direction(&self) -> Option<Direction> {
        self.fit("direction", workflow::direction(&Fields::of(&self.columns)))
    }

    /// Remembers a value that is there and could not be read.
    fn fit<T>(&self, name: &'static str, read: Option<T>) -> Option<T> {
        if read.is_none()
            && let Some(value) = self.value(name)
        {
            let shown: String = value.to_string().chars().take(MAX_SHOWN).collect();
            self.problems.borrow_mut().push(format!("{name} does not fit: {shown}"));
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(columns: &Value) -> Row {
        Row::read(columns.to_string())
    }

    #[test]
    fn what_does_not_fit_is_named_and_what_is_missing_is_not() {
        let row =
            row(&json!({"id": "7", "dialpad_call_id": 99999999999999999999_f64, "ended_at": "infinity",
            "duration_seconds": -5, "direction": "sideways", "started_at": null}));
        assert_eq!(row.integer("dialpad_call_id"), None);
        assert_eq!(row.instant("ended_at"), None);
        assert_eq!(row.seconds("duration_seconds"), None);
        assert_eq!(row.direction(), None);
        assert_eq!((row.instant("started_at"), row.text("missing")), (None, None));
        let problems = row.take_problems();
        assert_eq!(problems.len(), 4, "{problems:?}");
        for column in ["dialpad_call_id", "ended_at", "duration_seconds", "direction"] {
            assert!(problems.iter().any(|problem| problem.starts_with(column)), "{column}: {problems:?}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_utc() {
        let row = row(&json!({"created_at": "2024-01-01T12:00:03.25"}));
        assert_eq!(
            row.instant("created_at").map(|at| at.to_rfc3339()).as_deref(),
            Some("2024-01-01T12:00:03.250+00:00")
        );
    }
}
