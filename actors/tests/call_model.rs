//! The promise of the call model: the order in which webhooks arrive, and how often, changes nothing.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    call::{
        CallEvent, CallFacts, Direction, EndKind, Knowledge, Leg, News, Origin, Outcome, Signal, Status,
        apply,
    },
    id::DialpadCallId,
};
use proptest::prelude::*;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_704_067_200 + second)
}

fn event(second: i64, signal: Signal) -> CallEvent {
    let knowledge = Knowledge {
        direction: Some(Direction::Inbound),
        from_number: Some("+14155551234".into()),
        to_number: Some("+14155555678".into()),
        leg: Some(Leg::Direct),
        ..Knowledge::default()
    };
    CallEvent {
        dialpad_call_id: DialpadCallId(7),
        at: at(second),
        signal,
        knowledge,
        origin: Origin::Webhook,
    }
}

/// Applies webhooks in order and gives the facts and everything that was told.
fn tell(events: &[CallEvent]) -> (CallFacts, Vec<News>) {
    let mut told = Vec::new();
    let facts = events.iter().fold(CallFacts::default(), |facts, event| {
        let transition = apply(&facts, event);
        told.extend(transition.news);
        transition.facts
    });
    (facts, told)
}

fn signals() -> impl Strategy<Value = Signal> {
    prop_oneof![
        3 => Just(Signal::Ringing),
        3 => Just(Signal::Connected),
        2 => Just(Signal::Held),
        2 => Just(Signal::Resumed),
        2 => Just(Signal::Ended(EndKind::Hangup)),
        1 => Just(Signal::Ended(EndKind::Missed)),
        1 => Just(Signal::Ended(EndKind::Rejected)),
        1 => Just(Signal::Ended(EndKind::Presumed)),
        1 => Just(Signal::VoicemailStarted),
        1 => Just(Signal::VoicemailLeft),
        2 => Just(Signal::Learned),
    ]
}

/// A webhook with any knowledge. Instants are few, so that many webhooks share one.
fn events() -> impl Strategy<Value = CallEvent> {
    let knowledge = (
        prop::option::of(prop_oneof![Just(Direction::Inbound), Just(Direction::Outbound)]),
        prop::option::of(0..3_i64),
        prop::option::of(0..20_i64),
        prop::option::of(0..20_i64),
        prop::option::of(0..100_000_i64),
        prop::option::of("[ab]"),
        prop_oneof![Just(None), Just(Some(9))],
        prop_oneof![4 => Just(Origin::Webhook), 1 => Just(Origin::Repair), 1 => Just(Origin::Inquiry)],
    );
    (0..20_i64, signals(), knowledge).prop_map(|(second, signal, known)| {
        let (direction, user, connected, ended, duration_ms, url, operator, origin) = known;
        let knowledge = Knowledge {
            direction,
            dialpad_user_id: user,
            // A leg's target never changes; whose leg it is, is the same in all its webhooks.
            leg: Some(Leg::Group),
            operator_call_id: operator,
            connected_at: connected.map(at),
            ended_at: ended.map(at),
            duration_ms,
            hold_ms: duration_ms.map(|ms| ms / 10),
            recording_url: url.clone(),
            voicemail_url: url.clone(),
            voicemail_transcript: url,
            ..Knowledge::default()
        };
        CallEvent { dialpad_call_id: DialpadCallId(7), at: at(second), signal, knowledge, origin }
    })
}

