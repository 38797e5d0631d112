//! The promise of the call model: the order in which webhooks arrive, and how often, changes nothing.

use cti_actors::{
    id::DialpadCallId,
    model::call::{
        CALL_RECORDING, CallChange, CallEvent, CallFacts, DialpadState, Direction, EndKind, Knowledge, Leg,
        Millis, Origin, RawMeaning, RecordingKnowledge, Signal, Status,
    },
};
use proptest::prelude::*;

use super::{apply_webhook, arrivals::arrivals, at, tell};

fn signals() -> impl Strategy<Value = Signal> {
    prop_oneof![
        3 => Just(Signal::Ringing),
        3 => Just(Signal::Connected),
        2 => Just(Signal::Held),
        2 => Just(Signal::Resumed),
        2 => Just(Signal::Ended(EndKind::Hangup)),
        1 => Just(Signal::Ended(EndKind::Missed)),
        1 => Just(Signal::Ended(EndKind::Rejected)),
        2 => (0..20_i64).prop_map(|second| Signal::PresumedOver { last_news: at(second) }),
        1 => Just(Signal::VoicemailStarted),
        1 => Just(Signal::VoicemailLeft),
        2 => Just(Signal::Learned),
        1 => Just(raw(RawMeaning::Nothing)),
        1 => Just(raw(RawMeaning::Talking)),
        1 => Just(raw(RawMeaning::Over)),
    ]
}

fn raw(meaning: RawMeaning) -> Signal {
    Signal::Raw { state: "odd".into(), payload: Box::default(), meaning }
}

fn states() -> impl Strategy<Value = Option<DialpadState>> {
    use DialpadState::{Connected, Parked, Queued, Ringing};
    prop::option::of(prop::sample::select(vec![Ringing, Queued, Connected, Parked]))
}

fn lengths() -> impl Strategy<Value = Option<Millis>> {
    prop::option::of((0..4_i64).prop_map(|quarters| Millis::from(quarters * 2_750)))
}

/// A webhook of a call of which the end was seen. Which webhook came first matters only before that: if it is a recording,
/// the call is over.
fn end() -> CallEvent {
    let signal = Signal::Ended(EndKind::Stated);
    CallEvent {
        dialpad_call_id: DialpadCallId(7),
        at: at(30),
        signal,
        knowledge: Knowledge::default(),
        origin: Origin::Webhook,
    }
}

/// A webhook with any knowledge. Instants are few, so that many webhooks share one.
fn events() -> impl Strategy<Value = CallEvent> {
    let knowledge = (
        prop::option::of(prop_oneof![Just(Direction::Inbound), Just(Direction::Outbound)]),
        prop::option::of(0..3_i64),
        prop::option::of(0..20_i64),
        prop::option::of(0..20_i64),
        prop::option::of((0..100_000_i64).prop_map(Millis::from)),
        prop::option::of("[ab]"),
        prop_oneof![Just(None), Just(Some(9))],
        (states(), lengths(), lengths(), any::<bool>()),
    );
    let origins =
        prop_oneof![4 => Just(Origin::Webhook), 1 => Just(Origin::Repair), 1 => Just(Origin::Inquiry)];
    (0..20_i64, signals(), knowledge, origins).prop_map(|(second, signal, known, origin)| {
        let (direction, user, connected, ended, duration_ms, url, operator, more) = known;
        let (dialpad_state, talk_ms, hold_ms, lacks_talk) = more;
        let knowledge = Knowledge {
            direction,
            dialpad_user_id: user,
            // A leg's target never changes; whose leg it is, is the same in all its webhooks.
            leg: Some(Leg::Group),
            operator_call_id: operator,
            connected_at: connected.map(at),
            ended_at: ended.map(at),
            dialpad_state,
            duration_ms,
            talk_ms,
            lacks_talk: lacks_talk && talk_ms.is_none(),
            hold_ms,
            contact_name: url.clone(),
            is_internal: url.as_ref().map(|url| url == "a"),
            custom_data: url.as_ref().map(|url| format!("{{\"{url}\":1}}")),
            recordings: recordings(user, url.as_deref(), duration_ms),
            recording_url: url.clone(),
            voicemail_url: url.clone(),
            voicemail_transcript: url,
            ..Knowledge::default()
        };
        CallEvent { dialpad_call_id: DialpadCallId(7), at: at(second), signal, knowledge, origin }
    })
}

