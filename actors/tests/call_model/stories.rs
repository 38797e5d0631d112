//! What calls come to, and what is emitted on the way, one story each.

use cti_actors::model::call::{
    CallChange, CallFacts, DialpadState, Direction, EndKind, Leg, Outcome, RawMeaning, Signal, Status,
};

use super::{apply_webhook, at, event, permutations, presumed, tell};

#[test]
fn a_call_with_a_hold_is_emitted_step_by_step() {
    let (facts, emitted) = tell(&[
        event(0, Signal::Ringing),
        event(3, Signal::Connected),
        event(45, Signal::Held),
        event(50, Signal::Resumed),
        event(180, Signal::Ended(EndKind::Hangup)),
    ]);
    assert_eq!(
        emitted,
        [
            CallChange::Ring,
            CallChange::Started,
            CallChange::Held(at(45)),
            CallChange::Resumed(at(50)),
            CallChange::Ended
        ]
    );
    let call = facts.snapshot();
    assert_eq!((call.status, call.outcome), (Status::Ended, Some(Outcome::Answered)));
    assert_eq!(
        (call.duration_seconds, call.talk_seconds, call.hold_seconds),
        (Some(180), Some(172), Some(5))
    );
}

#[test]
fn a_whole_life_within_one_second_is_emitted_step_by_step() {
    let (_, emitted) = tell(&[
        event(0, Signal::Ringing),
        event(0, Signal::Connected),
        event(0, Signal::Held),
        event(0, Signal::Resumed),
        event(0, Signal::Ended(EndKind::Hangup)),
    ]);
    assert_eq!(
        emitted,
        [
            CallChange::Ring,
            CallChange::Started,
            CallChange::Held(at(0)),
            CallChange::Resumed(at(0)),
            CallChange::Ended
        ]
    );
}

#[test]
fn a_second_connected_ends_a_hold() {
    let (_, emitted) =
        tell(&[event(1, Signal::Connected), event(5, Signal::Held), event(9, Signal::Connected)]);
    assert_eq!(emitted, [CallChange::Started, CallChange::Held(at(5)), CallChange::Resumed(at(9))]);
}

#[test]
fn what_arrives_after_the_end_only_adds_knowledge() {
    let (facts, emitted) = tell(&[
        event(0, Signal::Ringing),
        event(60, Signal::Ended(EndKind::Hangup)),
        event(10, Signal::Connected),
    ]);
    assert_eq!(emitted[..2], [CallChange::Ring, CallChange::Ended]);
    assert!(
        matches!(&emitted[2], CallChange::Updated(changed) if changed.contains(&"answered_at")),
        "{emitted:?}"
    );
    assert_eq!(facts.snapshot().outcome, Some(Outcome::Answered));
}

#[test]
fn missed_and_hangup_make_one_end_in_either_order() {
    let missed = event(20, Signal::Ended(EndKind::Missed));
    let hangup = event(21, Signal::Ended(EndKind::Hangup));
    for pair in [[&missed, &hangup], [&hangup, &missed]] {
        let (facts, emitted) = tell(&[event(0, Signal::Ringing), pair[0].clone(), pair[1].clone()]);
        assert_eq!(emitted.iter().filter(|change| **change == CallChange::Ended).count(), 1);
        assert_eq!(facts.snapshot().outcome, Some(Outcome::Missed));
        assert_eq!(facts.snapshot().ended_at, Some(at(21)));
    }
}

#[test]
fn a_caller_in_a_menu_was_not_answered() {
    let mut menu = event(0, Signal::Connected);
    menu.knowledge.leg = Some(Leg::Group);
    let mut left = event(9, Signal::Ended(EndKind::Hangup));
    left.knowledge.leg = Some(Leg::Group);
    let (facts, emitted) = tell(&[menu, left]);
    assert_eq!(emitted, [CallChange::Ring, CallChange::Ended]);
    assert_eq!(facts.snapshot().outcome, Some(Outcome::Abandoned));
    assert_eq!(facts.snapshot().talk_seconds, Some(0));
}

#[test]
fn an_outbound_call_that_nobody_answered_was_abandoned() {
    let mut events = [event(0, Signal::Ringing), event(9, Signal::Ended(EndKind::Hangup))];
    events.iter_mut().for_each(|event| event.knowledge.direction = Some(Direction::Outbound));
    assert_eq!(tell(&events).0.snapshot().outcome, Some(Outcome::Abandoned));
}

fn raw(state: &str, meaning: RawMeaning) -> Signal {
    Signal::Raw { state: state.into(), payload: Box::default(), meaning }
}