/// Up to 8 webhooks, and the same ones shuffled with some of them repeated.
fn arrivals() -> impl Strategy<Value = (Vec<CallEvent>, Vec<CallEvent>)> {
    prop::collection::vec(events(), 1..=8).prop_flat_map(|original| {
        let repeats = prop::collection::vec(0..original.len(), 0..=8);
        (Just(original), repeats).prop_flat_map(|(original, repeats)| {
            let mut all = original.clone();
            all.extend(repeats.into_iter().map(|index| original[index].clone()));
            (Just(original), Just(all).prop_shuffle())
        })
    })
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
    fn every_permutation_and_repetition_gives_the_same_call((original, shuffled) in arrivals()) {
        let (facts, _) = tell(&original);
        let (again, _) = tell(&shuffled);
        prop_assert_eq!(facts.snapshot(), again.snapshot());
        prop_assert_eq!(facts, again);
    }

    #[test]
    fn a_status_never_goes_backwards((_, shuffled) in arrivals()) {
        let mut facts = CallFacts::default();
        for event in &shuffled {
            let next = apply(&facts, event).facts;
            if facts.was_witnessed() {
                prop_assert!(rank(facts.snapshot().status) <= rank(next.snapshot().status));
            }
            facts = next;
        }
    }

    #[test]
    fn an_end_and_a_voicemail_are_told_at_most_once((_, shuffled) in arrivals()) {
        let (facts, told) = tell(&shuffled);
        let ends = told.iter().filter(|news| **news == News::Ended).count();
        let voicemails = told.iter().filter(|news| **news == News::VoicemailReceived).count();
        prop_assert!(ends <= 1 && voicemails <= 1);
        prop_assert_eq!(voicemails == 1, facts.snapshot().voicemail.is_some());
    }

    #[test]
    fn a_webhook_that_is_known_already_is_not_told((original, _) in arrivals()) {
        let (facts, _) = tell(&original);
        for event in &original {
            prop_assert_eq!(apply(&facts, event).news, vec![]);
        }
    }

    #[test]
    fn facts_survive_the_store((original, _) in arrivals()) {
        let (facts, _) = tell(&original);
        let json = serde_json::to_string(&facts).expect("facts are JSON");
        prop_assert_eq!(serde_json::from_str::<CallFacts>(&json).expect("and back"), facts);
    }
}

#[test]
fn a_call_with_a_hold_is_told_step_by_step() {
    let (facts, told) = tell(&[
        event(0, Signal::Ringing),
        event(3, Signal::Connected),
        event(45, Signal::Held),
        event(50, Signal::Resumed),
        event(180, Signal::Ended(EndKind::Hangup)),
    ]);
    assert_eq!(told, [News::Ring, News::Started, News::Held(at(45)), News::Resumed(at(50)), News::Ended]);
    let call = facts.snapshot();
    assert_eq!((call.status, call.outcome), (Status::Ended, Some(Outcome::Answered)));
    assert_eq!(
        (call.duration_seconds, call.talk_seconds, call.hold_seconds),
        (Some(180), Some(172), Some(5))
    );
}

#[test]
fn a_whole_life_within_one_second_is_told_step_by_step() {
    let (_, told) = tell(&[
        event(0, Signal::Ringing),
        event(0, Signal::Connected),
        event(0, Signal::Held),
        event(0, Signal::Resumed),
        event(0, Signal::Ended(EndKind::Hangup)),
    ]);
    assert_eq!(told, [News::Ring, News::Started, News::Held(at(0)), News::Resumed(at(0)), News::Ended]);
}

#[test]
fn a_second_connected_ends_a_hold() {
    let (_, told) = tell(&[event(1, Signal::Connected), event(5, Signal::Held), event(9, Signal::Connected)]);
    assert_eq!(told, [News::Started, News::Held(at(5)), News::Resumed(at(9))]);
}

#[test]
fn what_arrives_after_the_end_only_adds_knowledge() {
    let (facts, told) = tell(&[
        event(0, Signal::Ringing),
        event(60, Signal::Ended(EndKind::Hangup)),
        event(10, Signal::Connected),
    ]);
    assert_eq!(told[..2], [News::Ring, News::Ended]);
    assert!(matches!(&told[2], News::Updated(changed) if changed.contains(&"answered_at")), "{told:?}");
    assert_eq!(facts.snapshot().outcome, Some(Outcome::Answered));
}

#[test]
fn missed_and_hangup_make_one_end_in_either_order() {
    let missed = event(20, Signal::Ended(EndKind::Missed));
    let hangup = event(21, Signal::Ended(EndKind::Hangup));
    for pair in [[&missed, &hangup], [&hangup, &missed]] {
        let (facts, told) = tell(&[event(0, Signal::Ringing), pair[0].clone(), pair[1].clone()]);
        assert_eq!(told.iter().filter(|news| **news == News::Ended).count(), 1);
        assert_eq!(facts.snapshot().outcome, Some(Outcome::Missed));
        assert_eq!(facts.snapshot().ended_at, Some(at(21)));
    }
}

#[test]
fn a_voicemail_of_a_call_never_seen_is_told_alone() {
    let (facts, told) = tell(&[event(0, Signal::VoicemailLeft)]);
    assert_eq!(told, [News::VoicemailReceived]);
    let call = facts.snapshot();
    assert_eq!((call.status, call.outcome), (Status::Ended, Some(Outcome::Voicemail)));
}

