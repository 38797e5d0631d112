//! How change of a call is put into words: the body of the event that a CRM receives.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::call::{CallChange, CallFacts, Origin, Snapshot, StoredCall};
use crate::{
    event::number_or_text,
    event::{OutEvent, schema::DialpadId},
    id::{AppId, EventId, InteractionId, VoicemailId},
};

/// The fields that every event of a call has, and the ones of its type.
#[derive(Serialize, ToSchema)]
pub(crate) struct Body<'a> {
    event_id: EventId,
    app_id: AppId,
    /// Dialpad's id of the call.
    #[schema(value_type = DialpadId)]
    call_id: i64,
    /// The same, under its other name.
    #[schema(value_type = DialpadId)]
    dialpad_call_id: i64,
    interaction_id: InteractionId,
    #[schema(value_type = Option<crate::model::call::Leg>)]
    leg: Option<&'static str>,
    #[schema(value_type = Option<crate::model::call::Direction>)]
    direction: Option<&'static str>,
    /// Who calls.
    from_number: Option<&'a str>,
    /// Who is called.
    to_number: Option<&'a str>,
    /// The Dialpad user whose leg it is.
    #[schema(value_type = Option<DialpadId>)]
    dialpad_user_id: Option<i64>,
    /// The same person in the CRM, where a mapping is stored.
    crm_user_id: Option<&'a str>,
    /// Null for a call of which nothing is known but a state without a name.
    #[schema(value_type = Option<crate::model::call::Status>)]
    status: Option<&'static str>,
    #[serde(flatten)]
    #[schema(ignore)]
    extra: Extra<'a>,
    /// `repaired` where the server had to ask, because webhooks had been missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    source: Option<&'static str>,
    /// Whether nobody said so: too much time has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    inferred: Option<bool>,
    /// When it happened, in unix seconds: the instant of the webhook that caused it.
    timestamp: i64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Extra<'a> {
    Ring(Ring),
    Started(Started<'a>),
    Held(Held),
    Resumed(Resumed),
    Ended(Ending<'a>),
    Updated(Updated<'a>),
    Voicemail(VoicemailTold<'a>),
    Raw(Raw<'a>),
}

/// What `call.ring` has beyond every event of a call.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ring {
    /// When it began to ring.
    ringing_at: Option<DateTime<Utc>>,
}

/// What `call.started` has.
#[derive(Serialize, ToSchema)]
pub(crate) struct Started<'a> {
    /// When a person answered.
    started_at: Option<DateTime<Utc>>,
    /// Where Dialpad keeps the recording, once there is one.
    recording_url: Option<&'a str>,
}

/// What `call.held` has.
#[derive(Serialize, ToSchema)]
pub(crate) struct Held {
    /// Since when one side waits.
    held_at: DateTime<Utc>,
}

/// What `call.resumed` has.
#[derive(Serialize, ToSchema)]
pub(crate) struct Resumed {
    /// When the hold was over.
    resumed_at: DateTime<Utc>,
}

/// What `call.ended` has.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ending<'a> {
    /// When it ended.
    ended_at: Option<DateTime<Utc>>,
    /// Its whole length in seconds, as reported, else from the first sight of it.
    duration_seconds: Option<i64>,
    /// Answered time without holds, in seconds.
    talk_seconds: Option<i64>,
    /// All holds together, in seconds.
    hold_seconds: Option<i64>,
    /// Where Dialpad keeps the recording, once there is one.
    recording_url: Option<&'a str>,
    #[schema(value_type = Option<crate::model::call::Outcome>)]
    outcome: Option<&'static str>,
    /// Whether it ended unanswered because somebody else took the call.
    answered_elsewhere: bool,
}

/// What `call.updated` has: what became known, and all that may have changed by it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Updated<'a> {
    /// The names of the fields that changed.
    #[schema(value_type = Vec<String>)]
    changed: &'a [&'static str],
    /// When it began to ring.
    ringing_at: Option<DateTime<Utc>>,
    /// When a person answered.
    started_at: Option<DateTime<Utc>>,
    #[serde(flatten)]
    #[schema(ignore)]
    ending: Ending<'a>,
}

