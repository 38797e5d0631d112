//! What calls come to, and what is emitted on the way, one story each.

use cti_actors::model::call::{CallChange, Direction, EndKind, Leg, Outcome, Signal, Status};

use super::{at, event, permutations, tell};

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

#[test]
fn a_recording_of_a_call_never_seen_does_not_make_it_live() {
    let mut learned = event(0, Signal::Learned);
    learned.knowledge.recording_url = Some("https://dialpad.com/r/1".into());
    let (facts, emitted) = tell(std::slice::from_ref(&learned));
    assert_eq!(facts.snapshot().status, Status::Ended);
    assert!(matches!(emitted[..], [CallChange::Updated(_)]));
    let (_, emitted) = tell(&[learned, event(0, Signal::Ringing)]);
    assert_eq!(
        emitted[1],
        CallChange::Ring,
        "when it turns out to be live, it is emitted as every other call"
    );
}

#[test]
fn a_presumed_end_gives_way_to_the_real_one() {
    let presumed = event(300, Signal::Ended(EndKind::Presumed));
    let real = event(40, Signal::Ended(EndKind::Hangup));
    let (facts, emitted) = tell(&[event(0, Signal::Ringing), presumed, real]);
    assert_eq!(emitted[..2], [CallChange::Ring, CallChange::Ended]);
    assert!(
        matches!(&emitted[2], CallChange::Updated(changed) if changed.contains(&"ended_at")),
        "{emitted:?}"
    );
    assert_eq!(facts.snapshot().ended_at, Some(at(40)));
}

#[test]
fn a_state_without_a_name_is_passed_on_and_changes_nothing() {
    let raw = event(5, Signal::Raw { state: "barge".into(), payload: Box::default() });
    let (facts, emitted) = tell(&[event(0, Signal::Ringing), raw]);
    assert!(matches!(&emitted[1], CallChange::Raw { state, .. } if state == "barge"));
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