#[test]
fn a_voicemail_ends_a_ringing_call() {
    let (_, told) = tell(&[event(0, Signal::Ringing), event(30, Signal::VoicemailLeft)]);
    assert_eq!(told, [News::Ring, News::Ended, News::VoicemailReceived]);
}

#[test]
fn an_answered_call_stays_answered_whatever_voicemail_hangs_on_it() {
    let (facts, _) = tell(&[
        event(0, Signal::Connected),
        event(9, Signal::Ended(EndKind::Hangup)),
        event(30, Signal::VoicemailLeft),
    ]);
    assert_eq!(facts.snapshot().outcome, Some(Outcome::Answered));
}

#[test]
fn a_caller_in_a_menu_was_not_answered() {
    let mut menu = event(0, Signal::Connected);
    menu.knowledge.leg = Some(Leg::Group);
    let mut left = event(9, Signal::Ended(EndKind::Hangup));
    left.knowledge.leg = Some(Leg::Group);
    let (facts, told) = tell(&[menu, left]);
    assert_eq!(told, [News::Ring, News::Ended]);
    assert_eq!(facts.snapshot().outcome, Some(Outcome::Abandoned));
    assert_eq!(facts.snapshot().talk_seconds, Some(0));
}

#[test]
fn an_outbound_call_that_nobody_answered_was_abandoned() {
    let mut events = [event(0, Signal::Ringing), event(9, Signal::Ended(EndKind::Hangup))];
    events.iter_mut().for_each(|event| event.knowledge.direction = Some(Direction::Outbound));
    assert_eq!(tell(&events).0.snapshot().outcome, Some(Outcome::Abandoned));
}

#[test]
fn a_recording_of_a_call_never_seen_does_not_make_it_live() {
    let mut learned = event(0, Signal::Learned);
    learned.knowledge.recording_url = Some("https://dialpad.com/r/1".into());
    let (facts, told) = tell(std::slice::from_ref(&learned));
    assert_eq!(facts.snapshot().status, Status::Ended);
    assert!(matches!(told[..], [News::Updated(_)]));
    let (_, told) = tell(&[learned, event(0, Signal::Ringing)]);
    assert_eq!(told[1], News::Ring, "when it turns out to be live, it is told as every other call");
}

#[test]
fn a_presumed_end_gives_way_to_the_real_one() {
    let presumed = event(300, Signal::Ended(EndKind::Presumed));
    let real = event(40, Signal::Ended(EndKind::Hangup));
    let (facts, told) = tell(&[event(0, Signal::Ringing), presumed, real]);
    assert_eq!(told[..2], [News::Ring, News::Ended]);
    assert!(matches!(&told[2], News::Updated(changed) if changed.contains(&"ended_at")), "{told:?}");
    assert_eq!(facts.snapshot().ended_at, Some(at(40)));
}

#[test]
fn what_was_missed_is_told_at_once_with_its_voicemail() {
    let mut missed = event(60, Signal::Ended(EndKind::Hangup));
    missed.origin = Origin::Repair;
    missed.knowledge.voicemail_url = Some("https://dialpad.com/r/1".into());
    let (facts, told) = tell(&[missed]);
    assert_eq!(told, [News::Ended, News::VoicemailReceived]);
    assert_eq!(facts.snapshot().outcome, Some(Outcome::Voicemail));
}

#[test]
fn a_state_without_a_name_is_passed_on_and_changes_nothing() {
    let raw = event(5, Signal::Raw { state: "barge".into(), payload: Box::default() });
    let (facts, told) = tell(&[event(0, Signal::Ringing), raw]);
    assert!(matches!(&told[1], News::Raw { state, .. } if state == "barge"));
    assert_eq!(facts, tell(&[event(0, Signal::Ringing)]).0);
}

#[test]
fn a_voicemail_that_was_deleted_does_not_come_back() {
    let mut left = event(30, Signal::VoicemailLeft);
    left.knowledge.voicemail_transcript = Some("Hi".into());
    left.knowledge.voicemail_url = Some("https://dialpad.com/v/1".into());
    let (mut facts, _) = tell(std::slice::from_ref(&left));
    assert!(facts.forget_voicemail());
    assert!(!facts.forget_voicemail(), "there is nothing left to forget");
    assert!(!serde_json::to_string(&facts).expect("facts are JSON").contains("Hi"));
    left.at = at(60);
    let transition = apply(&facts, &left);
    assert_eq!(transition.news, vec![]);
    let call = transition.facts.snapshot();
    assert_eq!((call.voicemail, call.outcome), (None, Some(Outcome::Voicemail)));
}

