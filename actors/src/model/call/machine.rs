//! The decision: what a webhook changes and what the world must be told. Pure; the actor around it does the rest.

use chrono::{DateTime, Utc};

use super::{
    event::{CallEvent, Signal},
    facts::CallFacts,
    snapshot::Snapshot,
    status::Status,
};

/// What came of one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The facts from now on.
    pub facts: CallFacts,
    /// What to tell, in this order. Empty when nothing that anybody can see has changed.
    pub change: Vec<CallChange>,
}

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallChange {
    /// The call rings: it is new.
    Ring,
    /// A person answered.
    Started,
    /// Somebody waits, since when.
    Held(DateTime<Utc>),
    /// The wait is over, since when.
    Resumed(DateTime<Utc>),
    /// It is over. Told at most once of a call.
    Ended,
    /// Something became known late: the names of the changed fields.
    Updated(Vec<&'static str>),
    /// A voicemail exists. Told at most once of a call.
    VoicemailReceived,
    /// Its audio or its transcript arrived.
    VoicemailUpdated,
    /// A state without a name here, as it came.
    Raw {
        /// The state or event type in the sender's words.
        state: String,
        /// The payload as it came.
        payload: Box<serde_json::Value>,
    },
}

/// Applies one webhook to what is known so far (the default facts for a call never seen).
#[must_use]
pub fn apply(known: &CallFacts, event: &CallEvent) -> Transition {
    let mut facts = known.clone();
    facts.absorb(event);
    let mut change = if facts == *known { Vec::new() } else { differences(known, &facts, event) };
    if let Signal::Raw { state, payload } = &event.signal {
        change.push(CallChange::Raw { state: state.clone(), payload: payload.clone() });
    }
    Transition { facts, change }
}

fn differences(known: &CallFacts, facts: &CallFacts, event: &CallEvent) -> Vec<CallChange> {
    let (before, after) = (known.snapshot(), facts.snapshot());
    let mut change = Vec::new();
    change.extend(call_news(known, &before, facts, &after, event));
    match (&before.voicemail, &after.voicemail) {
        (None, Some(_)) => change.push(CallChange::VoicemailReceived),
        (Some(before), Some(after)) if before != after => change.push(CallChange::VoicemailUpdated),
        _ => {}
    }
    change
}

fn call_news(
    known: &CallFacts,
    before: &Snapshot,
    facts: &CallFacts,
    after: &Snapshot,
    event: &CallEvent,
) -> Option<CallChange> {
    let first_sight = !known.was_witnessed() && facts.was_witnessed();
    if first_sight && event.signal == Signal::VoicemailLeft {
        return None;
    }
    if first_sight || before.status != after.status {
        return Some(match after.status {
            Status::Ringing => CallChange::Ring,
            Status::Active if before.status == Status::Held => CallChange::Resumed(event.at),
            Status::Active => CallChange::Started,
            Status::Held => CallChange::Held(event.at),
            Status::Ended => CallChange::Ended,
        });
    }
    let changed = changed_fields(before, after);
    (!changed.is_empty()).then_some(CallChange::Updated(changed))
}

/// The fields of a call, by their names on the wire, that differ. The status is not among them: its changes
/// have names of their own. Nor is the voicemail's content.
fn changed_fields(before: &Snapshot, after: &Snapshot) -> Vec<&'static str> {
    let Snapshot {
        status: _,
        outcome,
        direction,
        from_number,
        to_number,
        dialpad_user_id,
        ringing_at,
        answered_at,
        ended_at,
        duration_seconds,
        talk_seconds,
        hold_seconds,
        recording_url,
        leg,
        answered_elsewhere,
        is_voicemail,
        voicemail: _,
    } = before;
    [
        ("outcome", *outcome != after.outcome),
        ("direction", *direction != after.direction),
        ("from_number", *from_number != after.from_number),
        ("to_number", *to_number != after.to_number),
        ("dialpad_user_id", *dialpad_user_id != after.dialpad_user_id),
        ("ringing_at", *ringing_at != after.ringing_at),
        ("answered_at", *answered_at != after.answered_at),
        ("started_at", *answered_at != after.answered_at),
        ("ended_at", *ended_at != after.ended_at),
        ("duration_seconds", *duration_seconds != after.duration_seconds),
        ("talk_seconds", *talk_seconds != after.talk_seconds),
        ("hold_seconds", *hold_seconds != after.hold_seconds),
        ("recording_url", *recording_url != after.recording_url),
        ("leg", *leg != after.leg),
        ("answered_elsewhere", *answered_elsewhere != after.answered_elsewhere),
        ("is_voicemail", *is_voicemail != after.is_voicemail),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}
