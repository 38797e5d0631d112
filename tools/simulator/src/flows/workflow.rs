//! A call as flat events with an `event_type`: what a CRM wants to hear, in whole seconds, with the organisation named.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::FlowOptions;
use super::participants::{LegSpec, Party};
use super::playback::Frame;
use super::timeline::Step;

/// The webhook of a frame, if this family has a word for it, and the CRM event that must have been told when it was
/// dealt with.
pub(crate) fn webhook(frame: &Frame<'_>) -> Option<(Value, Option<&'static str>)> {
    let told = |name| Some((event(frame, name), Some(name)));
    match frame.step {
        Step::Ring | Step::PickUp | Step::Queue if frame.leg.is_new() => told("call.ring"),
        Step::Answer => told("call.started"),
        Step::Hold | Step::Park => told("call.held"),
        Step::Resume => told("call.resumed"),
        // A type that nobody knows, as a platform may always invent one.
        Step::Merge => Some((event(frame, "call.merged"), Some("call.raw"))),
        Step::HangUp | Step::TransferAway => {
            let mut ended = event(frame, "call.ended");
            // The difference of the two `timestamp`s, not of the exact times: the reader sees only those.
            ended["duration_seconds"] = (frame.at.timestamp() - began(frame).timestamp()).into();
            Some((ended, Some("call.ended")))
        }
        Step::VoicemailReady => Some((voicemail(frame), Some("voicemail.received"))),
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
        | Step::LeaveVoicemail
        | Step::Transcribed => None,
    }
}

fn began(frame: &Frame<'_>) -> DateTime<Utc> {
    frame.leg.began.unwrap_or(frame.at)
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
                "created_at": began(frame).to_rfc3339_opts(SecondsFormat::Secs, true),
            },
        },
    });
    if spec.target.is_group() {
        let Party { id, kind, name, .. } = &spec.target;
        payload["target"] = json!({"id": id, "type": kind, "name": name});
    }
    let links = [
        ("master_call_id", spec.master_call_id),
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

/// Groups are nobody.
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

/// Names the organisation, if there is one to name.
pub(crate) fn of_organization(mut payload: Value, options: &FlowOptions) -> Value {
    if let Some(organization) = options.organization_id {
        payload["organization_id"] = organization.into();
    }
    payload
}
