//! An event as a CRM reads it from the socket: the fields that are shown or counted.

use serde::Deserialize;
use serde_json::Value;

/// An event that arrived.
#[derive(Debug)]
pub(super) struct Arrival {
    /// When it had been read from the socket, in microseconds since 1970.
    pub(super) at: i64,
    /// The message as it came.
    pub(super) text: String,
    /// What it says.
    pub(super) event: Event,
}

/// What an event says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) seq: i64,
    pub(super) dialpad_call_id: Option<i64>,
    /// A number, unless somebody asked for strings.
    pub(super) dialpad_message_id: Option<Value>,
    pub(super) direction: Option<String>,
    pub(super) from_number: Option<String>,
    pub(super) to_number: Option<String>,
    pub(super) status: Option<String>,
    pub(super) message_status: Option<String>,
    pub(super) outcome: Option<String>,
    pub(super) duration_seconds: Option<u64>,
    #[serde(default)]
    pub(super) changed: Vec<String>,
    pub(super) transcript: Option<String>,
    pub(super) text: Option<String>,
    pub(super) environment: Option<String>,
}

impl Event {
    /// One of which nothing but the type is known.
    pub(super) fn named(kind: &str) -> Self {
        Self { kind: kind.to_owned(), ..Self::default() }
    }

    /// Dialpad's id of what it is about; none for an event about the app.
    pub(super) fn subject(&self) -> Option<i64> {
        self.dialpad_call_id.or_else(|| self.dialpad_message_id.as_ref().and_then(Value::as_i64))
    }
}
