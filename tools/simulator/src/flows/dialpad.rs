//! A leg as Dialpad expected_event it: one flat snapshot per state, every field present, `null` and `{}` where nothing is known.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::leg::Leg;
use super::participants::{Direction, LegSpec, OFFICE_ID, Party};
use super::playback::Frame;
use super::timeline::Step;

/// The webhook of a frame, and the CRM event that must have been told when it was dealt with. What other legs prove may
/// tell it a played before: a call centre's call is answered as soon as its agent's is.
pub(crate) fn webhook(frame: &Frame<'_>) -> (Value, Option<&'static str>) {
    let leg = frame.leg;
    let expected_event = match frame.step {
        // Greeting, queue and bell are one: the call is on its way to a person.
        Step::Ring | Step::PickUp | Step::Queue => leg.is_new().then_some("call.ring"),
        Step::Answer => Some("call.started"),
        Step::Hold | Step::Park => Some("call.held"),
        Step::Resume => Some("call.resumed"),
        Step::Merge => Some("call.raw"),
        Step::Miss => Some("call.ended"),
        // After `missed` the call is over for the CRM; the hangup then only brings the final durations.
        Step::HangUp | Step::TransferAway => (!leg.missed).then_some("call.ended"),
        Step::VoicemailReady => Some("voicemail.received"),
        Step::Transcribed => Some("voicemail.updated"),
        Step::Menu | Step::LeaveVoicemail | Step::RecordingReady => None,
    };
    let mut payload = snapshot(frame, frame.step);
    if let Some(company) = frame.options.organization_id {
        payload["company_id"] = company.into();
    }
    (payload, expected_event)
}

/// The leg as the platform knows it after a frame: what a leg left behind shows in its fields, never in its state.
pub(crate) fn rest_snapshot(frame: &Frame<'_>) -> Value {
    snapshot(frame, frame.leg.state_step.unwrap_or(frame.step))
}

fn state(step: Step, direction: Direction) -> &'static str {
    match step {
        Step::Ring => match direction {
            Direction::Inbound => "ringing",
            Direction::Outbound => "calling",
        },
        Step::PickUp => "preanswer",
        Step::Queue => "queued",
        // There is no state for the end of a hold: the leg is connected once more.
        Step::Menu | Step::Answer | Step::Resume => "connected",
        Step::Hold => "hold",
        Step::Park => "parked",
        Step::Merge => "merged",
        Step::Miss => "missed",
        Step::LeaveVoicemail => "voicemail",
        Step::HangUp | Step::TransferAway => "hangup",
        Step::VoicemailReady => "voicemail_uploaded",
        Step::Transcribed => "transcription",
        Step::RecordingReady => "recording",
    }
}

fn snapshot(frame: &Frame<'_>, step: Step) -> Value {
    let Frame { spec, leg, at, options, .. } = *frame;
    let legs = [
        parties(spec),
        links(spec, leg),
        times(spec, leg, at),
        artefacts(frame, &options.media_base),
        NOTHING_KNOWN.clone(),
    ];
    let mut snapshot = Map::new();
    for spec in legs {
        let Value::Object(fields) = spec else { unreachable!("every spec is written as an object") };
        snapshot.extend(fields);
    }
    snapshot.insert("state".to_owned(), state(step, spec.direction).into());
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

fn parties(spec: &LegSpec) -> Value {
    json!({
        "call_id": spec.call_id,
        "contact": contact(&spec.contact),
        "custom_data": spec.custom_data,
        "direction": spec.direction.name(),
        "external_number": spec.contact.phone,
        "internal_number": spec.target.phone,
        "is_internal": spec.contact.kind == "user",
        "selected_caller_id": (spec.direction == Direction::Outbound).then_some(&spec.target.phone),
        "target": target(&spec.target),
    })
}

/// What the leg says of others.
fn links(spec: &LegSpec, leg: &Leg) -> Value {
    let or_nothing = |party: &Option<Party>| party.as_ref().map_or_else(|| json!({}), target);
    json!({
        "entry_point_call_id": spec.entry_point_call_id,
        "entry_point_target": or_nothing(&spec.entry_point),
        "group_id": group_id(spec),
        "is_transferred": leg.transferred,
        "master_call_id": spec.master_call_id,
        // Nobody knows who will answer before somebody does.
        "operator_call_id": spec.operator_call_id.filter(|_| leg.answered),
        "transferred_from": or_nothing(&spec.transferred_from),
    })
}

fn group_id(spec: &LegSpec) -> Option<String> {
    match spec.target.kind {
        "office" => Some(format!("Office:{}", spec.target.id)),
        "call_center" => Some(format!("CallCenter:{}", spec.target.id)),
        _ => None,
    }
}

fn times(spec: &LegSpec, leg: &Leg, at: DateTime<Utc>) -> Value {
    let millis = |instant: Option<DateTime<Utc>>| instant.map(|instant| instant.timestamp_millis());
    // A call enters Dialpad a played before anything is heard of it.
    let started = millis(leg.began).unwrap_or_default() - 412;
    let ended = millis(leg.ended);
    let held_ms = leg.held_ms(leg.ended.unwrap_or(at));
    // Only what rings a user counts as ringing.
    let user_rang = leg.rang.filter(|_| spec.direction == Direction::Inbound);
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

fn artefacts(frame: &Frame<'_>, media_base: &str) -> Value {
    let Frame { participants, spec, leg, .. } = *frame;
    let recordings = recordings(spec, leg, media_base);
    let urls: Vec<&Value> = recordings.iter().map(|recording| &recording["url"]).collect();
    let ids: Vec<&Value> = recordings.iter().map(|recording| &recording["id"]).collect();
    json!({
        "call_recording_ids": ids,
        "recording_details": recordings,
        "recording_url": urls,
        "transcription_text": leg.transcribed.then_some(&participants.transcript),
        "voicemail_link": leg.voicemail_ready.then(|| spec.media_url(media_base)),
        "voicemail_recording_id": leg.voicemail_ready.then(|| spec.media_id.to_string()),
        "was_recorded": spec.recorded && leg.answered,
    })
}

/// Dialpad sends durations as floating-point milliseconds with digits that mean nothing.
fn float(whole: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a call is shorter than 2^53 ms")]
    let whole = whole as f64;
    if whole == 0.0 { 0.0 } else { whole + 0.029_999_999_999_745_1 }
}

fn recordings(spec: &LegSpec, leg: &Leg, media_base: &str) -> Vec<Value> {
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
        "id": spec.media_id.to_string(),
        "url": spec.media_url(media_base),
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