#[test]
fn a_call_of_which_only_a_recording_is_known_has_ended_and_stays_so() {
    let mut learned = event(90, Signal::Learned);
    learned.knowledge.recording_url = Some("https://dialpad.com/r/1".into());
    let (facts, emitted) = tell(std::slice::from_ref(&learned));
    assert_eq!(emitted, [CallChange::Ended]);
    let call = facts.snapshot();
    assert_eq!(
        (call.status, call.outcome, call.ended_at),
        (Status::Ended, Some(Outcome::Answered), Some(at(90)))
    );
    assert_eq!((call.answered_at, call.talk_seconds), (None, None));

    let rest =
        [event(0, Signal::Ringing), event(3, Signal::Connected), event(60, Signal::Ended(EndKind::Hangup))];
    let all: Vec<_> = [learned].into_iter().chain(rest).collect();
    let (facts, emitted) = tell(&all);
    assert_eq!(emitted[0], CallChange::Ended);
    assert!(emitted[1..].iter().all(|change| matches!(change, CallChange::Updated(_))), "{emitted:?}");
    let expected = tell(&[all[1].clone(), all[2].clone(), all[3].clone(), all[0].clone()]).0;
    assert_eq!(facts, expected, "once the end is known, the order is forgotten");
    assert_eq!(facts.snapshot().ended_at, Some(at(60)));
}

#[test]
fn a_recording_of_a_live_call_does_not_end_it() {
    let (facts, emitted) = tell(&[event(0, Signal::Connected), event(30, Signal::Learned)]);
    assert_eq!((facts.snapshot().status, emitted.len()), (Status::Active, 1));
}

#[test]
fn what_comes_after_a_call_ends_it_when_it_says_when() {
    for signal in [Signal::Learned, raw("recap_summary", RawMeaning::Over)] {
        let mut after = event(300, signal);
        after.knowledge.ended_at = Some(at(120));
        after.knowledge.talk_ms = Some(116_000.into());
        let (facts, emitted) = tell(&[event(0, Signal::Ringing), event(3, Signal::Connected), after]);
        assert_eq!(emitted[2], CallChange::Ended);
        let call = facts.snapshot();
        assert_eq!((call.ended_at, call.talk_seconds), (Some(at(120)), Some(116)));
    }
}

#[test]
fn states_in_which_two_sides_talk_end_a_hold() {
    let talking = event(40, raw("merged", RawMeaning::Talking));
    let life = [
        event(3, Signal::Connected),
        event(20, Signal::Held),
        talking,
        event(100, Signal::Ended(EndKind::Hangup)),
    ];
    let (_, emitted) = tell(&life);
    assert_eq!(emitted[..2], [CallChange::Started, CallChange::Held(at(20))]);
    assert_eq!(emitted[2], CallChange::Resumed(at(40)));
    assert!(matches!(&emitted[3], CallChange::Raw { state, .. } if state == "merged"));
    assert_eq!(emitted[4..], [CallChange::Ended]);
    assert!(matches!(tell(&life[2..3]).1[..], [CallChange::Raw { .. }]), "by itself it makes no call");
    for order in permutations(&life) {
        let call = tell(&order).0.snapshot();
        assert_eq!((call.hold_seconds, call.talk_seconds), (Some(20), Some(77)));
    }
}

#[test]
fn each_state_before_the_answer_is_shown() {
    let states = [DialpadState::Ringing, DialpadState::Queued, DialpadState::Ringing];
    let mut life: Vec<_> = states
        .into_iter()
        .zip(0..)
        .map(|(state, second)| {
            let mut ring = event(second, Signal::Ringing);
            ring.knowledge.dialpad_state = Some(state);
            ring
        })
        .collect();
    let mut connected = event(9, Signal::Connected);
    connected.knowledge.dialpad_state = Some(DialpadState::Connected);
    life.push(connected);
    let update = || CallChange::Updated(vec!["dialpad_state"]);
    let (facts, emitted) = tell(&life);
    assert_eq!(emitted, [CallChange::Ring, update(), update(), CallChange::Started]);
    assert_eq!(facts.snapshot().dialpad_state, Some(DialpadState::Connected));
    let backwards: Vec<_> = life.into_iter().rev().collect();
    let (facts, emitted) = tell(&backwards);
    assert_eq!(facts.snapshot().dialpad_state, Some(DialpadState::Connected), "the newest, by its own time");
    assert!(!emitted.contains(&update()), "{emitted:?}");
}

#[test]
fn a_presumed_end_gives_way_to_the_real_one() {
    let presumed = presumed(300, 0);
    let real = event(40, Signal::Ended(EndKind::Hangup));
    let (facts, emitted) = tell(&[event(0, Signal::Ringing), presumed, real]);
    assert_eq!(emitted[..2], [CallChange::Ring, CallChange::Ended]);
    assert!(
        matches!(&emitted[2], CallChange::Updated(changed) if changed.contains(&"ended_at")),
        "{emitted:?}"
    );
    assert_eq!(facts.snapshot().ended_at, Some(at(40)));
}