fn permutations(items: &[CallEvent]) -> Vec<Vec<CallEvent>> {
    let Some((last, rest)) = items.split_last() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for shorter in permutations(rest) {
        for place in 0..=shorter.len() {
            let mut longer = shorter.clone();
            longer.insert(place, last.clone());
            all.push(longer);
        }
    }
    all
}

/// A voicemail's life: rung, missed, talked to the machine, hung up, audio (sent twice), words.
fn voicemail_life() -> [CallEvent; 7] {
    let mut uploaded = event(65, Signal::VoicemailLeft);
    uploaded.knowledge.voicemail_url = Some("https://dialpad.com/r/1".into());
    uploaded.knowledge.voicemail_id = Some("77".into());
    let mut uploaded_again = uploaded.clone();
    uploaded_again.at = at(66);
    let mut transcribed = event(90, Signal::VoicemailLeft);
    transcribed.knowledge.voicemail_transcript = Some("Hi".into());
    [
        event(0, Signal::Ringing),
        event(20, Signal::Ended(EndKind::Missed)),
        event(21, Signal::VoicemailStarted),
        event(60, Signal::Ended(EndKind::Hangup)),
        uploaded,
        uploaded_again,
        transcribed,
    ]
}

#[test]
fn all_5040_orders_of_a_voicemails_life_give_one_voicemail() {
    let life = voicemail_life();
    let expected = tell(&life).0.snapshot();
    let voicemail = expected.voicemail.clone().expect("a message was left");
    assert_eq!(voicemail.recording_url.as_deref(), Some("https://dialpad.com/r/1"));
    assert_eq!((voicemail.transcript.as_deref(), voicemail.received_at), (Some("Hi"), at(65)));
    assert_eq!((expected.outcome, expected.ended_at), (Some(Outcome::Voicemail), Some(at(60))));
    for order in permutations(&life) {
        let (facts, told) = tell(&order);
        assert_eq!(facts.snapshot(), expected);
        let count = |news: &News| told.iter().filter(|told| *told == news).count();
        assert_eq!(count(&News::VoicemailReceived), 1, "{told:?}");
        assert!(count(&News::Ended) <= 1, "{told:?}");
        // The audio or the words, whichever comes second; and once more where the first of the two uploads is the later.
        assert!((1..=2).contains(&count(&News::VoicemailUpdated)), "{told:?}");
    }
}

#[test]
fn a_message_that_a_hangup_knows_of_was_left() {
    let mut hangup = event(60, Signal::Ended(EndKind::Hangup));
    hangup.knowledge.voicemail_url = Some("https://dialpad.com/r/1".into());
    let (facts, told) = tell(&[event(0, Signal::Ringing), hangup]);
    assert_eq!(told, [News::Ring, News::Ended, News::VoicemailReceived]);
    assert_eq!(facts.snapshot().outcome, Some(Outcome::Voicemail));
}

#[test]
fn a_message_that_was_asked_for_is_as_old_as_its_call() {
    let mut asked = event(9_000, Signal::Learned);
    asked.origin = Origin::Inquiry;
    asked.knowledge.ended_at = Some(at(60));
    asked.knowledge.voicemail_transcript = Some("Hi".into());
    let (facts, told) = tell(&[
        event(0, Signal::Ringing),
        event(20, Signal::VoicemailStarted),
        event(60, Signal::Ended(EndKind::Hangup)),
        asked,
    ]);
    assert_eq!(told.last(), Some(&News::VoicemailReceived));
    assert_eq!(facts.snapshot().voicemail.map(|voicemail| voicemail.received_at), Some(at(60)));
}

#[test]
fn what_may_only_be_looked_at_is_shown_until_there_is_something_to_hear() {
    let mut admin = event(9, Signal::Learned);
    admin.knowledge.recording_spare_url = Some("https://dialpad.com/blob/adminrecording/1.mp3".into());
    let mut recording = event(5, Signal::Learned);
    recording.knowledge.recording_url = Some("https://dialpad.com/r/1".into());
    for order in permutations(&[event(0, Signal::Connected), recording, admin]) {
        assert_eq!(tell(&order).0.snapshot().recording_url.as_deref(), Some("https://dialpad.com/r/1"));
    }
}
