//! The decision: what a command changes about a call. Pure; the actor around it does the rest.

use chrono::{DateTime, Utc};

use super::{
    command::CallCommand,
    event::{CallEvent, Signal},
    facts::CallFacts,
    snapshot::Snapshot,
    status::Status,
};

/// The result of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The facts from now on.
    pub facts: CallFacts,
    /// The changes to emit, in this order. Empty if nothing visible has changed.
    pub changes: Vec<CallChange>,
}

/// A change of a call. Each is emitted as an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallChange {
    /// The call rings: it is new.
    Ring,
    /// A person answered.
    Started,
    /// One side was put on hold, at this time.
    Held(DateTime<Utc>),
    /// The hold ended, at this time.
    Resumed(DateTime<Utc>),
    /// The call is over. At most once per call.
    Ended,
    /// Something became known late: the names of the changed fields.
    Updated(Vec<&'static str>),
    /// A voicemail exists. At most once per call.
    VoicemailReceived,
    /// The audio or the transcript of the voicemail arrived.
    VoicemailUpdated,
    /// Dialpad sent a state that has no event type here.
    Raw {
        /// The state or event type in the sender's words.
        state: String,
        /// The payload as received.
        payload: Box<serde_json::Value>,
    },
}

/// Applies one command to what is known so far (the default facts for a call never seen).
#[must_use]
pub fn apply(known: &CallFacts, command: &CallCommand) -> Transition {
    let mut facts = known.clone();
    match command {
        CallCommand::Webhook(event) => facts.absorb(event),
        CallCommand::Proven { proof, .. } => facts.set_proof(*proof),
    }
    let mut changes = if facts == *known { Vec::new() } else { differences(known, &facts, command) };
    if let CallCommand::Webhook(CallEvent { signal: Signal::Raw { state, payload }, .. }) = command {
        changes.push(CallChange::Raw { state: state.clone(), payload: payload.clone() });
    }
    Transition { facts, changes }
}

fn differences(known: &CallFacts, facts: &CallFacts, command: &CallCommand) -> Vec<CallChange> {
    let before = known.snapshot();
    let after = facts.snapshot();
    let is_first_sight = !known.was_witnessed() && facts.was_witnessed();
    let mut changes = Vec::new();
    changes.extend(change_of_call(is_first_sight, &before, &after, command));
    match (&before.voicemail, &after.voicemail) {
        (None, Some(_)) => changes.push(CallChange::VoicemailReceived),
        (Some(before), Some(after)) if before != after => changes.push(CallChange::VoicemailUpdated),
        _ => {}
    }
    changes
}

fn change_of_call(
    is_first_sight: bool,
    before: &Snapshot,
    after: &Snapshot,
    command: &CallCommand,
) -> Option<CallChange> {
    if is_first_sight && is_voicemail_left(command) {
        // Of a call that was never seen, only the voicemail is emitted.
        return None;
    }
    if is_first_sight || before.status != after.status {
        return Some(change_of_status(before, after, command.at()));
    }
    let changed = changed_fields(before, after);
    (!changed.is_empty()).then_some(CallChange::Updated(changed))
}

fn is_voicemail_left(command: &CallCommand) -> bool {
    matches!(command, CallCommand::Webhook(CallEvent { signal: Signal::VoicemailLeft, .. }))
}

fn change_of_status(before: &Snapshot, after: &Snapshot, at: DateTime<Utc>) -> CallChange {
    match after.status {
        Status::Ringing => CallChange::Ring,
        Status::Active if before.status == Status::Held => CallChange::Resumed(at),
        Status::Active => CallChange::Started,
        Status::Held => CallChange::Held(at),
        Status::Ended => CallChange::Ended,
    }
}

/// Returns the names on the wire of the call's fields that differ. The status is not among them: its changes have event
/// types of their own. Nor is the content of the voicemail.
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
        recordings,
        contact_name,
        target_id,
        target_name,
        is_internal,
        callback_requested,
        custom_data,
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
        // A recording is first known by its address; another part of it changes only the list.
        ("recordings", *recordings != after.recordings && *recording_url == after.recording_url),
        ("contact_name", *contact_name != after.contact_name),
        ("target_id", *target_id != after.target_id),
        ("target_name", *target_name != after.target_name),
        ("is_internal", *is_internal != after.is_internal),
        ("callback_requested", *callback_requested != after.callback_requested),
        ("custom_data", *custom_data != after.custom_data),
        ("leg", *leg != after.leg),
        ("answered_elsewhere", *answered_elsewhere != after.answered_elsewhere),
        ("is_voicemail", *is_voicemail != after.is_voicemail),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}
