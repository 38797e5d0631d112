//! The decision: what a command changes about a call. Pure; the actor around it does the rest.

use chrono::{DateTime, Utc};

use super::{
    command::CallCommand,
    event::{RawMeaning, Signal},
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
    /// The call is over. Exactly once per call, unless the end was presumed and withdrawn.
    Ended,
    /// Something became known late, or a presumed end is withdrawn: the names of the changed fields.
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
        CallCommand::Webhook { event, proof } => {
            facts.absorb(event);
            if let Some(proof) = proof {
                facts.set_proof(*proof);
            }
        }
        CallCommand::Proven { proof, .. } => facts.set_proof(*proof),
    }
    let mut changes = if facts == *known { Vec::new() } else { differences(known, &facts, command) };
    changes.extend(passed_on(command, &facts));
    Transition { facts, changes }
}

/// Returns the state that is passed on, because it has no event type. The transcript of a voicemail has one.
fn passed_on(command: &CallCommand, facts: &CallFacts) -> Option<CallChange> {
    let CallCommand::Webhook { event, .. } = command else { return None };
    let Signal::Raw { state, payload, meaning } = &event.signal else { return None };
    if *meaning == RawMeaning::Transcribed && facts.has_voicemail() {
        return None;
    }
    Some(CallChange::Raw { state: state.clone(), payload: payload.clone() })
}

fn differences(known: &CallFacts, facts: &CallFacts, command: &CallCommand) -> Vec<CallChange> {
    if !facts.was_witnessed() {
        return Vec::new();
    }
    let is_first_sight = !known.was_witnessed();
    // Of a call that was not witnessed, nothing was emitted yet.
    let before = if is_first_sight { CallFacts::default().snapshot() } else { known.snapshot() };
    let after = facts.snapshot();
    let mut changes = Vec::new();
    if !is_first_sight && before.status == Status::Ended && after.status != Status::Ended {
        changes.extend(withdrawal(known, &before, &after, command.at()));
    } else if is_first_sight || before.status != after.status {
        changes.push(change_of_status(before.status, after.status, command.at()));
    } else {
        let changed = changed_fields(&before, &after);
        changes.extend((!changed.is_empty()).then_some(CallChange::Updated(changed)));
    }
    match (&before.voicemail, &after.voicemail) {
        (None, Some(_)) => changes.push(CallChange::VoicemailReceived),
        (Some(before), Some(after)) if before != after => changes.push(CallChange::VoicemailUpdated),
        _ => {}
    }
    changes
}

/// Returns what is emitted when a call goes on that was presumed over: first that it does, and then what happened, if it
/// is not in the status in which it was before.
fn withdrawal(
    known: &CallFacts,
    before: &Snapshot,
    after: &Snapshot,
    at: DateTime<Utc>,
) -> impl Iterator<Item = CallChange> + use<> {
    let changed = std::iter::once("status").chain(changed_fields(before, after)).collect();
    let was = known.without_presumption().status();
    let happened = (was != after.status).then(|| change_of_status(was, after.status, at));
    std::iter::once(CallChange::Updated(changed)).chain(happened)
}

fn change_of_status(before: Status, after: Status, at: DateTime<Utc>) -> CallChange {
    match after {
        Status::Ringing => CallChange::Ring,
        Status::Active if before == Status::Held => CallChange::Resumed(at),
        Status::Active => CallChange::Started,
        Status::Held => CallChange::Held(at),
        Status::Ended => CallChange::Ended,
    }
}

/// Returns the names on the wire of the call's fields that differ. The status is not among them: its changes have event
/// types of their own, except for one ([`withdrawal`]). Nor is the content of the voicemail. After the answer, Dialpad's
/// own state alone is no change: its states have event types, or are passed on.
fn changed_fields(before: &Snapshot, after: &Snapshot) -> Vec<&'static str> {
    let Snapshot {
        status: _,
        dialpad_state,
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
    let mut changed: Vec<&'static str> = [
        ("dialpad_state", *dialpad_state != after.dialpad_state),
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
    .collect();
    if after.status != Status::Ringing && changed == ["dialpad_state"] {
        changed.clear();
    }
    changed
}
