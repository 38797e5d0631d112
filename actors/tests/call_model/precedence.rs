//! What is reported goes before what is measured: one test for each cell of the table in `model/call/snapshot.rs`.

use cti_actors::model::call::{
    CallEvent, Direction, EndKind, Knowledge, Leg, Millis, Outcome, Signal, Snapshot,
};

use super::{at, event, permutations, presumed, tell};

const HANGUP: Signal = Signal::Ended(EndKind::Hangup);

/// A hangup that reports something.
fn hangup(second: i64, report: impl FnOnce(&mut Knowledge)) -> CallEvent {
    let mut hangup = event(second, HANGUP);
    report(&mut hangup.knowledge);
    hangup
}

fn seconds(length: i64) -> Option<Millis> {
    Some(Millis::from(length * 1000))
}

/// Returns the call, which is the same in every order of its webhooks.
fn call(life: &[CallEvent]) -> Snapshot {
    let expected = tell(life).0.snapshot();
    for order in permutations(life) {
        assert_eq!(tell(&order).0.snapshot(), expected, "{order:#?}");
    }
    expected
}

fn of_group(mut life: Vec<CallEvent>) -> Vec<CallEvent> {
    life.iter_mut().for_each(|event| event.knowledge.leg = Some(Leg::Group));
    life
}

#[test]
fn a_length_of_talk_proves_an_answer_without_any_connection() {
    let life = vec![event(0, Signal::Ringing), hangup(65, |it| it.talk_ms = seconds(60))];
    for life in [life.clone(), of_group(life)] {
        let call = call(&life);
        assert_eq!((call.outcome, call.answered_at), (Some(Outcome::Answered), Some(at(5))));
        assert_eq!((call.talk_seconds, call.hold_seconds), (Some(60), Some(0)));
    }
}

#[test]
fn a_length_of_talk_proves_an_answer_even_of_a_missed_call_and_beside_a_voicemail() {
    let mut left = hangup(65, |it| it.talk_ms = seconds(40));
    left.knowledge.voicemail_url = Some("https://dialpad.com/v/1".into());
    let call = call(&[event(0, Signal::Ringing), event(20, Signal::Ended(EndKind::Missed)), left]);
    assert_eq!((call.outcome, call.answered_at), (Some(Outcome::Answered), Some(at(25))));
    assert!(call.voicemail.is_some());
}

#[test]
fn holds_are_no_talk_when_the_answer_is_reckoned_back_from_the_end() {
    let call = call(&[
        event(0, Signal::Ringing),
        hangup(100, |it| {
            (it.talk_ms, it.hold_ms) = (seconds(60), seconds(30));
        }),
    ]);
    assert_eq!((call.answered_at, call.hold_seconds), (Some(at(10)), Some(30)));
}

#[test]
fn a_voicemail_without_talk_was_answered_by_the_greeting() {
    let leave = |it: &mut Knowledge| it.voicemail_url = Some("https://dialpad.com/v/1".into());
    for reported in [Some(Millis::ZERO), None] {
        let left = hangup(60, |it| {
            leave(it);
            (it.talk_ms, it.lacks_talk) = (reported, reported.is_none());
            it.connected_at = Some(at(20));
        });
        let call = call(&[event(0, Signal::Ringing), event(20, Signal::Connected), left]);
        assert_eq!((call.outcome, call.answered_at), (Some(Outcome::Voicemail), None), "{reported:?}");
        assert_eq!((call.talk_seconds, call.hold_seconds), (Some(0), Some(0)));
    }
}

#[test]
fn a_voicemail_says_nothing_about_an_answer_where_talk_is_never_reported() {
    let life = [event(3, Signal::Connected), event(60, HANGUP), event(70, Signal::VoicemailLeft)];
    assert_eq!(call(&life).outcome, Some(Outcome::Answered));
}

#[test]
fn a_connection_without_talk_and_without_a_voicemail_is_an_answer() {
    let call = call(&[event(3, Signal::Connected), hangup(4, |it| it.talk_ms = Some(Millis::ZERO))]);
    assert_eq!((call.outcome, call.talk_seconds), (Some(Outcome::Answered), Some(0)));
}

