//! A leg as Dialpad tells it: one flat snapshot per state, every field present, `null` and `{}` where nothing is known.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::cast::{Direction, OFFICE_ID, Part, Party};
use super::leg::Leg;
use super::performance::Scene;
use super::plot::Beat;

/// The webhook of a scene, and the CRM event that must have been told when it was dealt with. What other legs prove may
/// tell it a moment before: a call centre's call is answered as soon as its agent's is.
pub(crate) fn tell(scene: &Scene<'_>) -> (Value, Option<&'static str>) {
    let leg = scene.leg;
    let tells = match scene.beat {
        // Greeting, queue and bell are one: the call is on its way to a person.
        Beat::Ring | Beat::PickUp | Beat::Queue => leg.is_new().then_some("call.ring"),
        Beat::Answer => Some("call.started"),
        Beat::Hold | Beat::Park => Some("call.held"),
        Beat::Resume => Some("call.resumed"),
        Beat::Merge => Some("call.raw"),
        Beat::Miss => Some("call.ended"),
        // After `missed` the call is over for the CRM; the hangup then only brings the final durations.
        Beat::HangUp | Beat::HandOver => (!leg.missed).then_some("call.ended"),
        Beat::VoicemailReady => Some("voicemail.received"),
        Beat::Transcribed => Some("voicemail.updated"),
        Beat::Menu | Beat::LeaveVoicemail | Beat::RecordingReady => None,
    };
    let mut payload = snapshot(scene, scene.beat);
    if let Some(company) = scene.setting.organization_id {
        payload["company_id"] = company.into();
    }
    (payload, tells)
}

/// The leg as the platform knows it after a scene: what a leg left behind shows in its fields, never in its state.
pub(crate) fn record(scene: &Scene<'_>) -> Value {
    snapshot(scene, scene.leg.standing.unwrap_or(scene.beat))
}

fn state(beat: Beat, direction: Direction) -> &'static str {
    match beat {
        Beat::Ring => match direction {
            Direction::Inbound => "ringing",
            Direction::Outbound => "calling",
        },
        Beat::PickUp => "preanswer",
        Beat::Queue => "queued",
        // There is no state for the end of a hold: the leg is connected once more.
        Beat::Menu | Beat::Answer | Beat::Resume => "connected",
        Beat::Hold => "hold",
        Beat::Park => "parked",
        Beat::Merge => "merged",
        Beat::Miss => "missed",
        Beat::LeaveVoicemail => "voicemail",
        Beat::HangUp | Beat::HandOver => "hangup",
        Beat::VoicemailReady => "voicemail_uploaded",
        Beat::Transcribed => "transcription",
        Beat::RecordingReady => "recording",
    }
}

fn snapshot(scene: &Scene<'_>, beat: Beat) -> Value {
    let Scene { part, leg, at, setting, .. } = *scene;
    let parts = [
        parties(part),
        links(part, leg),
        times(part, leg, at),
        artefacts(scene, &setting.media_base),
        NOTHING_KNOWN.clone(),
    ];
    let mut snapshot = Map::new();
    for part in parts {
        let Value::Object(fields) = part else { unreachable!("every part is written as an object") };
        snapshot.extend(fields);
    }
    snapshot.insert("state".to_owned(), state(beat, part.direction).into());
    snapshot.into()
}

/// What every call here leaves empty.
static NOTHING_KNOWN: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "admin_recording_urls": [], "call_dispositions": {}, "callback_requested": null,
        "company_call_review_share_link": null, "csat_recording_urls": [], "csat_score": null,
        "csat_transcriptions": [], "integrations": {}, "labels": [], "proxy_target": {},
        "public_call_review_share_link": null, "routing_breadcrumbs": [], "screen_recording_urls": [],
        "target_availability_status": "open",
    })
});

fn parties(part: &Part) -> Value {
    json!({
        "call_id": part.call_id,
        "contact": contact(&part.contact),
        "custom_data": part.custom_data,
        "direction": part.direction.name(),
        "external_number": part.contact.phone,
        "internal_number": part.target.phone,
        "is_internal": part.contact.kind == "user",
        "selected_caller_id": (part.direction == Direction::Outbound).then_some(&part.target.phone),
        "target": target(&part.target),
    })
}

