//! Examples of what clients receive: one call, in full, and what belongs to it.

use cti_actors::{
    event::EventType,
    model::call::{DialpadState, Status},
};
use serde_json::{Value, json};

pub(crate) const APP: &str = "550e8400-e29b-41d4-a716-446655440000";
pub(crate) const KEY: &str = "raw_5b0c7e21a4f98d3365b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d19e1f";
pub(crate) const CALL: &str = "018cc4e5-2270-7f07-a3c9-d2e5b6f7a8c9";
pub(crate) const EPOCH: &str = "018cc4e0-7d2b-7c55-9f21-6a7b8c9d0e1f";
const EVENT: &str = "018cc4e5-2e85-7b60-8f4a-91c0d2e3f4a5";
const VOICEMAIL: &str = "018cc4e6-0cf0-7d15-8a3b-4c5d6e7f8091";
const MESSAGE: &str = "018cc4e5-2f0f-7a11-95d4-0b1c2d3e4f50";
const RECORDING: &str = "https://dialpad.com/recordings/call123.wav";
const WORDS: &str = "Hi, please call me back";

/// Returns an object with more fields.
pub(crate) fn with(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

/// Returns a call after its end.
pub(crate) fn call() -> Value {
    json!({
        "id": CALL, "app_id": APP, "dialpad_call_id": 9_876_543_210_i64, "call_id": 9_876_543_210_i64,
        "interaction_id": CALL, "leg": "direct", "direction": "inbound", "from_number": "+14155551234",
        "to_number": "+14155555678", "from_e164": "+14155551234", "to_e164": "+14155555678",
        "contact_name": "Grace Hopper", "target_id": 555, "target_name": "Ada Lovelace", "is_internal": false,
        "callback_requested": null, "custom_data": null, "status": "ended", "dialpad_state": "connected", "outcome": "answered",
        "dialpad_user_id": 555,
        "crm_user_id": "agent-7", "ringing_at": "2024-01-01T12:00:00Z", "answered_at": "2024-01-01T12:00:03Z",
        "started_at": "2024-01-01T12:00:03Z", "ended_at": "2024-01-01T12:03:00Z", "duration_seconds": 180,
        "talk_seconds": 172, "hold_seconds": 5, "recording_url": RECORDING, "recordings": [recording()],
        "answered_elsewhere": false, "is_voicemail": false, "voicemail": null, "created_at": "2024-01-01T12:00:00.112043Z",
        "updated_at": "2024-01-01T12:03:00.301204Z",
    })
}

fn recording() -> Value {
    json!({
        "id": 6_100_000_000_000_001_i64, "url": RECORDING, "type": "callrecording", "duration_seconds": 171,
        "started_at": "2024-01-01T12:00:03Z",
    })
}

/// Returns the call while it is active.
pub(crate) fn active_call() -> Value {
    let now = json!({
        "status": "active", "outcome": null, "ended_at": null, "duration_seconds": null, "talk_seconds": null,
        "hold_seconds": null, "recording_url": null, "recordings": [],
        "updated_at": "2024-01-01T12:00:03.201377Z",
    });
    with(call(), now)
}

/// Returns a call that was just placed.
pub(crate) fn placed_call() -> Value {
    let now = json!({
        "direction": "outbound", "from_number": null, "to_number": "+14155551234", "from_e164": null,
        "to_e164": "+14155551234", "contact_name": null, "target_id": null, "target_name": null,
        "is_internal": null, "custom_data": "lead 4711", "status": "ringing", "dialpad_state": null,
        "answered_at": null, "started_at": null, "updated_at": "2024-01-01T12:00:00.112043Z",
    });
    with(active_call(), now)
}

pub(crate) fn interaction() -> Value {
    let more = json!({
        "calls": [call()], "created_at": "2024-01-01T12:00:00.112043Z", "updated_at": "2024-01-01T12:03:00.301204Z",
    });
    with(of_interaction(EventType::InteractionEnded), more)
}

fn of_interaction(event_type: EventType) -> Value {
    let body = json!({
        "interaction_id": CALL, "status": "ended", "outcome": "answered", "direction": "inbound",
        "external_number": "+14155551234", "is_internal": false, "answered_by": 555, "answered_by_crm_user_id": "agent-7",
        "started_at": "2024-01-01T12:00:03Z", "answered_at": "2024-01-01T12:00:03Z",
        "ended_at": "2024-01-01T12:03:00Z", "duration_seconds": 180, "talk_seconds": 172, "hold_seconds": 5,
        "voicemail": null, "recordings": [with(recording(), json!({"call_id": 9_876_543_210_i64}))],
        "calls": [9_876_543_210_i64],
    });
    match event_type {
        EventType::InteractionUpdated => with(body, json!({"changed": ["recordings"]})),
        _ => body,
    }
}

pub(crate) fn voicemail() -> Value {
    json!({
        "id": VOICEMAIL, "voicemail_id": VOICEMAIL, "dialpad_voicemail_id": "vm_123456", "app_id": APP,
        "call_id": 9_876_543_210_i64, "dialpad_call_id": 9_876_543_210_i64, "direction": "inbound",
        "from_number": "+14155551234", "to_number": "+14155555678", "from_e164": "+14155551234",
        "to_e164": "+14155555678", "dialpad_user_id": 555,
        "crm_user_id": "agent-7", "recording_url": "https://dialpad.com/recordings/vm456.wav",
        "transcript": WORDS, "duration_seconds": 28, "received_at": "2024-01-01T12:01:00Z",
        "created_at": "2024-01-01T12:01:00.204311Z", "updated_at": "2024-01-01T12:01:31.500127Z",
    })
}

pub(crate) fn message() -> Value {
    json!({
        "id": MESSAGE, "message_id": MESSAGE, "dialpad_message_id": 6_095_823_680_520_192_i64, "app_id": APP,
        "direction": "outbound", "from_number": "+14155555678", "to_number": "+14155551234,+14155550002",
        "to_numbers": ["+14155551234", "+14155550002"], "from_e164": "+14155555678",
        "to_e164": "+14155551234,+14155550002", "text": "Yes, at 3.", "mms_url": null, "media_urls": [],
        "message_status": "delivered", "message_delivery_result": "accepted", "dialpad_user_id": 555, "crm_user_id": "agent-7",
        "sent_at": "2024-01-01T12:00:10Z", "created_at": "2024-01-01T12:00:10.611024Z",
        "updated_at": "2024-01-01T12:00:12.901220Z",
    })
}

/// Returns an event.
pub(crate) fn event(event_type: EventType) -> Value {
    let seq = event_type as usize + 41;
    let head = json!({
        "type": event_type, "seq": seq, "event_id": EVENT, "app_id": APP, "timestamp": 1_704_110_403,
    });
    let body = match event_type {
        EventType::MessageReceived | EventType::MessageSent | EventType::MessageUpdated => {
            of_message(event_type)
        }
        EventType::InteractionEnded | EventType::InteractionUpdated => of_interaction(event_type),
        EventType::ConnectionExpired => with(of_connection(), json!({"code": "TOKENS_EXPIRED"})),
        EventType::ConnectionDegraded => {
            let degraded = json!({"code": "TOKEN_REFRESH_FAILED", "reason": "Dialpad answered 503"});
            with(of_connection(), degraded)
        }
        EventType::ConnectionConnected
        | EventType::ConnectionRecovered
        | EventType::ConnectionDisconnected => of_connection(),
        _ => of_call(event_type),
    };
    with(head, body)
}

fn of_connection() -> Value {
    json!({"environment": "sandbox", "dialpad_org_id": 12_345_678})
}

fn of_call(event_type: EventType) -> Value {
    let status = match event_type {
        EventType::CallRing => Status::Ringing,
        EventType::CallHeld => Status::Held,
        EventType::CallEnded
        | EventType::CallUpdated
        | EventType::VoicemailReceived
        | EventType::VoicemailUpdated => Status::Ended,
        _ => Status::Active,
    };
    let dialpad_state = match status {
        Status::Ringing => DialpadState::Ringing,
        Status::Held => DialpadState::Hold,
        Status::Active | Status::Ended => DialpadState::Connected,
    };
    let head = json!({
        "call_id": 9_876_543_210_i64, "dialpad_call_id": 9_876_543_210_i64, "interaction_id": CALL, "leg": "direct",
        "direction": "inbound", "from_number": "+14155551234", "to_number": "+14155555678",
        "from_e164": "+14155551234", "to_e164": "+14155555678", "contact_name": "Grace Hopper", "target_id": 555,
        "target_name": "Ada Lovelace", "is_internal": false, "callback_requested": null, "custom_data": null,
        "dialpad_user_id": 555, "crm_user_id": "agent-7", "status": status,
        "dialpad_state": dialpad_state,
    });
    let end = json!({
        "ended_at": "2024-01-01T12:03:00Z", "duration_seconds": 180, "talk_seconds": 172, "hold_seconds": 5,
        "recording_url": RECORDING, "recordings": [recording()], "outcome": "answered",
        "answered_elsewhere": false,
    });
    let extra = match event_type {
        EventType::CallRing => json!({"ringing_at": "2024-01-01T12:00:00Z"}),
        EventType::CallStarted => json!({"started_at": "2024-01-01T12:00:03Z", "recording_url": null}),
        EventType::CallHeld => json!({"held_at": "2024-01-01T12:00:45Z"}),
        EventType::CallResumed => json!({"resumed_at": "2024-01-01T12:00:50Z"}),
        EventType::CallEnded => end,
        EventType::CallUpdated => {
            let known = json!({"changed": ["recording_url"], "ringing_at": "2024-01-01T12:00:00Z",
                "started_at": "2024-01-01T12:00:03Z"});
            with(known, end)
        }
        EventType::CallRaw => {
            json!({"state": "barged", "payload": {"state": "barged", "call_id": 9_876_543_210_i64}})
        }
        EventType::VoicemailReceived | EventType::VoicemailUpdated => json!({
            "voicemail_id": VOICEMAIL, "dialpad_voicemail_id": "vm_123456", "transcript": WORDS,
            "recording_url": "https://dialpad.com/recordings/vm456.wav", "duration_seconds": 28,
        }),
        _ => json!({}),
    };
    with(head, extra)
}

fn of_message(event_type: EventType) -> Value {
    let (direction, from, to) = match event_type {
        EventType::MessageReceived => ("inbound", "+14155551234", "+14155555678"),
        _ => ("outbound", "+14155555678", "+14155551234"),
    };
    json!({
        "message_id": MESSAGE, "dialpad_message_id": 6_095_823_680_520_192_i64, "direction": direction,
        "from_number": from, "to_number": to, "to_numbers": [to], "from_e164": from, "to_e164": to,
        "dialpad_user_id": 555, "crm_user_id": "agent-7", "text": "Can we talk at 3?", "mms_url": null,
        "media_urls": [], "message_status": "pending", "message_delivery_result": null,
        "sent_at": "2024-01-01T12:00:10Z",
    })
}

/// Returns a message of the server or the client.
pub(crate) fn message_of(kind: &str) -> Option<Value> {
    let session = "018cc4e5-2e80-7a01-8b4c-0d1e2f3a4b5c";
    Some(match kind {
        "connected" => {
            json!({
                "type": kind, "app_id": APP, "session_id": session, "epoch": EPOCH, "seq": 41, "oldest_seq": 1,
            })
        }
        "snapshot" => json!({"type": kind, "seq": 41, "calls": [active_call()], "complete": true}),
        "gap" => json!({
            "type": kind, "reason": "expired", "epoch": EPOCH, "from_seq": 42, "to_seq": 1200,
            "oldest_seq": 1201, "seq": 6411,
            "from_at": "2023-12-01T08:00:00.112043Z", "until_at": "2023-12-02T12:00:00.301204Z",
        }),
        "cursor" => json!({"type": kind, "seq": 57}),
        "watermark" => json!({"type": kind, "seq": 57, "at": "2024-01-01T12:00:05.112Z"}),
        "reconnect" => json!({"type": kind, "after_ms": 1430}),
        "closed" => json!({"type": kind, "code": 1001, "reason": "the server is stopping"}),
        "subscribe" => json!({"type": kind, "api_key": KEY, "after": 41, "types": ["call.*"]}),
        "ack" => json!({"type": kind, "seq": 41}),
        kind => event(kind.parse().ok()?),
    })
}

pub(crate) fn app_status() -> Value {
    json!({
        "app_id": APP, "connected": true, "connected_at": "2024-01-01T11:50:12.004310Z",
        "degraded_since": null, "dialpad_org_id": 12_345_678, "environment": "sandbox",
        "message": "App is connected to Dialpad", "missing_scopes": ["message_content_export:all"],
        "problem": null, "status": "connected", "token_expires_at": "2024-01-01T12:50:12.004310Z",
        "unrecovered_gaps": [], "webhook": {
            "problems": [], "state": "active", "traffic": "normal",
            "verified_at": "2024-01-01T12:00:01.120044Z",
            "webhook_id": "018cc4db-fc10-7d3f-8e52-6b0c1d2e3f40",
        },
    })
}

pub(crate) fn consumer(acked_seq: i64) -> Value {
    json!({
        "name": "crm-backend", "mode": "exclusive", "acked_seq": acked_seq, "behind": 42 - acked_seq,
        "connections": 1, "created_at": "2024-01-01T11:50:00.104233Z", "updated_at": "2024-01-01T12:00:04.771025Z",
    })
}
