//! A leg as Dialpad tells it: one flat snapshot per state, every field present, `null` and `{}` where nothing is known.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::Setting;
use super::cast::{Direction, OFFICE_ID, Person};
use super::leg::Leg;
use super::plot::Beat;

/// The webhook of a beat, and the CRM event it must cause.
pub(super) fn tell(
    leg: &Leg<'_>,
    beat: Beat,
    at: DateTime<Utc>,
    setting: &Setting,
) -> Option<(Value, Option<&'static str>)> {
    let (state, tells) = match beat {
        Beat::Ring => match leg.cast.direction {
            Direction::Inbound => ("ringing", Some("call.ring")),
            Direction::Outbound => ("calling", Some("call.ring")),
        },
        Beat::Answer => ("connected", Some("call.started")),
        Beat::Hold => ("hold", Some("call.held")),
        // There is no state for the end of a hold: the leg is connected once more.
        Beat::Resume => ("connected", Some("call.resumed")),
        Beat::Miss => ("missed", Some("call.ended")),
        Beat::LeaveVoicemail => ("voicemail", None),
        // After `missed` the call is over for the CRM; the hangup then only brings the final durations.
        Beat::HangUp => ("hangup", leg.connected.map(|_| "call.ended")),
        Beat::VoicemailReady => ("voicemail_uploaded", Some("voicemail.received")),
        Beat::Transcribed => ("transcription", Some("voicemail.updated")),
        Beat::RecordingReady => ("recording", None),
    };
    let mut payload = snapshot(leg, state, at, &setting.media_base);
    if let Some(company) = setting.organization_id {
        payload["company_id"] = company.into();
    }
    Some((payload, tells))
}

fn snapshot(leg: &Leg<'_>, state: &str, at: DateTime<Utc>, media_base: &str) -> Value {
    let parts = [parties(leg), times(leg, at), artefacts(leg, media_base), NOTHING_KNOWN.clone()];
    let mut snapshot = Map::new();
    for part in parts {
        let Value::Object(fields) = part else { unreachable!("every part is written as an object") };
        snapshot.extend(fields);
    }
    snapshot.insert("state".to_owned(), state.into());
    snapshot.into()
}

/// What a call between one user and one customer leaves empty.
static NOTHING_KNOWN: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "admin_recording_urls": [], "call_dispositions": {}, "callback_requested": null,
        "company_call_review_share_link": null, "csat_recording_urls": [], "csat_score": null,
        "csat_transcriptions": [], "custom_data": null, "date_queued": null, "entry_point_call_id": null,
        "entry_point_target": {}, "group_id": null, "integrations": {}, "is_internal": false,
        "is_transferred": false, "labels": [], "master_call_id": null, "operator_call_id": null,
        "proxy_target": {}, "public_call_review_share_link": null, "routing_breadcrumbs": [],
        "screen_recording_urls": [], "target_availability_status": "open", "transferred_from": {},
    })
});

fn parties(leg: &Leg<'_>) -> Value {
    let cast = leg.cast;
    json!({
        "call_id": cast.call_id,
        "contact": contact(&cast.contact),
        "direction": cast.direction.name(),
        "external_number": cast.contact.phone,
        "internal_number": cast.user.phone,
        "selected_caller_id": (cast.direction == Direction::Outbound).then_some(&cast.user.phone),
        "target": target(&cast.user),
    })
}

fn times(leg: &Leg<'_>, at: DateTime<Utc>) -> Value {
    let rang = leg.rang.timestamp_millis();
    // A call enters Dialpad a moment before a telephone rings.
    let started = rang - 412;
    let ended = leg.ended.map(|ended| ended.timestamp_millis());
    let held_ms = leg.held_ms(leg.ended.unwrap_or(at));
    // Only what rings a user counts as ringing.
    let user_rang = (leg.cast.direction == Direction::Inbound).then_some(rang);
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

fn artefacts(leg: &Leg<'_>, media_base: &str) -> Value {
    let cast = leg.cast;
    let recordings = recordings(leg, media_base);
    let urls: Vec<&Value> = recordings.iter().map(|recording| &recording["url"]).collect();
    let ids: Vec<&Value> = recordings.iter().map(|recording| &recording["id"]).collect();
    json!({
        "call_recording_ids": ids,
        "recording_details": recordings,
        "recording_url": urls,
        "transcription_text": leg.transcribed.then_some(&cast.transcript),
        "voicemail_link": leg.voicemail_ready.then(|| leg.media_url(media_base)),
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

fn recordings(leg: &Leg<'_>, media_base: &str) -> Vec<Value> {
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
        "id": leg.cast.media_id.to_string(),
        "url": leg.media_url(media_base),
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
