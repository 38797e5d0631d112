//! Voicemails: one is emitted once however its parts arrive, ends its call, and makes an answered one no less answered.

use cti_actors::model::call::{
    CallChange, CallEvent, EndKind, Leg, Origin, Outcome, RawMeaning, Signal, Status,
};

use super::{apply_webhook, at, event, permutations, tell};

#[test]
fn a_voicemail_of_a_call_never_seen_ends_it_for_good() {
    let left = event(30, Signal::VoicemailLeft);
    let (facts, emitted) = tell(std::slice::from_ref(&left));
    assert_eq!(emitted, [CallChange::Ended, CallChange::VoicemailReceived]);
    let call = facts.snapshot();
    assert_eq!((call.status, call.outcome), (Status::Ended, Some(Outcome::Voicemail)));
    let (facts, emitted) = tell(&[left, event(0, Signal::Ringing)]);
    assert_eq!(facts.snapshot().status, Status::Ended);
    assert!(matches!(emitted[2..], [CallChange::Updated(_)]), "{emitted:?}");
}

#[test]
fn a_caller_who_was_sent_to_voicemail_and_left_nothing_was_missed() {
    let life = [
        event(0, Signal::Ringing),
        event(20, Signal::Ended(EndKind::Missed)),
        event(21, Signal::VoicemailStarted),
        event(40, Signal::Ended(EndKind::Hangup)),
    ];
    for order in permutations(&life) {
        let call = tell(&order).0.snapshot();
        assert_eq!((call.outcome, call.is_voicemail, call.voicemail), (Some(Outcome::Missed), true, None));
    }
    let mut group = life.to_vec();
    group.iter_mut().for_each(|event| event.knowledge.leg = Some(Leg::Group));
    group.remove(1);
    assert_eq!(tell(&group).0.snapshot().outcome, Some(Outcome::Missed));

    let mut all = life.to_vec();
    all.push(event(65, Signal::VoicemailLeft));
    let (_, emitted) = tell(&all);
    assert_eq!(emitted[emitted.len() - 2], CallChange::Updated(vec!["outcome"]));
    assert_eq!(emitted.last(), Some(&CallChange::VoicemailReceived));
}

fn transcribed(second: i64) -> CallEvent {
    let signal = Signal::Raw {
        state: "transcription".into(),
        payload: Box::default(),
        meaning: RawMeaning::Transcribed,
    };
    let mut transcribed = event(second, signal);
    transcribed.knowledge.voicemail_transcript = Some("Hi".into());
    transcribed
}

#[test]
fn the_transcript_of_a_conversation_is_no_voicemail() {
    let life = [event(0, Signal::Connected), event(60, Signal::Ended(EndKind::Hangup)), transcribed(90)];
    let (facts, emitted) = tell(&life);
    let call = facts.snapshot();
    let is_voicemail = call.is_voicemail || call.voicemail.is_some();
    assert_eq!((call.outcome, is_voicemail), (Some(Outcome::Answered), false));
    assert!(
        matches!(&emitted[2..], [CallChange::Raw { state, .. }] if state == "transcription"),
        "{emitted:?}"
    );
    for order in permutations(&life) {
        assert_eq!(tell(&order).0.snapshot(), call);
    }
}

#[test]
fn the_transcript_of_a_message_is_a_voicemail_even_if_all_else_was_lost() {
    let (facts, emitted) = tell(&[event(0, Signal::Ringing), transcribed(90)]);
    assert_eq!(emitted, [CallChange::Ring, CallChange::Ended, CallChange::VoicemailReceived]);
    assert_eq!(facts.snapshot().outcome, Some(Outcome::Voicemail));
    let (_, emitted) = tell(&[transcribed(90)]);
    assert_eq!(emitted, [CallChange::Ended, CallChange::VoicemailReceived]);
}

#[test]
fn a_voicemail_ends_a_ringing_call() {
    let (_, emitted) = tell(&[event(0, Signal::Ringing), event(30, Signal::VoicemailLeft)]);
    assert_eq!(emitted, [CallChange::Ring, CallChange::Ended, CallChange::VoicemailReceived]);
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
fn what_was_missed_is_emitted_at_once_with_its_voicemail() {
    let mut missed = event(60, Signal::Ended(EndKind::Hangup));
    missed.origin = Origin::Repair;
    missed.knowledge.voicemail_url = Some("https://dialpad.com/r/1".into());
    let (facts, emitted) = tell(&[missed]);
    assert_eq!(emitted, [CallChange::Ended, CallChange::VoicemailReceived]);
    assert_eq!(facts.snapshot().outcome, Some(Outcome::Voicemail));
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
    let transition = apply_webhook(&facts, &left);
    assert_eq!(transition.changes, vec![]);
    let call = transition.facts.snapshot();
    assert_eq!((call.voicemail, call.outcome), (None, Some(Outcome::Voicemail)));
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
        let (facts, emitted) = tell(&order);
        assert_eq!(facts.snapshot(), expected);
        let count = |change: &CallChange| emitted.iter().filter(|emitted| *emitted == change).count();
        assert_eq!(count(&CallChange::VoicemailReceived), 1, "{emitted:?}");
        assert_eq!(count(&CallChange::Ended), 1, "{emitted:?}");
        // The audio or the words, whichever comes second; and once more where the first of the two uploads is the later.
        assert!((1..=2).contains(&count(&CallChange::VoicemailUpdated)), "{emitted:?}");
    }
}

#[test]
fn a_message_that_a_hangup_knows_of_was_left() {
    let mut hangup = event(60, Signal::Ended(EndKind::Hangup));
    hangup.knowledge.voicemail_url = Some("https://dialpad.com/r/1".into());
    let (facts, emitted) = tell(&[event(0, Signal::Ringing), hangup]);
    assert_eq!(emitted, [CallChange::Ring, CallChange::Ended, CallChange::VoicemailReceived]);
    assert_eq!(facts.snapshot().outcome, Some(Outcome::Voicemail));
}

#[test]
fn a_message_that_was_asked_for_is_as_old_as_its_call() {
    let mut asked = event(9_000, Signal::Learned);
    asked.origin = Origin::Inquiry;
    asked.knowledge.ended_at = Some(at(60));
    asked.knowledge.voicemail_transcript = Some("Hi".into());
    let (facts, emitted) = tell(&[
        event(0, Signal::Ringing),
        event(20, Signal::VoicemailStarted),
        event(60, Signal::Ended(EndKind::Hangup)),
        asked,
    ]);
    assert_eq!(emitted.last(), Some(&CallChange::VoicemailReceived));
    assert_eq!(facts.snapshot().voicemail.map(|voicemail| voicemail.received_at), Some(at(60)));
}
