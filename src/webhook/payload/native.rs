//! Dialpad's own family: a call leg's snapshot at each change of `state`, and text messages.

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
    recordings,
    workflow::direction,
};

/// The fields with the addresses of pictures and files.
pub(super) const MEDIA: [&str; 5] = ["mms_url", "mms_urls", "media_urls", "media_url", "media"];

/// Reads a call event.
pub(crate) fn read_call(state: &str, object: &Map<String, Value>, received_at: DateTime<Utc>) -> Content {
    let fields = Fields::of(object);
    let said_at = fields.instant(&["event_timestamp"]);
    let Some(dialpad_call_id) = fields.integer(&["call_id"]).map(DialpadCallId) else {
        return (said_at, Err(format!("state {state} names no call: call_id is missing or no number")));
    };
    let signal = signal(state, object);
    let mut knowledge = knowledge(&fields, &signal);
    knowledge.dialpad_state = state.parse().ok();
    let at = said_at.unwrap_or(received_at);
    let event = CallEvent { dialpad_call_id, at, signal, knowledge, origin: Origin::Webhook };
    (said_at, fields.unless_unreadable(Inbound::Call(event)))
}

/// Returns the meaning of a call state.
pub(crate) fn signal(state: &str, object: &Map<String, Value>) -> Signal {
    let raw = |meaning| Signal::Raw {
        state: state.to_owned(),
        payload: Box::new(Value::Object(object.clone())),
        meaning,
    };
    match state {
        "calling" | "ringing" | "preanswer" | "queued" => Signal::Ringing,
        "connected" => Signal::Connected,
        "hold" | "parked" => Signal::Held,
        "merged" | "takeover" | "barge" | "monitor" | "eavesdrop" | "unpark" => raw(RawMeaning::Talking),
        "hangup" => Signal::Ended(EndKind::Hangup),
        "missed" => Signal::Ended(EndKind::Missed),
        "blocked" => Signal::Ended(EndKind::Rejected),
        "voicemail" => Signal::VoicemailStarted,
        "voicemail_uploaded" => Signal::VoicemailLeft,
        // Of a voicemail, whose audio may come later; or of the conversation, if a person answered.
        "transcription" => raw(RawMeaning::Transcribed),
        "recording" | "admin_recording" => Signal::Learned,
        // These come after the call. They have its end even if its `hangup` was lost.
        "call_transcription" | "recap_summary" | "recap_outcome" | "recap_purposes"
        | "recap_action_items" | "csat" | "pcsat" | "dispositions" | "ai_playbook" | "postcall"
            if Fields::of(object).instant(&["date_ended"]).is_some() =>
        {
            raw(RawMeaning::Over)
        }
        // Surveys without an end, and states that are not documented.
        _ => raw(RawMeaning::Nothing),
    }
}

/// Returns the kind of a leg with a target of this type; `None` if the payload does not name one. A person who picks up a
/// user's or a room's phone has answered. All others (`office`, `department`, `call_center`, `callrouter`,
/// `coaching_group`, `coaching_team`, `staff_group`, `channel`, `unknown` …) are groups: being connected to one can be a
/// menu or a queue. Spelling varies between events and queries.
pub(crate) fn leg_of_target(target_type: Option<&str>, entry_point_call_id: Option<i64>) -> Option<Leg> {
    let target_type = target_type.map(str::trim).filter(|it| !it.is_empty())?;
    if !["user", "room"].iter().any(|person| target_type.eq_ignore_ascii_case(person)) {
        return Some(Leg::Group);
    }
    Some(entry_point_call_id.map_or(Leg::Direct, |_| Leg::User))
}

