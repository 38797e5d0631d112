//! The events of a call and its voicemail.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    EventType,
    ids_as_text::number_or_text,
    keys::EventKeys,
    out_event::{EventBody, OutEvent},
    recording::{RecordingBody, recording_bodies},
    schema::DialpadId,
};
use crate::{
    id::{AppId, DialpadCallId, InteractionId, VoicemailId},
    model::{
        call::{CallChange, DialpadState, Direction, Leg, Origin, Outcome, Snapshot, Status, StoredCall},
        number::{Region, e164},
    },
};

/// The fields of every event of a call, and those of its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CallBody {
    /// Dialpad's id of the call.
    #[schema(value_type = DialpadId)]
    call_id: DialpadCallId,
    /// The same id under its other name.
    #[schema(value_type = DialpadId)]
    pub(super) dialpad_call_id: DialpadCallId,
    /// Null if nothing is known of the call but a state that has no event type here: there is no interaction yet.
    interaction_id: Option<InteractionId>,
    leg: Option<Leg>,
    direction: Option<Direction>,
    /// The caller.
    from_number: Option<String>,
    /// The called number.
    to_number: Option<String>,
    /// The caller in E.164 form; null if it is no phone number.
    from_e164: Option<String>,
    /// The called number in E.164 form; null if it is no phone number.
    to_e164: Option<String>,
    /// The name of the person on the other side.
    contact_name: Option<String>,
    /// The user or group of the leg: a line, a department, a queue.
    #[schema(value_type = Option<DialpadId>)]
    target_id: Option<i64>,
    /// The name of the user or group of the leg.
    target_name: Option<String>,
    /// Whether both sides are in the company.
    is_internal: Option<bool>,
    /// Whether the caller asked the queue to be called back.
    callback_requested: Option<bool>,
    /// What was passed when the call was placed, as it came.
    custom_data: Option<serde_json::Value>,
    /// The Dialpad user of the leg.
    #[schema(value_type = Option<DialpadId>)]
    pub(super) dialpad_user_id: Option<i64>,
    /// The same person in the CRM, if a mapping is stored.
    pub(super) crm_user_id: Option<String>,
    /// Null if nothing is known of the call but a state that has no event type here.
    status: Option<Status>,
    /// The newest live state in Dialpad's own words (`ringing`, `queued`, `parked` …), by the time of the webhooks. Null
    /// in the workflow format.
    dialpad_state: Option<&'static str>,
    #[serde(flatten)]
    #[schema(ignore)]
    of_type: OfType,
    /// `repaired` if webhooks had been missed and the server asked Dialpad.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    source: Option<&'static str>,
    /// Whether nothing was received about it for too long, so that the event is a guess.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    inferred: Option<bool>,
}

/// The fields of one type of event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum OfType {
    Ring(RingFields),
    Started(StartedFields),
    Held(HeldFields),
    Resumed(ResumedFields),
    Ended(EndFields),
    Updated(UpdatedFields),
    Voicemail(VoicemailFields),
    Raw(RawFields),
}

/// The fields of `call.ring`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct RingFields {
    /// When it began to ring.
    ringing_at: Option<DateTime<Utc>>,
}

/// The fields of `call.started`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct StartedFields {
    /// When a person answered.
    started_at: Option<DateTime<Utc>>,
    /// Where Dialpad keeps the recording, once there is one.
    recording_url: Option<String>,
}

/// The fields of `call.held`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct HeldFields {
    /// When the hold began.
    held_at: DateTime<Utc>,
}

/// The fields of `call.resumed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct ResumedFields {
    /// When the hold ended.
    resumed_at: DateTime<Utc>,
}

/// The fields of `call.ended`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct EndFields {
    /// When it ended. If only a recording is known of the call: when that arrived.
    ended_at: Option<DateTime<Utc>>,
    /// The whole length in seconds: as reported, otherwise from the first sign of the call to its end.
    duration_seconds: Option<i64>,
    /// Answered time without holds, in seconds. Null if only a recording is known of the call.
    talk_seconds: Option<i64>,
    /// All holds together, in seconds.
    hold_seconds: Option<i64>,
    /// Where Dialpad keeps the recording, once there is one.
    recording_url: Option<String>,
    /// All parts of the recording.
    recordings: Vec<RecordingBody>,
    outcome: Option<Outcome>,
    /// Whether the leg ended unanswered because another person took the call.
    answered_elsewhere: bool,
}

/// The fields of `call.updated`: what became known, and everything that it can have changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct UpdatedFields {
    /// The names of the fields that changed.
    #[schema(value_type = Vec<String>)]
    changed: Vec<&'static str>,
    /// When it began to ring.
    ringing_at: Option<DateTime<Utc>>,
    /// When a person answered.
    started_at: Option<DateTime<Utc>>,
    #[serde(flatten)]
    #[schema(ignore)]
    end: EndFields,
}

/// The fields of `voicemail.received` and `voicemail.updated`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct VoicemailFields {
    voicemail_id: Option<VoicemailId>,
    /// Dialpad's id of the voicemail.
    #[schema(value_type = Option<DialpadId>)]
    dialpad_voicemail_id: Option<serde_json::Value>,
    /// Where Dialpad keeps the audio.
    recording_url: Option<String>,
    /// The transcript.
    transcript: Option<String>,
    /// The length in seconds.
    duration_seconds: Option<i64>,
}

/// The fields of `call.raw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct RawFields {
    /// Dialpad's word for the state.
    state: String,
    /// The webhook as received.
    #[schema(value_type = Object)]
    payload: Box<serde_json::Value>,
}

