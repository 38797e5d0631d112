//! The workflow payload family: flat events with an `event_type`, in whole seconds, which name the organization.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::participants::{LegSpec, Party};
use super::playback::Frame;
use super::timeline::Step;
use super::{EventType, FlowOptions};

/// Returns the webhook of a frame, if this family has one for it, and the CRM event that it must cause.
pub(crate) fn webhook(frame: &Frame<'_>) -> Option<(Value, Option<EventType>)> {
    let named = |event_type: EventType| Some((event(frame, event_type.name()), Some(event_type)));
    match frame.step {
        Step::Ring | Step::PickUp | Step::Queue if frame.leg.is_new() => named(EventType::CallRing),
        Step::Answer => named(EventType::CallStarted),
        Step::Hold | Step::Park => named(EventType::CallHeld),
        Step::Resume => named(EventType::CallResumed),
        // A type that the server does not know: a platform may add types at any time.
        Step::Merge => Some((event(frame, "call.merged"), Some(EventType::CallRaw))),
        Step::HangUp | Step::TransferAway => {
            let mut ended = event(frame, "call.ended");
            // The difference of the `timestamp`s in the payloads, which are whole seconds.
            ended["duration_seconds"] = (frame.at.timestamp() - started_at(frame).timestamp()).into();
            Some((ended, Some(EventType::CallEnded)))
        }
        Step::VoicemailReady => Some((voicemail(frame), Some(EventType::VoicemailReceived))),
        Step::RecordingReady => {
            let mut recording = event(frame, "call.recording.completed");
            recording["recording_url"] = frame.spec.media_url(&frame.options.media_base).into();
            Some((recording, None))
        }
        Step::Ring
        | Step::PickUp
        | Step::Queue
        | Step::Menu
        | Step::Miss
        | Step::Block
        | Step::LeaveVoicemail
        | Step::Transcribed => None,
    }
}

fn started_at(frame: &Frame<'_>) -> DateTime<Utc> {
    frame.leg.started_at.unwrap_or(frame.at)
}

fn event(frame: &Frame<'_>, event_type: &str) -> Value {
    let Frame { spec, leg, at, options, .. } = *frame;
    let (from, to) = spec.numbers();
    let user_id = user_id(spec);
    let mut payload = json!({
        "event_type": event_type,
        "call_id": spec.call_id,
        "direction": spec.direction.name(),
        "from_number": from,
        "to_number": to,
        "dialpad_user_id": user_id,
        "timestamp": at.timestamp(),
        "raw_payload": {
            "event": event_type,
            "call": {
                "id": spec.call_id,
                "direction": spec.direction.name().to_uppercase(),
                "from_number": from,
                "to_number": to,
                "user_id": user_id,
                "created_at": started_at(frame).to_rfc3339_opts(SecondsFormat::Secs, true),
            },
        },
    });
    if spec.target.is_group() {
        let Party { id, kind, name, .. } = &spec.target;
        payload["target"] = json!({"id": id, "type": kind, "name": name});
    }
    let links = [
        // The family names no user who transferred: the leg is the only link.
        ("master_call_id", spec.master_call_id.or(spec.transferred_call_id)),
        ("entry_point_call_id", spec.entry_point_call_id),
        ("operator_call_id", spec.operator_call_id.filter(|_| leg.answered)),
    ];
    for (name, call_id) in links {
        if let Some(call_id) = call_id {
            payload[name] = call_id.into();
        }
    }
    of_organization(payload, options)
}

/// Returns the user of a leg; a group has none.
fn user_id(spec: &LegSpec) -> Option<i64> {
    (!spec.target.is_group()).then_some(spec.target.id)
}

fn voicemail(frame: &Frame<'_>) -> Value {
    let Frame { participants, spec, leg, at, options, .. } = *frame;
    let (from, to) = spec.numbers();
    let payload = json!({
        "event_type": "voicemail.received",
        "call_id": spec.call_id,
        "voicemail_id": format!("vm_{}", spec.media_id),
        "from_number": from,
        "to_number": to,
        "dialpad_user_id": user_id(spec),
        "recording_url": spec.media_url(&options.media_base),
        "transcript": participants.transcript,
        "duration_seconds": leg.voicemail_ms().map(|length| (length + 500) / 1_000),
        "timestamp": at.timestamp(),
    });
    of_organization(payload, options)
}

/// Adds the organization to a payload, if the options name one.
pub(crate) fn of_organization(mut payload: Value, options: &FlowOptions) -> Value {
    if let Some(organization) = options.organization_id {
        payload["organization_id"] = organization.into();
    }
    payload
}
