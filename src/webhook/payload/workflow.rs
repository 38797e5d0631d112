//! The family of named events: `event_type`, with its fields flat or under `call`, `voicemail` or `message`.

use chrono::{DateTime, Utc};
use cti_actors::{
    id::DialpadCallId,
    model::{
        call::{CallEvent, Direction, EndKind, Knowledge, Leg, Origin, RawMeaning, Signal},
        message::{MessageEvent, MessageKnowledge},
    },
    ports::Inbound,
};
use serde_json::{Map, Value};

use super::{
    Content,
    fields::{Fields, integer, is_present},
    native::{MEDIA, leg_of_target},
    recordings,
};

/// Reads an event of this family.
pub(crate) fn read(event_type: &str, object: &Map<String, Value>, received_at: DateTime<Utc>) -> Content {
    // Only the outer time decides when it happened.
    let outer = Fields::of(object);
    let said_at = outer.instant(&["timestamp", "event_timestamp", "occurred_at"]);
    if let Err(problem) = outer.unless_unreadable(()) {
        return (said_at, Err(problem));
    }
    let at = said_at.unwrap_or(received_at);
    let content = if event_type.starts_with("message.") || event_type.starts_with("sms.") {
        read_message(event_type, object, at).map(Inbound::Message)
    } else {
        read_call(event_type, object, at).map(Inbound::Call)
    };
    (said_at, content)
}

fn read_call(event_type: &str, object: &Map<String, Value>, at: DateTime<Utc>) -> Result<CallEvent, String> {
    let raw_call = object.get("raw_payload").and_then(|raw| raw.get("call"));
    let fields = Fields::of(object).or_in(object.get("call")).or_in(raw_call);
    let id_of_call =
        || [object.get("call"), raw_call].into_iter().flatten().find_map(|call| integer(call.get("id")?));
    let dialpad_call_id = fields.integer(&["call_id", "dialpad_call_id"]).or_else(id_of_call);
    let Some(dialpad_call_id) = dialpad_call_id.map(DialpadCallId) else {
        return Err(format!("{event_type} names no call: call_id is missing or no number"));
    };
    let mut knowledge = Knowledge {
        direction: direction(&fields),
        from_number: fields.text(&["from_number", "from"]),
        to_number: fields.text(&["to_number", "to"]),
        dialpad_user_id: fields.integer(&["dialpad_user_id", "user_id"]),
        master_call_id: fields.integer(&["master_call_id"]),
        entry_point_call_id: fields.integer(&["entry_point_call_id"]),
        operator_call_id: fields.integer(&["operator_call_id"]),
        contact_name: fields
            .text(&["contact_name"])
            .or_else(|| recordings::text_of(&fields, "contact", "name")),
        target_id: fields.value("target").and_then(|target| integer(target.get("id")?)),
        target_name: fields.text(&["target_name"]).or_else(|| recordings::text_of(&fields, "target", "name")),
        is_internal: recordings::is_internal(&fields),
        callback_requested: fields.boolean(&["callback_requested"]),
        custom_data: fields.value("custom_data").map(Value::to_string),
        ..Knowledge::default()
    };
    knowledge.leg = leg(&fields, &knowledge);
    let signal = match event_type {
        "call.ring" => Signal::Ringing,
        "call.started" => {
            knowledge.connected_at = fields.instant(&["started_at", "answered_at", "connected_at"]);
            Signal::Connected
        }
        "call.held" => Signal::Held,
        "call.resumed" => Signal::Resumed,
        "call.ended" => {
            knowledge.connected_at = fields.instant(&["started_at", "answered_at", "connected_at"]);
            knowledge.ended_at = fields.instant(&["ended_at"]);
            knowledge.duration_ms = fields.seconds(&["duration_seconds", "duration"]);
            knowledge.talk_ms = fields.seconds(&["talk_seconds"]);
            knowledge.hold_ms = fields.seconds(&["hold_seconds"]);
            Signal::Ended(EndKind::Hangup)
        }
        "call.recording.completed" => Signal::Learned,
        "voicemail.received" | "call.voicemail" => {
            let fields = fields.or_in(object.get("voicemail"));
            knowledge.voicemail_id = fields.text(&["voicemail_id"]);
            knowledge.voicemail_url = fields.text(&["recording_url", "url"]);
            knowledge.voicemail_transcript = fields.text(&["transcript", "transcription"]);
            knowledge.voicemail_duration_ms = fields.seconds(&["duration_seconds", "duration"]);
            return fields.unless_unreadable(CallEvent {
                dialpad_call_id,
                at,
                signal: Signal::VoicemailLeft,
                knowledge,
                origin: Origin::Webhook,
            });
        }
        unknown => {
            let payload = Box::new(Value::Object(object.clone()));
            Signal::Raw { state: unknown.to_owned(), payload, meaning: RawMeaning::Nothing }
        }
    };
    let in_recording = object.get("recording").filter(|recording| is_present(recording));
    knowledge.recording_url = fields.text(&["recording_url"]).or_else(|| {
        Fields::of(object)
            .or_in(in_recording)
            .text(&["recording_url", "url"])
            .filter(|_| in_recording.is_some())
    });
    knowledge.recordings = recordings::workflow(&fields);
    fields.unless_unreadable(CallEvent { dialpad_call_id, at, signal, knowledge, origin: Origin::Webhook })
}