impl CallBody {
    /// Adds the numbers in E.164 form.
    pub(super) fn set_e164(&mut self, region: Region) {
        self.from_e164 = self.from_number.as_deref().and_then(|number| e164(number, region));
        self.to_e164 = self.to_number.as_deref().and_then(|number| e164(number, region));
    }

    pub(super) fn keys(&self) -> EventKeys {
        EventKeys {
            direction: self.direction,
            from_number: self.from_number.as_deref().map(Into::into),
            to_number: self.to_number.as_deref().map(Into::into),
            crm_user_id: self.crm_user_id.as_deref().map(Into::into),
            partition_key: EventKeys::partition_of_call(self.dialpad_call_id),
        }
    }
}

impl From<&CallChange> for EventType {
    fn from(change: &CallChange) -> Self {
        match change {
            CallChange::Ring => Self::CallRing,
            CallChange::Started => Self::CallStarted,
            CallChange::Held(_) => Self::CallHeld,
            CallChange::Resumed(_) => Self::CallResumed,
            CallChange::Ended => Self::CallEnded,
            CallChange::Updated(_) => Self::CallUpdated,
            CallChange::VoicemailReceived => Self::VoicemailReceived,
            CallChange::VoicemailUpdated => Self::VoicemailUpdated,
            CallChange::Raw { .. } => Self::CallRaw,
        }
    }
}

/// Returns the event for a change of a call. `occurred_at` is the time of the webhook that caused it.
#[must_use]
pub fn call_event(
    app_id: AppId,
    call: &StoredCall,
    snapshot: &Snapshot,
    change: &CallChange,
    occurred_at: DateTime<Utc>,
    origin: Origin,
) -> OutEvent {
    let was_witnessed = call.facts.was_witnessed();
    let body = CallBody {
        call_id: call.dialpad_call_id,
        dialpad_call_id: call.dialpad_call_id,
        interaction_id: Some(call.interaction_id).filter(|it| was_witnessed || *it != call.id.into()),
        leg: snapshot.leg,
        direction: snapshot.direction,
        from_number: snapshot.from_number.clone(),
        to_number: snapshot.to_number.clone(),
        from_e164: None,
        to_e164: None,
        contact_name: snapshot.contact_name.clone(),
        target_id: snapshot.target_id,
        target_name: snapshot.target_name.clone(),
        is_internal: snapshot.is_internal,
        callback_requested: snapshot.callback_requested,
        custom_data: snapshot.custom_data.as_deref().and_then(|json| serde_json::from_str(json).ok()),
        dialpad_user_id: snapshot.dialpad_user_id,
        crm_user_id: None,
        status: was_witnessed.then_some(snapshot.status),
        dialpad_state: snapshot.dialpad_state.map(DialpadState::as_str),
        of_type: OfType::of(call, snapshot, change),
        source: (origin == Origin::Repair).then_some("repaired"),
        inferred: (origin == Origin::Presumption).then_some(true),
    };
    OutEvent::new(app_id, change.into(), occurred_at, EventBody::Call(Box::new(body)))
}

impl OfType {
    fn of(call: &StoredCall, snapshot: &Snapshot, change: &CallChange) -> Self {
        match change {
            CallChange::Ring => Self::Ring(RingFields { ringing_at: snapshot.ringing_at }),
            CallChange::Started => Self::Started(StartedFields {
                started_at: snapshot.answered_at,
                recording_url: snapshot.recording_url.clone(),
            }),
            CallChange::Held(held_at) => Self::Held(HeldFields { held_at: *held_at }),
            CallChange::Resumed(resumed_at) => Self::Resumed(ResumedFields { resumed_at: *resumed_at }),
            CallChange::Ended => Self::Ended(EndFields::of(snapshot)),
            CallChange::Updated(changed) => Self::Updated(UpdatedFields {
                changed: changed.clone(),
                ringing_at: snapshot.ringing_at,
                started_at: snapshot.answered_at,
                end: EndFields::of(snapshot),
            }),
            CallChange::VoicemailReceived | CallChange::VoicemailUpdated => {
                Self::Voicemail(VoicemailFields::of(call, snapshot))
            }
            CallChange::Raw { state, payload } => {
                Self::Raw(RawFields { state: state.clone(), payload: payload.clone() })
            }
        }
    }
}

impl EndFields {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            ended_at: snapshot.ended_at,
            duration_seconds: snapshot.duration_seconds,
            talk_seconds: snapshot.talk_seconds,
            hold_seconds: snapshot.hold_seconds,
            recording_url: snapshot.recording_url.clone(),
            recordings: recording_bodies(&snapshot.recordings),
            outcome: snapshot.outcome,
            answered_elsewhere: snapshot.answered_elsewhere,
        }
    }
}

impl VoicemailFields {
    fn of(call: &StoredCall, snapshot: &Snapshot) -> Self {
        let voicemail = snapshot.voicemail.as_ref();
        let dialpad_id = voicemail.and_then(|voicemail| voicemail.dialpad_voicemail_id.as_deref());
        Self {
            voicemail_id: call.voicemail_id,
            dialpad_voicemail_id: dialpad_id.map(number_or_text),
            recording_url: voicemail.and_then(|voicemail| voicemail.recording_url.clone()),
            transcript: voicemail.and_then(|voicemail| voicemail.transcript.clone()),
            duration_seconds: voicemail.and_then(|voicemail| voicemail.duration_seconds),
        }
    }
}