#[test]
fn the_reported_time_of_the_answer_goes_before_that_of_the_webhook() {
    let call = call(&[event(5, Signal::Connected), hangup(60, |it| it.connected_at = Some(at(3)))]);
    assert_eq!((call.answered_at, call.talk_seconds), (Some(at(3)), Some(57)));
}

#[test]
fn the_reported_end_goes_before_the_times_of_the_signals() {
    let life = [event(3, Signal::Connected), presumed(70, 3), hangup(62, |it| it.ended_at = Some(at(60)))];
    assert_eq!(call(&life).ended_at, Some(at(60)));
    assert_eq!(call(&[life[0].clone(), life[1].clone(), event(62, HANGUP)]).ended_at, Some(at(62)));
}

#[test]
fn reported_lengths_go_before_measured_ones() {
    let life = |report: fn(&mut Knowledge)| {
        let (held, back) = (event(13, Signal::Held), event(23, Signal::Resumed));
        call(&[event(0, Signal::Ringing), event(3, Signal::Connected), held, back, hangup(63, report)])
    };
    let lengths = |call: Snapshot| (call.duration_seconds, call.talk_seconds, call.hold_seconds);
    assert_eq!(lengths(life(|_| {})), (Some(63), Some(50), Some(10)));
    assert_eq!(lengths(life(|it| it.duration_ms = seconds(64))), (Some(64), Some(50), Some(10)));
    assert_eq!(lengths(life(|it| it.talk_ms = seconds(47))), (Some(63), Some(47), Some(10)));
    assert_eq!(lengths(life(|it| it.hold_ms = seconds(12))), (Some(63), Some(48), Some(12)));
}

#[test]
fn a_length_is_rounded_once() {
    for (reported, shown) in [(2_499.99, 2), (64_499.6, 64), (499.7, 0), (500.0, 1)] {
        let call = call(&[
            event(0, Signal::Ringing),
            hangup(9, |it| it.duration_ms = Some(Millis::from_f64(reported))),
        ]);
        assert_eq!(call.duration_seconds, Some(shown), "{reported}");
    }
}

/// A caller goes through a menu at 2 and a queue; at 30 an operator takes the call, which ends at 146.
fn main_line(operator_connect: i64, talk: Option<Millis>) -> Vec<CallEvent> {
    let connected = |second: i64, date: i64, operator: Option<i64>| {
        let mut connected = event(second, Signal::Connected);
        connected.knowledge.connected_at = Some(at(date));
        connected.knowledge.operator_call_id = operator;
        connected
    };
    let over = hangup(146, |it| {
        (it.talk_ms, it.operator_call_id) = (talk, Some(9));
        it.connected_at = Some(at(operator_connect));
    });
    of_group(vec![
        event(0, Signal::Ringing),
        connected(2, 2, None),
        connected(30, operator_connect, Some(9)),
        over,
    ])
}

#[test]
fn the_talk_of_a_group_has_neither_its_menu_nor_its_queue() {
    // Dialpad's time of the connection can be that of the menu, and its length of talk can contain it.
    for (operator_connect, talk) in
        [(30, None), (2, None), (30, seconds(144)), (2, seconds(144)), (30, seconds(0))]
    {
        let call = call(&main_line(operator_connect, talk));
        assert_eq!(
            (call.answered_at, call.talk_seconds),
            (Some(at(30)), Some(116)),
            "{operator_connect} {talk:?}"
        );
    }
    assert_eq!(call(&main_line(30, seconds(100))).talk_seconds, Some(100), "a shorter one can be true");
}

#[test]
fn an_outbound_call_that_reached_a_greeting_is_no_voicemail() {
    let mut life = [event(0, Signal::Ringing), event(5, Signal::VoicemailStarted), event(30, HANGUP)];
    life.iter_mut().for_each(|event| event.knowledge.direction = Some(Direction::Outbound));
    assert_eq!(call(&life).outcome, Some(Outcome::Abandoned));
}