/// Returns the kind of leg, where the payload says so in any way; most payloads of this family do not.
fn leg(fields: &Fields<'_>, known: &Knowledge) -> Option<Leg> {
    let target_type = fields.value("target").and_then(|target| target.get("type")?.as_str());
    let of_target = leg_of_target(target_type, known.entry_point_call_id);
    let of_operator = known.operator_call_id.map(|_| Leg::Group);
    of_target.or(of_operator).or_else(|| known.entry_point_call_id.map(|_| Leg::User))
}

fn read_message(
    event_type: &str,
    object: &Map<String, Value>,
    at: DateTime<Utc>,
) -> Result<MessageEvent, String> {
    let message = object.get("message");
    let fields = Fields::of(object).or_in(message);
    let Some(dialpad_message_id) = fields.text(&["message_id", "id"]) else {
        return Err(format!("{event_type} names no message: message_id is missing"));
    };
    let by_name = match event_type.split_once('.').map(|(_, rest)| rest) {
        Some("received" | "inbound") => Some(Direction::Inbound),
        Some("sent" | "outbound") => Some(Direction::Outbound),
        _ => None,
    };
    let text = match message {
        // `message` may be the text itself.
        Some(Value::String(words)) => Some(words.clone()),
        _ => fields.text(&["text", "body"]),
    };
    let knowledge = MessageKnowledge {
        direction: direction(&fields).or(by_name),
        from_number: fields.text(&["from_number", "from"]),
        to_number: fields.texts(&["to_number", "to"]),
        text,
        mms_url: fields.text(&MEDIA),
        media_urls: fields.all_texts(&MEDIA),
        status: fields.text(&["message_status", "status"]),
        delivery_result: fields.text(&["message_delivery_result", "delivery_result"]),
        dialpad_user_id: fields.integer(&["dialpad_user_id", "user_id"]),
        sent_at: fields.instant(&["sent_at", "timestamp"]),
    };
    fields.unless_unreadable(MessageEvent { dialpad_message_id, at, knowledge })
}

pub(crate) fn direction(fields: &Fields<'_>) -> Option<Direction> {
    match fields.text(&["direction"])?.to_ascii_lowercase().as_str() {
        "inbound" | "incoming" => Some(Direction::Inbound),
        "outbound" | "outgoing" => Some(Direction::Outbound),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(json: Value) -> CallEvent {
        match crate::webhook::payload::read(json.to_string().as_bytes(), DateTime::UNIX_EPOCH).content {
            Ok(Inbound::Call(event)) => event,
            other => panic!("expected a call, got {other:?}"),
        }
    }

    #[test]
    fn a_ring_happens_at_its_outer_time() {
        let event = call(json!({
            "event_type": "call.ring", "call_id": 9876543210_i64, "direction": "inbound",
            "from_number": "+14155551234", "to_number": "+14155555678", "dialpad_user_id": 555,
            "timestamp": 1704067200, "organization_id": 12345678,
            "raw_payload": {"event": "call.ring", "call": {"id": 9876543210_i64, "created_at": "2024-01-01T12:00:00Z"}},
        }));
        assert_eq!(event.dialpad_call_id, DialpadCallId(9_876_543_210));
        assert_eq!(event.signal, Signal::Ringing);
        assert_eq!(event.at.timestamp(), 1_704_067_200);
        assert_eq!(event.knowledge.dialpad_user_id, Some(555));
    }

    #[test]
    fn fields_may_lie_under_call() {
        let event = call(json!({
            "event_type": "call.ended",
            "call": {"id": "42", "direction": "OUTBOUND", "from_number": "+1", "user_id": "7", "duration_seconds": 180},
        }));
        assert_eq!(event.dialpad_call_id, DialpadCallId(42));
        assert_eq!(event.knowledge.direction, Some(Direction::Outbound));
        assert_eq!(event.knowledge.dialpad_user_id, Some(7));
        assert_eq!(event.knowledge.duration_ms, Some(180_000.into()));
    }

    #[test]
    fn the_recording_of_a_voicemail_is_not_the_recording_of_its_call() {
        let event = call(json!({
            "event_type": "voicemail.received", "call_id": 1, "voicemail_id": "vm_1",
            "recording_url": "https://dialpad.com/r/1", "transcript": "Hi", "duration_seconds": 28,
        }));
        assert_eq!(event.knowledge.recording_url, None);
        assert_eq!(event.knowledge.voicemail_url.as_deref(), Some("https://dialpad.com/r/1"));
        assert_eq!(event.knowledge.voicemail_duration_ms, Some(28_000.into()));
    }

    #[test]
    fn an_unknown_type_that_names_a_call_is_passed_on() {
        let event = call(json!({"event_type": "call.whispered", "call_id": 1}));
        assert!(matches!(event.signal, Signal::Raw { state, .. } if state == "call.whispered"));
    }
}
