//! A leg as Dialpad tells it: one flat snapshot per state, every field present, `null` and `{}` where nothing is known.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::cast::{Cast, Direction, OFFICE_ID, Person};
use super::leg::Leg;
use super::performance::Scene;
use super::plot::Beat;

/// The webhook of a scene, and the CRM event it must cause.
pub(super) fn tell(scene: &Scene<'_>) -> (Value, Option<&'static str>) {
    let leg = scene.leg;
    let tells = match scene.beat {
        Beat::Ring => Some("call.ring"),
        Beat::Answer => Some("call.started"),
        Beat::Hold => Some("call.held"),
        Beat::Resume => Some("call.resumed"),
        Beat::Miss => Some("call.ended"),
        // After `missed` the call is over for the CRM; the hangup then only brings the final durations.
        Beat::HangUp => (!leg.missed).then_some("call.ended"),
        Beat::VoicemailReady => Some("voicemail.received"),
        Beat::Transcribed => Some("voicemail.updated"),
        Beat::LeaveVoicemail | Beat::RecordingReady => None,
    };
    let mut payload = snapshot(scene, scene.beat);
    if let Some(company) = scene.setting.organization_id {
        payload["company_id"] = company.into();
    }
    (payload, tells)
}

/// The leg as the platform knows it after a scene: what a leg left behind shows in its fields, never in its state.
pub(super) fn record(scene: &Scene<'_>) -> Value {
    snapshot(scene, scene.leg.standing)
}

fn state(beat: Beat, direction: Direction) -> &'static str {
    match beat {
        Beat::Ring => match direction {
            Direction::Inbound => "ringing",
            Direction::Outbound => "calling",
        },
        // There is no state for the end of a hold: the leg is connected once more.
        Beat::Answer | Beat::Resume => "connected",
        Beat::Hold => "hold",
        Beat::Miss => "missed",
        Beat::LeaveVoicemail => "voicemail",
        Beat::HangUp => "hangup",
        Beat::VoicemailReady => "voicemail_uploaded",
        Beat::Transcribed => "transcription",
        Beat::RecordingReady => "recording",
    }
}

fn snapshot(scene: &Scene<'_>, beat: Beat) -> Value {
    let Scene { cast, leg, at, setting, .. } = *scene;
    let parts = [
        parties(cast),
        times(cast, leg, at),
        artefacts(cast, leg, &setting.media_base),
        NOTHING_KNOWN.clone(),
    ];
    let mut snapshot = Map::new();
    for part in parts {
        let Value::Object(fields) = part else { unreachable!("every part is written as an object") };
        snapshot.extend(fields);
    }
    snapshot.insert("state".to_owned(), state(beat, cast.direction).into());
    snapshot.into()
}

/// What a call between one user and one customer leaves empty.
static NOTHING_KNOWN: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "admin_recording_urls": [], "call_dispositions": {}, "callback_requested": null,
        "company_call_review_share_link": null, "csat_recording_urls": [], "csat_score": null,
        "csat_transcriptions": [], "date_queued": null, "entry_point_call_id": null,
        "entry_point_target": {}, "group_id": null, "integrations": {}, "is_internal": false,
        "is_transferred": false, "labels": [], "master_call_id": null, "operator_call_id": null,
        "proxy_target": {}, "public_call_review_share_link": null, "routing_breadcrumbs": [],
        "screen_recording_urls": [], "target_availability_status": "open", "transferred_from": {},
    })
});

fn parties(cast: &Cast) -> Value {
    json!({
        "call_id": cast.call_id,
        "contact": contact(&cast.contact),
        "custom_data": cast.custom_data,
        "direction": cast.direction.name(),
        "external_number": cast.contact.phone,
        "internal_number": cast.user.phone,
        "selected_caller_id": (cast.direction == Direction::Outbound).then_some(&cast.user.phone),
        "target": target(&cast.user),
    })
}

fn times(cast: &Cast, leg: &Leg, at: DateTime<Utc>) -> Value {
    let rang = leg.rang.timestamp_millis();
    // A call enters Dialpad a moment before a telephone rings.
    let started = rang - 412;
    let ended = leg.ended.map(|ended| ended.timestamp_millis());
    let held_ms = leg.held_ms(leg.ended.unwrap_or(at));
    // Only what rings a user counts as ringing.
    let user_rang = (cast.direction == Direction::Inbound).then_some(rang);
    json!({
        "date_connected": leg.connected.map(|connected| connected.timestamp_millis()),
        "date_ended": ended,
        "date_first_rang": user_rang,
        "date_rang": user_rang,
        "date_started": started,
        "duration": ended.map(|_| millis(leg.answered_ms(at))),
        "event_timestamp": at.timestamp_millis(),
        "hold_time": held_ms,
        "mos_score": leg.connected.and(ended).map(|_| 4.41),
        "talk_time": leg.answered_ms(at) - held_ms,
        "total_duration": ended.map(|ended| millis(ended - started)),
    })
}

fn artefacts(cast: &Cast, leg: &Leg, media_base: &str) -> Value {
    let recordings = recordings(cast, leg, media_base);
    let urls: Vec<&Value> = recordings.iter().map(|recording| &recording["url"]).collect();
    let ids: Vec<&Value> = recordings.iter().map(|recording| &recording["id"]).collect();
    json!({
        "call_recording_ids": ids,
        "recording_details": recordings,
        "recording_url": urls,
        "transcription_text": leg.transcribed.then_some(&cast.transcript),
        "voicemail_link": leg.voicemail_ready.then(|| cast.media_url(media_base)),
        "voicemail_recording_id": leg.voicemail_ready.then(|| cast.media_id.to_string()),
        "was_recorded": cast.recorded && leg.connected.is_some(),
    })
}

/// Dialpad sends durations as floating-point milliseconds with digits that mean nothing.
fn millis(whole: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a call is shorter than 2^53 ms")]
    let whole = whole as f64;
    if whole == 0.0 { 0.0 } else { whole + 0.029_999_999_999_745_1 }
}

fn recordings(cast: &Cast, leg: &Leg, media_base: &str) -> Vec<Value> {
    let (kind, began, length) = match (leg.voicemail_ready, leg.recording_ready) {
        (true, _) => ("voicemail", leg.voicemail_began, leg.voicemail_ms()),
        (false, true) => (
            "callrecording",
            leg.connected,
            leg.ended.map(|ended| leg.answered_ms(ended) - leg.held_ms(ended)),
        ),
        (false, false) => return Vec::new(),
    };
    vec![json!({
        "id": cast.media_id.to_string(),
        "url": cast.media_url(media_base),
        "recording_type": kind,
        "start_time": began.map(|began| began.timestamp_millis()),
        "duration": length.map(millis),
    })]
}

fn contact(person: &Person) -> Value {
    json!({"id": person.id, "type": "local", "name": person.name, "email": person.email, "phone": person.phone})
}

fn target(person: &Person) -> Value {
    json!({
        "id": person.id, "type": "user", "name": person.name, "email": person.email, "phone": person.phone,
        "office_id": OFFICE_ID,
    })
}
