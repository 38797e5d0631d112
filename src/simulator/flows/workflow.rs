//! A call as flat events with an `event_type`: what a CRM wants to hear, in whole seconds, with the organisation named.

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::Setting;
use super::performance::Scene;
use super::plot::Beat;

/// The webhook of a scene, if this family has a word for it, and the CRM event it must cause.
pub(super) fn tell(scene: &Scene<'_>) -> Option<(Value, Option<&'static str>)> {
    match scene.beat {
        Beat::Ring => Some((event(scene, "call.ring"), Some("call.ring"))),
        Beat::Answer => Some((event(scene, "call.started"), Some("call.started"))),
        Beat::Hold => Some((event(scene, "call.held"), Some("call.held"))),
        Beat::Resume => Some((event(scene, "call.resumed"), Some("call.resumed"))),
        Beat::HangUp => {
            let mut ended = event(scene, "call.ended");
            // The difference of the two `timestamp`s, not of the exact times: the reader sees only those.
            ended["duration_seconds"] = (scene.at.timestamp() - scene.leg.rang.timestamp()).into();
            Some((ended, Some("call.ended")))
        }
        Beat::VoicemailReady => Some((voicemail(scene), Some("voicemail.received"))),
        Beat::RecordingReady => {
            let mut recording = event(scene, "call.recording.completed");
            recording["recording_url"] = scene.cast.media_url(&scene.setting.media_base).into();
            Some((recording, None))
        }
        Beat::Miss | Beat::LeaveVoicemail | Beat::Transcribed => None,
    }
}

fn event(scene: &Scene<'_>, event_type: &str) -> Value {
    let Scene { cast, leg, at, setting, .. } = *scene;
    let (from, to) = cast.numbers();
    let payload = json!({
        "event_type": event_type,
        "call_id": cast.call_id,
        "direction": cast.direction.name(),
        "from_number": from,
        "to_number": to,
        "dialpad_user_id": cast.user.id,
        "timestamp": at.timestamp(),
        "raw_payload": {
            "event": event_type,
            "call": {
                "id": cast.call_id,
                "direction": cast.direction.name().to_uppercase(),
                "from_number": from,
                "to_number": to,
                "user_id": cast.user.id,
                "created_at": leg.rang.to_rfc3339_opts(SecondsFormat::Secs, true),
            },
        },
    });
    of_organization(payload, setting)
}

fn voicemail(scene: &Scene<'_>) -> Value {
    let Scene { cast, leg, at, setting, .. } = *scene;
    let (from, to) = cast.numbers();
    let payload = json!({
        "event_type": "voicemail.received",
        "call_id": cast.call_id,
        "voicemail_id": format!("vm_{}", cast.media_id),
        "from_number": from,
        "to_number": to,
        "dialpad_user_id": cast.user.id,
        "recording_url": cast.media_url(&setting.media_base),
        "transcript": cast.transcript,
        "duration_seconds": leg.voicemail_ms().map(|length| (length + 500) / 1_000),
        "timestamp": at.timestamp(),
    });
    of_organization(payload, setting)
}

/// Names the organisation, if there is one to name.
pub(super) fn of_organization(mut payload: Value, setting: &Setting) -> Value {
    if let Some(organization) = setting.organization_id {
        payload["organization_id"] = organization.into();
    }
    payload
}