/// What `voicemail.received` and `voicemail.updated` have.
#[derive(Serialize, ToSchema)]
pub(crate) struct VoicemailTold<'a> {
    voicemail_id: Option<VoicemailId>,
    /// Dialpad's id of it.
    #[schema(value_type = Option<DialpadId>)]
    dialpad_voicemail_id: Option<serde_json::Value>,
    /// Where Dialpad keeps the audio.
    recording_url: Option<&'a str>,
    /// What was said.
    transcript: Option<&'a str>,
    /// Its length in seconds.
    duration_seconds: Option<i64>,
}

/// What `call.raw` has.
#[derive(Serialize, ToSchema)]
pub(crate) struct Raw<'a> {
    /// Dialpad's word for what happened.
    state: &'a str,
    /// The webhook as it came.
    #[schema(value_type = Object)]
    payload: &'a serde_json::Value,
}

/// Puts one piece of change into words. `occurred_at` is the instant of what brought
/// it.
pub(crate) fn tell(
    app_id: AppId,
    call: &StoredCall,
    snapshot: &Snapshot,
    change: &CallChange,
    occurred_at: DateTime<Utc>,
    origin: Origin,
) -> OutEvent {
    let event_id = EventId::generate();
    let ending = Ending {
        ended_at: snapshot.ended_at,
        duration_seconds: snapshot.duration_seconds,
        talk_seconds: snapshot.talk_seconds,
        hold_seconds: snapshot.hold_seconds,
        recording_url: snapshot.recording_url.as_deref(),
        outcome: snapshot.outcome.map(crate::model::call::Outcome::as_str),
        answered_elsewhere: snapshot.answered_elsewhere,
    };
    let (kind, extra) = match change {
        CallChange::Ring => ("call.ring", Extra::Ring(Ring { ringing_at: snapshot.ringing_at })),
        CallChange::Started => (
            "call.started",
            Extra::Started(Started {
                started_at: snapshot.answered_at,
                recording_url: snapshot.recording_url.as_deref(),
            }),
        ),
        CallChange::Held(held_at) => ("call.held", Extra::Held(Held { held_at: *held_at })),
        CallChange::Resumed(resumed_at) => {
            ("call.resumed", Extra::Resumed(Resumed { resumed_at: *resumed_at }))
        }
        CallChange::Ended => ("call.ended", Extra::Ended(ending)),
        CallChange::Updated(changed) => (
            "call.updated",
            Extra::Updated(Updated {
                changed,
                ringing_at: snapshot.ringing_at,
                started_at: snapshot.answered_at,
                ending,
            }),
        ),
        CallChange::VoicemailReceived => ("voicemail.received", voicemail(call, snapshot)),
        CallChange::VoicemailUpdated => ("voicemail.updated", voicemail(call, snapshot)),
        CallChange::Raw { state, payload } => ("call.raw", Extra::Raw(Raw { state, payload })),
    };
    let body = Body {
        event_id,
        app_id,
        call_id: call.dialpad_call_id.0,
        dialpad_call_id: call.dialpad_call_id.0,
        interaction_id: call.interaction_id,
        leg: snapshot.leg.map(crate::model::call::Leg::as_str),
        direction: snapshot.direction.map(crate::model::call::Direction::as_str),
        from_number: snapshot.from_number.as_deref(),
        to_number: snapshot.to_number.as_deref(),
        dialpad_user_id: snapshot.dialpad_user_id,
        crm_user_id: None,
        status: (call.facts != CallFacts::default()).then(|| snapshot.status.as_str()),
        extra,
        source: (origin == Origin::Repair).then_some("repaired"),
        inferred: (origin == Origin::Presumption).then_some(true),
        timestamp: occurred_at.timestamp(),
    };
    OutEvent {
        id: event_id,
        kind: Cow::Borrowed(kind),
        dialpad_call_id: Some(call.dialpad_call_id),
        dialpad_user_id: snapshot.dialpad_user_id,
        occurred_at,
        body: serde_json::to_string(&body).expect("an event has only string keys"),
    }
}

fn voicemail<'a>(call: &StoredCall, snapshot: &'a Snapshot) -> Extra<'a> {
    let voicemail = snapshot.voicemail.as_ref();
    Extra::Voicemail(VoicemailTold {
        voicemail_id: call.voicemail_id,
        dialpad_voicemail_id: voicemail.and_then(|it| it.dialpad_voicemail_id.as_deref()).map(number_or_text),
        recording_url: voicemail.and_then(|it| it.recording_url.as_deref()),
        transcript: voicemail.and_then(|it| it.transcript.as_deref()),
        duration_seconds: voicemail.and_then(|it| it.duration_seconds),
    })
}
