//! How news of a call is put into words: the body of the event that a CRM receives.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{event::Origin, facts::CallFacts, machine::News, record::StoredCall, snapshot::Snapshot};
use crate::{
    feed::{OutEvent, number_or_text},
    id::{AppId, EventId, InteractionId},
};

/// The fields that every event of a call carries, and the ones of its type.
#[derive(Serialize)]
struct Body<'a> {
    event_id: EventId,
    app_id: AppId,
    call_id: i64,
    dialpad_call_id: i64,
    interaction_id: InteractionId,
    leg: Option<&'static str>,
    direction: Option<&'static str>,
    from_number: Option<&'a str>,
    to_number: Option<&'a str>,
    dialpad_user_id: Option<i64>,
    crm_user_id: Option<&'a str>,
    /// Null for a call of which nothing is known but a state without a name.
    status: Option<&'static str>,
    #[serde(flatten)]
    extra: Extra<'a>,
    /// `repaired` where the server had to ask, because webhooks had been missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    /// Whether nobody said so: too much time has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    inferred: Option<bool>,
    timestamp: i64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Extra<'a> {
    Ring {
        ringing_at: Option<DateTime<Utc>>,
    },
    Started {
        started_at: Option<DateTime<Utc>>,
        recording_url: Option<&'a str>,
    },
    Held {
        held_at: DateTime<Utc>,
    },
    Resumed {
        resumed_at: DateTime<Utc>,
    },
    Ended(Ending<'a>),
    Updated {
        changed: &'a [&'static str],
        ringing_at: Option<DateTime<Utc>>,
        started_at: Option<DateTime<Utc>>,
        #[serde(flatten)]
        ending: Ending<'a>,
    },
    Voicemail {
        voicemail_id: Option<crate::id::VoicemailId>,
        dialpad_voicemail_id: Option<serde_json::Value>,
        recording_url: Option<&'a str>,
        transcript: Option<&'a str>,
        duration_seconds: Option<i64>,
    },
    Raw {
        state: &'a str,
        payload: &'a serde_json::Value,
    },
}

#[derive(Serialize)]
struct Ending<'a> {
    ended_at: Option<DateTime<Utc>>,
    duration_seconds: Option<i64>,
    talk_seconds: Option<i64>,
    hold_seconds: Option<i64>,
    recording_url: Option<&'a str>,
    outcome: Option<&'static str>,
    answered_elsewhere: bool,
}

/// Puts one piece of news into words. `occurred_at` is the instant of what brought
/// it.
pub(super) fn tell(
    app_id: AppId,
    call: &StoredCall,
    snapshot: &Snapshot,
    news: &News,
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
        outcome: snapshot.outcome.map(super::Outcome::as_str),
        answered_elsewhere: snapshot.answered_elsewhere,
    };
    let (kind, extra) = match news {
        News::Ring => ("call.ring", Extra::Ring { ringing_at: snapshot.ringing_at }),
        News::Started => (
            "call.started",
            Extra::Started {
                started_at: snapshot.answered_at,
                recording_url: snapshot.recording_url.as_deref(),
            },
        ),
        News::Held(held_at) => ("call.held", Extra::Held { held_at: *held_at }),
        News::Resumed(resumed_at) => ("call.resumed", Extra::Resumed { resumed_at: *resumed_at }),
        News::Ended => ("call.ended", Extra::Ended(ending)),
        News::Updated(changed) => (
            "call.updated",
            Extra::Updated {
                changed,
                ringing_at: snapshot.ringing_at,
                started_at: snapshot.answered_at,
                ending,
            },
        ),
        News::VoicemailReceived => ("voicemail.received", voicemail(call, snapshot)),
        News::VoicemailUpdated => ("voicemail.updated", voicemail(call, snapshot)),
        News::Raw { state, payload } => ("call.raw", Extra::Raw { state, payload }),
    };
    let body = Body {
        event_id,
        app_id,
        call_id: call.dialpad_call_id.0,
        dialpad_call_id: call.dialpad_call_id.0,
        interaction_id: call.interaction_id,
        leg: snapshot.leg.map(super::Leg::as_str),
        direction: snapshot.direction.map(super::Direction::as_str),
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
    Extra::Voicemail {
        voicemail_id: call.voicemail_id,
        dialpad_voicemail_id: voicemail.and_then(|it| it.dialpad_voicemail_id.as_deref()).map(number_or_text),
        recording_url: voicemail.and_then(|it| it.recording_url.as_deref()),
        transcript: voicemail.and_then(|it| it.transcript.as_deref()),
        duration_seconds: voicemail.and_then(|it| it.duration_seconds),
    }
}
