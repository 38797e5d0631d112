//! The messages of the WebSocket: events, and control messages. Pure.

use std::time::Duration;

use serde::Deserialize;

use crate::event::{Body, Event};
use crate::snapshot::SnapshotPart;

/// One message of the server.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    /// The first message.
    Connected {
        /// The epoch of the feed; `None`: an older server.
        epoch: Option<String>,
        seq: u64,
        /// The cursor of a named consumer on the server.
        acked: Option<u64>,
    },
    /// An event.
    Event(Box<Event>),
    /// A part of the snapshot.
    Snapshot(SnapshotPart),
    /// Events are missing.
    Gap(Gap),
    /// No event up to here matches the subscription, or none came: a `cursor`, or a `watermark`.
    Cursor { seq: u64 },
    /// The server is about to stop: reconnect after this time.
    Reconnect { after: Duration },
    /// A type that this version does not know.
    Unknown,
}

/// Events that are no longer available: catch up with `GET /api/calls?since=` [`from_at`](Gap::from_at), and messages alike.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Gap {
    /// `expired`: no longer stored. `cursor_ahead`: the feed ends before your cursor, for example after a restored backup.
    /// `epoch_changed`: see [`Item::EpochChanged`](crate::Item::EpochChanged).
    pub reason: String,
    /// The epoch of the feed. `None`: an older server.
    #[serde(default)]
    pub epoch: Option<String>,
    /// The first missing event. With `epoch_changed`: the oldest stored event.
    pub from_seq: u64,
    /// The last missing event. With `epoch_changed`: the event after which the feed continues.
    pub to_seq: u64,
    /// The oldest stored event.
    pub oldest_seq: u64,
    /// The newest event.
    pub seq: u64,
    /// The first missing event was emitted at this time (RFC 3339) or later. `None` if the server does not know it.
    #[serde(default)]
    pub from_at: Option<String>,
    /// The last missing event was emitted at this time. `None` if the server does not know it.
    #[serde(default)]
    pub until_at: Option<String>,
}

impl Gap {
    /// Returns the cursor after the gap.
    #[must_use]
    pub fn resume_after(&self) -> u64 {
        if self.reason == "cursor_ahead" { self.seq } else { self.to_seq }
    }

