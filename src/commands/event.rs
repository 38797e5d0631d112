//! An event as a CRM receives it: the fields that are printed or counted.

use serde::Deserialize;
use serde_json::Value;

/// An event that arrived.
#[derive(Debug)]
pub(super) struct Arrival {
    /// When it was read from the socket, in microseconds since 1970.
    pub(super) at: i64,
    /// The message as received.
    pub(super) text: String,
    /// Its fields.
    pub(super) event: Event,
}

/// The fields of an event.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) seq: i64,
    pub(super) dialpad_call_id: Option<i64>,
    /// A number, or a string if the request asked for strings.
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
    /// Returns an event of which only the type is known.
    pub(super) fn named(kind: &str) -> Self {
        Self { kind: kind.to_owned(), ..Self::default() }
    }

    /// Returns Dialpad's id of its call or message; `None` for an event about the app.
    pub(super) fn subject(&self) -> Option<i64> {
        self.dialpad_call_id.or_else(|| self.dialpad_message_id.as_ref().and_then(Value::as_i64))
    }
}