/// Reads everything that a snapshot of a call says, whether it came in a webhook or in an answer of the REST API.
pub(crate) fn knowledge(fields: &Fields<'_>, signal: &Signal) -> Knowledge {
    let direction = direction(fields);
    let external = fields.text(&["external_number"]);
    let internal = fields.text(&["internal_number"]);
    let (from_number, to_number) = match direction {
        Some(Direction::Outbound) => (internal, external),
        Some(Direction::Inbound) | None => (external, internal),
    };
    let entry_point_call_id = fields.integer(&["entry_point_call_id"]);
    let target = fields.value("target");
    let target_type = target.and_then(|target| target.get("type")).and_then(Value::as_str);
    // A room has an id as well, but is no user.
    let is_user = target_type.is_some_and(|it| it.trim().eq_ignore_ascii_case("user"));
    let user = target.filter(|_| is_user).and_then(|target| integer(target.get("id")?));
    // Lengths are final once the leg has ended; before that, they are those of the moment of serialization.
    let is_end = matches!(
        signal,
        Signal::Ended(_)
            | Signal::VoicemailLeft
            | Signal::Raw { meaning: RawMeaning::Over | RawMeaning::Transcribed, .. }
    );
    let is_over = is_end || *signal == Signal::Learned;
    let talk_ms = fields.milliseconds(&["talk_time"]);
    let recordings = recordings::native(fields, takes_untyped_recordings(fields, signal));
    Knowledge {
        direction,
        from_number,
        to_number,
        dialpad_user_id: user,
        leg: leg_of_target(target_type, entry_point_call_id),
        master_call_id: fields.integer(&["master_call_id"]),
        entry_point_call_id,
        operator_call_id: fields.integer(&["operator_call_id"]),
        target_id: target.and_then(|target| integer(target.get("id")?)),
        transferred_from: fields.value("transferred_from").and_then(|from| integer(from.get("id")?)),
        is_transferred: fields.boolean(&["is_transferred"]),
        is_merged: fields.text(&["state"]).as_deref() == Some("merged"),
        started_at: fields.instant(&["date_started"]),
        rang_at: None,
        dialpad_state: None,
        connected_at: fields.instant(&["date_connected"]),
        ended_at: fields.instant(&["date_ended"]),
        duration_ms: fields.milliseconds(&["total_duration", "duration"]).filter(|_| is_over),
        lacks_talk: is_end && talk_ms.is_none(),
        talk_ms: talk_ms.filter(|_| is_over),
        hold_ms: fields.milliseconds(&["hold_time"]).filter(|_| is_over),
        contact_name: recordings::text_of(fields, "contact", "name"),
        target_name: recordings::text_of(fields, "target", "name"),
        is_internal: recordings::is_internal(fields),
        callback_requested: fields.boolean(&["callback_requested"]),
        custom_data: fields.value("custom_data").map(Value::to_string),
        recording_url: recordings::first_of_call(&recordings),
        recordings,
        recording_spare_url: fields.text(&[
            "admin_recording_urls",
            "call_recording_share_links",
            "admin_call_recording_share_links",
        ]),
        voicemail_id: fields
            .text(&["voicemail_recording_id"])
            .or_else(|| of_detail(fields, "voicemail", "id")),
        voicemail_url: voicemail_link(fields, signal).or_else(|| of_detail(fields, "voicemail", "url")),
        voicemail_spare_url: fields.text(&["voicemail_share_link"]),
        voicemail_transcript: fields.text(&["transcription_text"]),
        voicemail_duration_ms: detail(fields, "voicemail")
            .and_then(|it| Fields::of(it).milliseconds(&["duration"])),
    }
}

/// Returns the link to the voicemail. Dialpad makes a link for each caller who hears the greeting, whether or not a message
/// is left: it leads to one only if there is a recording, which the payload has a place for.
fn voicemail_link(fields: &Fields<'_>, signal: &Signal) -> Option<String> {
    let is_left =
        matches!(signal, Signal::VoicemailLeft | Signal::Raw { meaning: RawMeaning::Transcribed, .. });
    let has_no_recording = fields.is_null("voicemail_recording_id");
    fields.text(&["voicemail_link"]).filter(|_| is_left || !has_no_recording)
}