    /// Returns whether the feed has another epoch.
    pub(crate) fn is_epoch_change(&self) -> bool {
        self.reason == "epoch_changed"
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    seq: Option<u64>,
    event_id: Option<String>,
    #[serde(default)]
    app_id: String,
    timestamp: Option<i64>,
    after_ms: Option<u64>,
    acked_seq: Option<u64>,
    epoch: Option<String>,
}

impl Message {
    pub(crate) fn read(json: String) -> Result<Self, serde_json::Error> {
        let Envelope { kind, seq, event_id, app_id, timestamp, after_ms, acked_seq, epoch } =
            serde_json::from_str(&json)?;
        // Only events have an id: control messages are never repeated.
        if let (Some(event_id), Some(seq)) = (event_id, seq) {
            let body = Body::read(&kind, &json);
            let event = Event { seq, event_id, app_id, kind, timestamp, body, json };
            return Ok(Self::Event(Box::new(event)));
        }
        Ok(match (kind.as_str(), seq) {
            ("connected", Some(seq)) => Self::Connected { epoch, seq, acked: acked_seq },
            ("cursor" | "watermark", Some(seq)) => Self::Cursor { seq },
            ("snapshot", _) => Self::Snapshot(SnapshotPart::read(&json)?),
            ("gap", _) => Self::Gap(serde_json::from_str(&json)?),
            ("reconnect", _) => {
                Self::Reconnect { after: Duration::from_millis(after_ms.unwrap_or_default()) }
            }
            _ => Self::Unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enums::{Outcome, Status};

    fn read(json: &str) -> Message {
        Message::read(json.to_owned()).expect("a message")
    }

    fn event(json: &str) -> Event {
        match read(json) {
            Message::Event(event) => *event,
            other => panic!("no event: {other:?}"),
        }
    }

    const ENDED: &str = r#"{"type":"call.ended","seq":42,"event_id":"018cc4e5","app_id":"018cc4db",
        "call_id":9007199254740993,"dialpad_call_id":9007199254740993,"interaction_id":"i","leg":"direct",
        "direction":"inbound","from_number":"+14155551234","to_number":null,"dialpad_user_id":555,"crm_user_id":null,
        "status":"ended","ended_at":"2024-01-01T12:03:00Z","duration_seconds":180,"talk_seconds":172,"hold_seconds":5,
        "recording_url":null,"outcome":"answered","answered_elsewhere":false,"timestamp":1704110580}"#;

    #[test]
    fn an_event_is_typed_and_its_ids_are_exact() {
        let event = event(ENDED);
        assert_eq!(
            (event.seq, event.kind.as_str(), event.timestamp),
            (42, "call.ended", Some(1_704_110_580))
        );
        let Body::CallEnded(ended) = &event.body else { panic!("{event:?}") };
        assert_eq!(ended.call.dialpad_call_id, 9_007_199_254_740_993);
        assert_eq!((ended.duration_seconds, &ended.outcome), (Some(180), &Some(Outcome::Answered)));
        assert_eq!(event.call().and_then(|call| call.status.clone()), Some(Status::Ended));
        assert_eq!(event.json, ENDED);
    }

    #[test]
    fn repaired_and_inferred_events_say_so() {
        let call = |json: &str| event(json).call().cloned().expect("it is about a call");
        let ended = call(ENDED);
        assert_eq!((ended.source, ended.inferred), (None, false));
        let repaired = call(&ENDED.replace("\"seq\":42", "\"seq\":42,\"source\":\"repaired\""));
        assert_eq!(repaired.source.as_deref(), Some("repaired"));
        assert!(call(&ENDED.replace("\"seq\":42", "\"seq\":42,\"inferred\":true")).inferred);
    }

    #[test]
    fn an_event_of_an_unknown_type_is_kept_as_received() {
        let event = event(r#"{"type":"fax.received","seq":7,"event_id":"e","app_id":"a","pages":3}"#);
        let Body::Other(raw) = &event.body else { panic!("{event:?}") };
        assert_eq!(raw["pages"], 3);
    }

    #[test]
    fn a_known_type_in_another_shape_is_not_an_error() {
        let event =
            event(r#"{"type":"call.ring","seq":7,"event_id":"e","app_id":"a","dialpad_call_id":"x"}"#);
        assert!(matches!(event.body, Body::Other(_)), "{event:?}");
    }

    #[test]
    fn an_unknown_value_is_kept() {
        let event = event(&ENDED.replace("answered\"", "answered_by_a_robot\""));
        let Body::CallEnded(ended) = event.body else { panic!("not call.ended") };
        assert_eq!(ended.outcome, Some(Outcome::Other("answered_by_a_robot".to_owned())));
    }

    #[test]
    fn control_messages_are_not_events() {
        assert_eq!(
            read(r#"{"type":"connected","app_id":"a","session_id":"s","seq":4,"oldest_seq":1}"#),
            Message::Connected { epoch: None, seq: 4, acked: None }
        );
        assert_eq!(read(r#"{"type":"cursor","seq":9}"#), Message::Cursor { seq: 9 });
        let watermark = r#"{"type":"watermark","seq":9,"at":"2024-01-01T12:00:05.112Z"}"#;
        assert_eq!(read(watermark), Message::Cursor { seq: 9 });
        assert_eq!(
            read(r#"{"type":"reconnect","after_ms":70}"#),
            Message::Reconnect { after: Duration::from_millis(70) }
        );
        assert_eq!(read(r#"{"type":"weather","sunny":true}"#), Message::Unknown);
        assert!(Message::read("<html>".to_owned()).is_err());
    }

    #[test]
    fn a_gap_says_where_to_resume() {
        let gap = |reason: &str| match read(&format!(
            r#"{{"type":"gap","reason":"{reason}","from_seq":3,"to_seq":8,"oldest_seq":9,"seq":5}}"#
        )) {
            Message::Gap(gap) => gap.resume_after(),
            other => panic!("no gap: {other:?}"),
        };
        assert_eq!((gap("expired"), gap("cursor_ahead"), gap("epoch_changed")), (8, 5, 8));
    }
}