/// A part with an id, and one that is only known by its address.
fn recordings(id: Option<i64>, url: Option<&str>, duration_ms: Option<Millis>) -> Vec<RecordingKnowledge> {
    let part = |id: Option<String>, position| RecordingKnowledge {
        id,
        url: url.map(str::to_owned),
        kind: CALL_RECORDING.into(),
        duration_ms,
        started_at: duration_ms.map(|ms| at(ms.seconds() / 10)),
        position,
    };
    id.map(|id| part(Some(id.to_string()), id)).into_iter().chain([part(None, 0)]).collect()
}

/// Whether a change says that a call goes on which was presumed over.
fn withdraws_an_end(change: &CallChange) -> bool {
    matches!(change, CallChange::Updated(changed) if changed.contains(&"status"))
}

fn rank(status: Status) -> u8 {
    match status {
        Status::Ringing => 1,
        // Held and active take turns.
        Status::Active | Status::Held => 2,
        Status::Ended => 3,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_permutation_and_repetition_gives_the_same_call((mut original, mut shuffled) in arrivals(events())) {
        original.push(end());
        shuffled.push(end());
        let (facts, _) = tell(&original);
        let (again, _) = tell(&shuffled);
        prop_assert_eq!(facts.snapshot(), again.snapshot());
        prop_assert_eq!(facts, again);
    }

    #[test]
    fn without_its_end_a_call_is_the_same_in_every_order_unless_a_recording_comes_first(
        (original, shuffled) in arrivals(events())
    ) {
        // What comes after a call ends it where nothing else says that there is a call.
        let comes_late = |events: &[CallEvent]| {
            let mut facts = CallFacts::default();
            events.iter().filter(|event| !matches!(event.signal, Signal::PresumedOver { .. })).all(|event| {
                let call = facts.snapshot();
                let is_known = match &event.signal {
                    Signal::Learned | Signal::Raw { meaning: RawMeaning::Over, .. } => facts.was_witnessed(),
                    Signal::Raw { meaning: RawMeaning::Transcribed, .. } => {
                        facts.was_witnessed() && (call.answered_at.is_some() || call.status == Status::Ended)
                    }
                    _ => true,
                };
                facts.absorb(event);
                is_known
            })
        };
        prop_assume!(comes_late(&original) && comes_late(&shuffled));
        let ((facts, _), (again, _)) = (tell(&original), tell(&shuffled));
        prop_assert_eq!(facts, again);
    }

    #[test]
    fn a_status_never_goes_backwards_unless_a_presumed_end_is_withdrawn((_, shuffled) in arrivals(events())) {
        let mut facts = CallFacts::default();
        let mut has_ended = false;
        for event in &shuffled {
            let next = apply_webhook(&facts, event);
            if next.changes.iter().any(withdraws_an_end) {
                prop_assert!(!has_ended, "only a presumed end is withdrawn");
            } else if facts.was_witnessed() {
                prop_assert!(rank(facts.snapshot().status) <= rank(next.facts.snapshot().status));
            }
            has_ended |= matches!(event.signal, Signal::Ended(_) | Signal::VoicemailLeft);
            facts = next.facts;
        }
    }

    #[test]
    fn an_end_is_emitted_once_unless_withdrawn_and_a_voicemail_at_most_once((_, shuffled) in arrivals(events())) {
        let (facts, emitted) = tell(&shuffled);
        let ends = emitted.iter().filter(|change| **change == CallChange::Ended).count();
        let voicemails = emitted.iter().filter(|change| **change == CallChange::VoicemailReceived).count();
        let call = facts.snapshot();
        let withdrawals = emitted.iter().filter(|change| withdraws_an_end(change)).count();
        let is_over = facts.was_witnessed() && call.status == Status::Ended;
        prop_assert_eq!(ends, withdrawals + usize::from(is_over), "{:?}", emitted);
        prop_assert_eq!(voicemails, usize::from(facts.was_witnessed() && call.voicemail.is_some()));
        if facts.was_witnessed() {
            let is_over = call.status == Status::Ended;
            prop_assert_eq!((call.outcome.is_some(), call.ended_at.is_some()), (is_over, is_over));
        }
    }

    #[test]
    fn a_webhook_that_is_known_already_is_not_emitted((original, _) in arrivals(events())) {
        let (facts, _) = tell(&original);
        for event in original.iter().filter(|event| !matches!(event.signal, Signal::Raw { .. })) {
            prop_assert_eq!(apply_webhook(&facts, event).changes, vec![]);
        }
    }

    #[test]
    fn facts_survive_the_store((original, _) in arrivals(events())) {
        let (facts, _) = tell(&original);
        let json = serde_json::to_string(&facts).expect("facts are JSON");
        prop_assert_eq!(serde_json::from_str::<CallFacts>(&json).expect("and back"), facts);
    }
}