/// What the leg says of others.
fn links(part: &Part, leg: &Leg) -> Value {
    let or_nothing = |party: &Option<Party>| party.as_ref().map_or_else(|| json!({}), target);
    json!({
        "entry_point_call_id": part.entry_point_call_id,
        "entry_point_target": or_nothing(&part.entry_point),
        "group_id": group_id(part),
        "is_transferred": leg.sent_on,
        "master_call_id": part.master_call_id,
        // Nobody knows who will answer before somebody does.
        "operator_call_id": part.operator_call_id.filter(|_| leg.answered),
        "transferred_from": or_nothing(&part.transferred_from),
    })
}

fn group_id(part: &Part) -> Option<String> {
    match part.target.kind {
        "office" => Some(format!("Office:{}", part.target.id)),
        "call_center" => Some(format!("CallCenter:{}", part.target.id)),
        _ => None,
    }
}

fn times(part: &Part, leg: &Leg, at: DateTime<Utc>) -> Value {
    let millis = |instant: Option<DateTime<Utc>>| instant.map(|instant| instant.timestamp_millis());
    // A call enters Dialpad a moment before anything is heard of it.
    let started = millis(leg.began).unwrap_or_default() - 412;
    let ended = millis(leg.ended);
    let held_ms = leg.held_ms(leg.ended.unwrap_or(at));
    // Only what rings a user counts as ringing.
    let user_rang = leg.rang.filter(|_| part.direction == Direction::Inbound);
    json!({
        "date_connected": millis(leg.connected),
        "date_ended": ended,
        "date_first_rang": millis(user_rang),
        "date_queued": millis(leg.queued),
        "date_rang": millis(user_rang),
        "date_started": started,
        "duration": ended.map(|_| float(leg.connected_ms(at))),
        "event_timestamp": at.timestamp_millis(),
        "hold_time": held_ms,
        "mos_score": leg.connected.and(ended).map(|_| 4.41),
        "talk_time": leg.connected_ms(at) - held_ms,
        "total_duration": ended.map(|ended| float(ended - started)),
    })
}

fn artefacts(scene: &Scene<'_>, media_base: &str) -> Value {
    let Scene { cast, part, leg, .. } = *scene;
    let recordings = recordings(part, leg, media_base);
    let urls: Vec<&Value> = recordings.iter().map(|recording| &recording["url"]).collect();
    let ids: Vec<&Value> = recordings.iter().map(|recording| &recording["id"]).collect();
    json!({
        "call_recording_ids": ids,
        "recording_details": recordings,
        "recording_url": urls,
        "transcription_text": leg.transcribed.then_some(&cast.transcript),
        "voicemail_link": leg.voicemail_ready.then(|| part.media_url(media_base)),
        "voicemail_recording_id": leg.voicemail_ready.then(|| part.media_id.to_string()),
        "was_recorded": part.recorded && leg.answered,
    })
}

/// Dialpad sends durations as floating-point milliseconds with digits that mean nothing.
fn float(whole: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a call is shorter than 2^53 ms")]
    let whole = whole as f64;
    if whole == 0.0 { 0.0 } else { whole + 0.029_999_999_999_745_1 }
}

fn recordings(part: &Part, leg: &Leg, media_base: &str) -> Vec<Value> {
    let (kind, began, length) = match (leg.voicemail_ready, leg.recording_ready) {
        (true, _) => ("voicemail", leg.voicemail_began, leg.voicemail_ms()),
        (false, true) => (
            "callrecording",
            leg.connected,
            leg.ended.map(|ended| leg.connected_ms(ended) - leg.held_ms(ended)),
        ),
        (false, false) => return Vec::new(),
    };
    vec![json!({
        "id": part.media_id.to_string(),
        "url": part.media_url(media_base),
        "recording_type": kind,
        "start_time": began.map(|began| began.timestamp_millis()),
        "duration": length.map(float),
    })]
}

fn contact(party: &Party) -> Value {
    json!({
        "id": party.id, "type": party.kind, "name": party.name, "email": party.email, "phone": party.phone,
    })
}

fn target(party: &Party) -> Value {
    json!({
        "id": party.id, "type": party.kind, "name": party.name, "email": party.email, "phone": party.phone,
        "office_id": OFFICE_ID,
    })
}