/// Whether the list without types is of the call's recordings. It also has the voicemail's audio, once there is a
/// voicemail.
fn takes_untyped_recordings(fields: &Fields<'_>, signal: &Signal) -> bool {
    !matches!(
        signal,
        Signal::VoicemailStarted
            | Signal::VoicemailLeft
            | Signal::Raw { meaning: RawMeaning::Transcribed, .. }
    ) && detail(fields, "voicemail").is_none()
        && !fields.has(&["voicemail_link", "voicemail_recording_id"])
}

fn of_detail(fields: &Fields<'_>, kind: &str, name: &'static str) -> Option<String> {
    Fields::of(detail(fields, kind)?).text(&[name])
}

/// Returns the entry of `recording_details` of this kind.
fn detail<'a>(fields: &Fields<'a>, kind: &str) -> Option<&'a Map<String, Value>> {
    let details = fields.value("recording_details")?.as_array()?;
    details.iter().filter_map(Value::as_object).find(|detail| {
        detail.get("recording_type").and_then(Value::as_str).is_some_and(|it| it.eq_ignore_ascii_case(kind))
    })
}

/// Whether a payload is a text message: it has an id and numbers, and neither a state nor a call.
pub(crate) fn is_message(fields: &Fields<'_>) -> bool {
    let has_all = ["id", "from_number", "to_number"].iter().all(|name| fields.has(&[name]));
    has_all && !fields.has(&["call_id"])
}

/// Whether a payload is a fax, which has an id and numbers like a text message. Dialpad does not document its fields.
pub(crate) fn is_fax(object: &Map<String, Value>) -> bool {
    const KINDS: [&str; 5] = ["type", "kind", "message_type", "channel", "event"];
    const OF_FAXES: [&str; 4] = ["pages", "page_count", "num_pages", "number_of_pages"];
    object.iter().filter(|(_, value)| is_present(value)).any(|(name, value)| {
        let is_named =
            name.to_ascii_lowercase().split('_').any(|part| part == "fax") && *value != Value::Bool(false);
        let names_it = || {
            let kind = value.as_str().unwrap_or_default().to_ascii_lowercase();
            KINDS.contains(&name.as_str()) && kind.split(['.', '_', ' ']).any(|part| part == "fax")
        };
        is_named || OF_FAXES.contains(&name.as_str()) || names_it()
    })
}

/// Reads a text message.
pub(crate) fn read_message(object: &Map<String, Value>, received_at: DateTime<Utc>) -> Content {
    let fields = Fields::of(object);
    let said_at = fields.instant(&["event_timestamp", "created_date"]);
    let Some(dialpad_message_id) = fields.text(&["id"]) else {
        return (said_at, Err("the message has no id".to_owned()));
    };
    let target = object.get("target");
    let is_user = target.and_then(|target| target.get("type")).and_then(Value::as_str) == Some("user");
    let user = target.filter(|_| is_user).and_then(|target| integer(target.get("id")?));
    let knowledge = MessageKnowledge {
        direction: direction(&fields),
        from_number: fields.text(&["from_number"]),
        to_number: fields.texts(&["to_number"]),
        text: fields.text(&["text_content", "text"]),
        mms_url: fields.text(&MEDIA),
        media_urls: fields.all_texts(&MEDIA),
        status: fields.text(&["message_status"]),
        delivery_result: fields.text(&["message_delivery_result"]),
        dialpad_user_id: fields.integer(&["sender_id"]).or(user),
        sent_at: fields.instant(&["created_date"]),
    };
    let at = said_at.unwrap_or(received_at);
    (said_at, fields.unless_unreadable(Inbound::Message(MessageEvent { dialpad_message_id, at, knowledge })))
}

#[cfg(test)]
mod tests {
    use cti_actors::model::call::Millis;
    use serde_json::json;

    use super::*;