fn changed(change: &CallChange) -> &[&'static str] {
    let CallChange::Updated(changed) = change else { panic!("expected an update, got {change:?}") };
    changed
}

#[test]
fn a_presumed_end_is_withdrawn_when_the_call_goes_on_and_the_real_end_is_emitted() {
    let life = [
        event(0, Signal::Ringing),
        event(3, Signal::Connected),
        presumed(9000, 3),
        event(4000, Signal::Connected),
        event(4100, Signal::Ended(EndKind::Hangup)),
    ];
    let (facts, emitted) = tell(&life[..4]);
    assert_eq!(emitted[..3], [CallChange::Ring, CallChange::Started, CallChange::Ended]);
    assert_eq!(changed(&emitted[3])[..2], ["status", "outcome"]);
    assert_eq!(emitted.len(), 4, "{emitted:?}");
    let call = facts.snapshot();
    assert_eq!((call.status, call.outcome, call.ended_at), (Status::Active, None, None));

    let (facts, emitted) = tell(&life);
    assert_eq!(emitted[4..], [CallChange::Ended]);
    assert_eq!(facts.snapshot().ended_at, Some(at(4100)));
}

#[test]
fn a_withdrawal_is_followed_by_what_has_happened_meanwhile() {
    let (_, emitted) = tell(&[event(0, Signal::Ringing), presumed(900, 0), event(20, Signal::Connected)]);
    assert_eq!(emitted[..2], [CallChange::Ring, CallChange::Ended]);
    assert_eq!(changed(&emitted[2])[0], "status");
    assert_eq!(emitted[3..], [CallChange::Started]);

    let (facts, emitted) = tell(&[event(3, Signal::Connected), presumed(900, 3), event(20, Signal::Held)]);
    assert_eq!(changed(&emitted[2])[0], "status");
    assert_eq!(emitted[3..], [CallChange::Held(at(20))]);
    assert_eq!(facts.snapshot().status, Status::Held);
}

#[test]
fn news_that_was_known_when_an_end_was_presumed_does_not_withdraw_it() {
    let life = [event(0, Signal::Ringing), event(3, Signal::Connected), presumed(900, 3)];
    for order in permutations(&life) {
        assert_eq!(tell(&order).0.snapshot().status, Status::Ended);
    }
    let (facts, emitted) = tell(&[life[0].clone(), presumed(900, 3), life[1].clone()]);
    assert_eq!(facts.snapshot().status, Status::Ended, "it was late, and is older than the presumption");
    assert!(!changed(&emitted[2]).contains(&"status"));
}

#[test]
fn an_end_can_be_presumed_again_after_it_was_withdrawn() {
    let life =
        [event(3, Signal::Connected), presumed(900, 3), event(1000, Signal::Connected), presumed(9000, 1000)];
    for order in permutations(&life) {
        let call = tell(&order).0.snapshot();
        assert_eq!((call.status, call.ended_at), (Status::Ended, Some(at(9000))));
    }
}

#[test]
fn every_end_but_a_presumed_one_is_final() {
    for end in [EndKind::Hangup, EndKind::Missed, EndKind::Rejected, EndKind::Voicemail, EndKind::Stated] {
        let (facts, emitted) =
            tell(&[event(0, Signal::Ringing), event(60, Signal::Ended(end)), event(90, Signal::Connected)]);
        assert_eq!(facts.snapshot().status, Status::Ended, "{end:?}");
        assert!(!changed(&emitted[2]).contains(&"status"), "{end:?}");
    }
}

#[test]
fn a_presumed_end_that_an_earlier_version_stored_is_withdrawn_by_later_news() {
    let stored = serde_json::json!({"rang_at": at(0), "connects": [at(3)], "ends": {"presumed": at(900)}});
    let facts: CallFacts = serde_json::from_value(stored).expect("it is read");
    let call = facts.snapshot();
    assert_eq!((call.status, call.ended_at), (Status::Ended, Some(at(900))));
    let next = apply_webhook(&facts, &event(800, Signal::Held)).facts;
    assert_eq!(next.snapshot().status, Status::Ended);
    let next = apply_webhook(&facts, &event(901, Signal::Held)).facts;
    assert_eq!(next.snapshot().status, Status::Held);
}

#[test]
fn a_state_without_a_name_is_passed_on_and_changes_nothing() {
    let raw = event(5, raw("whispered", RawMeaning::Nothing));
    let (facts, emitted) = tell(&[event(0, Signal::Ringing), raw]);
    assert!(matches!(&emitted[1], CallChange::Raw { state, .. } if state == "whispered"));
    assert_eq!(facts, tell(&[event(0, Signal::Ringing)]).0);
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
