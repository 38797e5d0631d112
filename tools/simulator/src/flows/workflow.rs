//! A call as flat events with an `event_type`: what a CRM wants to hear, in whole seconds, with the organisation named.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::Setting;
use super::cast::{Part, Party};
use super::performance::Scene;
use super::plot::Beat;

/// The webhook of a scene, if this family has a word for it, and the CRM event that must have been told when it was
/// dealt with.
pub(crate) fn tell(scene: &Scene<'_>) -> Option<(Value, Option<&'static str>)> {
    let told = |name| Some((event(scene, name), Some(name)));
    match scene.beat {
        Beat::Ring | Beat::PickUp | Beat::Queue if scene.leg.is_new() => told("call.ring"),
        Beat::Answer => told("call.started"),
        Beat::Hold | Beat::Park => told("call.held"),
        Beat::Resume => told("call.resumed"),
        // A type that nobody knows, as a platform may always invent one.
        Beat::Merge => Some((event(scene, "call.merged"), Some("call.raw"))),
        Beat::HangUp | Beat::HandOver => {
            let mut ended = event(scene, "call.ended");
            // The difference of the two `timestamp`s, not of the exact times: the reader sees only those.
            ended["duration_seconds"] = (scene.at.timestamp() - began(scene).timestamp()).into();
            Some((ended, Some("call.ended")))
        }
        Beat::VoicemailReady => Some((voicemail(scene), Some("voicemail.received"))),
        Beat::RecordingReady => {
            let mut recording = event(scene, "call.recording.completed");
            recording["recording_url"] = scene.part.media_url(&scene.setting.media_base).into();
            Some((recording, None))
        }
        Beat::Ring
        | Beat::PickUp
        | Beat::Queue
        | Beat::Menu
        | Beat::Miss
        | Beat::LeaveVoicemail
        | Beat::Transcribed => None,
    }
}

fn began(scene: &Scene<'_>) -> DateTime<Utc> {
    scene.leg.began.unwrap_or(scene.at)
}

fn event(scene: &Scene<'_>, event_type: &str) -> Value {
    let Scene { part, leg, at, setting, .. } = *scene;
    let (from, to) = part.numbers();
    let user_id = user_id(part);
    let mut payload = json!({
        "event_type": event_type,
        "call_id": part.call_id,
        "direction": part.direction.name(),
        "from_number": from,
        "to_number": to,
        "dialpad_user_id": user_id,
        "timestamp": at.timestamp(),
        "raw_payload": {
            "event": event_type,
            "call": {
                "id": part.call_id,
                "direction": part.direction.name().to_uppercase(),
                "from_number": from,
                "to_number": to,
                "user_id": user_id,
                "created_at": began(scene).to_rfc3339_opts(SecondsFormat::Secs, true),
            },
        },
    });
    if part.target.is_group() {
        let Party { id, kind, name, .. } = &part.target;
        payload["target"] = json!({"id": id, "type": kind, "name": name});
    }
    let links = [
        ("master_call_id", part.master_call_id),
        ("entry_point_call_id", part.entry_point_call_id),
        ("operator_call_id", part.operator_call_id.filter(|_| leg.answered)),
    ];
    for (name, call_id) in links {
        if let Some(call_id) = call_id {
            payload[name] = call_id.into();
        }
    }
    of_organization(payload, setting)
}

/// Groups are nobody.
fn user_id(part: &Part) -> Option<i64> {
    (!part.target.is_group()).then_some(part.target.id)
}

fn voicemail(scene: &Scene<'_>) -> Value {
    let Scene { cast, part, leg, at, setting, .. } = *scene;
    let (from, to) = part.numbers();
    let payload = json!({
        "event_type": "voicemail.received",
        "call_id": part.call_id,
        "voicemail_id": format!("vm_{}", part.media_id),
        "from_number": from,
        "to_number": to,
        "dialpad_user_id": user_id(part),
        "recording_url": part.media_url(&setting.media_base),
        "transcript": cast.transcript,
        "duration_seconds": leg.voicemail_ms().map(|length| (length + 500) / 1_000),
        "timestamp": at.timestamp(),
    });
    of_organization(payload, setting)
}

/// Names the organisation, if there is one to name.
pub(crate) fn of_organization(mut payload: Value, setting: &Setting) -> Value {
    if let Some(organization) = setting.organization_id {
        payload["organization_id"] = organization.into();
    }
    payload
}
