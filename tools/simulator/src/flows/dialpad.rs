//! Dialpad's payload family: one flat snapshot per state, with every field present, `null` or `{}` where it is not set.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::EventType;
use super::leg::Leg;
use super::participants::{Direction, LegSpec, OFFICE_ID, Party};
use super::playback::Frame;
use super::timeline::Step;

/// Returns the webhook of a frame, and the CRM event that it must cause. The server may emit that event a moment earlier,
/// from other legs: a call center's call is answered as soon as its agent's leg is.
pub(crate) fn webhook(frame: &Frame<'_>) -> (Value, Option<EventType>) {
    let leg = frame.leg;
    let expected_event = match frame.step {
        // Greeting, queue and ringing are one status: the call is on its way to a person.
        Step::Ring | Step::PickUp | Step::Queue => leg.is_new().then_some(EventType::CallRing),
        Step::Answer => Some(EventType::CallStarted),
        Step::Hold | Step::Park => Some(EventType::CallHeld),
        Step::Resume => Some(EventType::CallResumed),
        Step::Merge => Some(EventType::CallRaw),
        Step::Miss | Step::Block => Some(EventType::CallEnded),
        // `missed` and `blocked` end the call for the CRM; the hangup only adds the final durations.
        Step::HangUp | Step::TransferAway => (!leg.missed && !leg.blocked).then_some(EventType::CallEnded),
        Step::VoicemailReady => Some(EventType::VoicemailReceived),
        Step::Transcribed => Some(EventType::VoicemailUpdated),
        Step::Menu | Step::LeaveVoicemail | Step::RecordingReady => None,
    };
    let mut payload = snapshot(frame, frame.step);
    if let Some(company) = frame.options.organization_id {
        payload["company_id"] = company.into();
    }
    (payload, expected_event)
}

/// Returns the leg as the REST API shows it after a frame. Recordings and voicemails show in fields, never in its state.
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
        // Dialpad has no state for the end of a hold: the leg is connected again.
        Step::Menu | Step::Answer | Step::Resume => "connected",
        Step::Hold => "hold",
        Step::Park => "parked",
        Step::Merge => "merged",
        Step::Miss => "missed",
        Step::Block => "blocked",
        Step::LeaveVoicemail => "voicemail",
        Step::HangUp | Step::TransferAway => "hangup",
        Step::VoicemailReady => "voicemail_uploaded",
        Step::Transcribed => "transcription",
        Step::RecordingReady => "recording",
    }
}

fn snapshot(frame: &Frame<'_>, step: Step) -> Value {
    let Frame { spec, leg, at, options, .. } = *frame;
    let sections = [
        parties(spec),
        links(spec, leg),
        times(spec, leg, at),
        recordings_and_links(frame, &options.media_base),
        NOTHING_KNOWN.clone(),
    ];
    let mut snapshot = Map::new();
    for section in sections {
        let Value::Object(fields) = section else { unreachable!("every section is written as an object") };
        snapshot.extend(fields);
    }
    snapshot.insert("state".to_owned(), state(step, spec.direction).into());
    snapshot.into()
}

/// The fields that no simulated call sets.
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

/// Returns the fields that refer to other legs and parties.
fn links(spec: &LegSpec, leg: &Leg) -> Value {
    let or_empty = |party: &Option<Party>| party.as_ref().map_or_else(|| json!({}), target);
    json!({
        "entry_point_call_id": spec.entry_point_call_id,
        "entry_point_target": or_empty(&spec.entry_point),
        "group_id": group_id(spec),
        "is_transferred": leg.transferred,
        "master_call_id": spec.master_call_id,
        // Who answers is unknown until somebody answers.
        "operator_call_id": spec.operator_call_id.filter(|_| leg.answered),
        "transferred_from": or_empty(&spec.transferred_from),
    })
}

fn group_id(spec: &LegSpec) -> Option<String> {
    match spec.target.kind {
        "office" => Some(format!("Office:{}", spec.target.id)),
        "call_center" => Some(format!("CallCenter:{}", spec.target.id)),
        "department" => Some(format!("Department:{}", spec.target.id)),
        _ => None,
    }
}

fn times(spec: &LegSpec, leg: &Leg, at: DateTime<Utc>) -> Value {
    let millis = |instant: Option<DateTime<Utc>>| instant.map(|instant| instant.timestamp_millis());
    // A call enters Dialpad a moment before its first webhook.
    let started = millis(leg.started_at).unwrap_or_default() - 412;
    let ended = millis(leg.ended);
    let held_ms = leg.held_ms(leg.ended.unwrap_or(at));
    // Only ringing a user counts as ringing.
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
        // A menu is no talk; but the talk of a group's call that was answered contains it.
        "talk_time": if leg.answered { leg.connected_ms(at) - held_ms } else { 0 },
        "total_duration": ended.map(|ended| float(ended - started)),
    })
}

fn recordings_and_links(frame: &Frame<'_>, media_base: &str) -> Value {
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

/// Returns milliseconds as Dialpad sends them: a float with meaningless decimals.
fn float(whole: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a call is shorter than 2^53 ms")]
    let whole = whole as f64;
    if whole == 0.0 { 0.0 } else { whole + 0.029_999_999_999_745_1 }
}

fn recordings(spec: &LegSpec, leg: &Leg, media_base: &str) -> Vec<Value> {
    let (kind, started_at, length) = match (leg.voicemail_ready, leg.recording_ready) {
        (true, _) => ("voicemail", leg.voicemail_started_at, leg.voicemail_ms()),
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
        "start_time": started_at.map(|started_at| started_at.timestamp_millis()),
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