    fn call(json: Value) -> CallEvent {
        match crate::webhook::payload::read(json.to_string().as_bytes(), DateTime::UNIX_EPOCH).content {
            Ok(Inbound::Call(event)) => event,
            other => panic!("expected a call, got {other:?}"),
        }
    }

    #[test]
    fn the_outside_number_is_the_caller_of_an_inbound_call_and_the_callee_of_an_outbound_one() {
        let leg = |direction: &str| {
            let event = call(json!({
                "state": "ringing", "call_id": 5, "direction": direction, "event_timestamp": 1731632669601_i64,
                "external_number": "+1", "internal_number": "+2", "target": {"type": "user", "id": 9},
                "entry_point_call_id": null, "master_call_id": 0, "operator_call_id": "",
            }));
            (event.knowledge.from_number, event.knowledge.to_number, event.knowledge.leg)
        };
        assert_eq!(leg("inbound"), (Some("+1".into()), Some("+2".into()), Some(Leg::Direct)));
        assert_eq!(leg("outbound"), (Some("+2".into()), Some("+1".into()), Some(Leg::Direct)));
    }

    #[test]
    fn lengths_count_only_at_the_end_and_come_in_milliseconds() {
        let at = |state: &str| {
            call(
                json!({"state": state, "call_id": 5, "total_duration": 8951.02999, "talk_time": 3000, "target": {}}),
            )
        };
        assert_eq!(at("hangup").knowledge.duration_ms, Some(Millis::from_f64(8951.029)));
        assert_eq!(at("connected").knowledge.duration_ms, None);
    }

    #[test]
    fn a_call_centre_leg_is_a_group_leg_whatever_its_spelling() {
        for kind in ["call_center", "callcenter", "office", "department"] {
            let event = call(json!({"state": "queued", "call_id": 5, "target": {"type": kind, "id": 1}}));
            assert_eq!((event.knowledge.leg, event.knowledge.dialpad_user_id), (Some(Leg::Group), None));
        }
    }

    #[test]
    fn a_message_is_recognized_by_its_fields() {
        let json = json!({"id": 6095823680520192_i64, "created_date": 1731632669183_i64, "direction": "inbound",
            "from_number": "+1", "to_number": ["+2", "+3"], "text": "Hi", "message_status": "pending"});
        match crate::webhook::payload::read(json.to_string().as_bytes(), DateTime::UNIX_EPOCH).content {
            Ok(Inbound::Message(event)) => {
                assert_eq!(event.dialpad_message_id, "6095823680520192");
                assert_eq!(event.knowledge.to_number.as_deref(), Some("+2,+3"));
            }
            other => panic!("expected a message, got {other:?}"),
        }
    }

    #[test]
    fn audio_is_preferred_to_a_page_that_shows_it() {
        let known = |json: Value| call(json).knowledge;
        let webhook = known(json!({
            "state": "voicemail_uploaded", "call_id": 5, "voicemail_link": "https://dialpad.com/r/1",
            "voicemail_share_link": "https://dialpad.com/shared/1", "recording_url": ["https://dialpad.com/r/1"],
            "recording_details": [{"id": "77", "recording_type": "voicemail", "url": "https://dialpad.com/r/2"}],
        }));
        assert_eq!(webhook.voicemail().map(String::as_str), Some("https://dialpad.com/r/1"));
        assert_eq!((webhook.voicemail_id.as_deref(), webhook.recording()), (Some("77"), None));
        let asked = known(
            json!({"state": "hangup", "call_id": 5, "voicemail_share_link": "https://dialpad.com/shared/1",
            "admin_recording_urls": ["https://dialpad.com/blob/adminrecording/1.mp3"], "recording_url": []}),
        );
        assert_eq!(asked.voicemail().map(String::as_str), Some("https://dialpad.com/shared/1"));
        assert_eq!(
            asked.recording().map(String::as_str),
            Some("https://dialpad.com/blob/adminrecording/1.mp3")
        );
        assert!(asked.is_of_a_voicemail() && asked.recording_url.is_none());
    }
}
