use cti_simulator::flows::EventType;

use super::*;

const EVER: i64 = i64::MAX;

fn webhook(call: i64, expected_event: Option<EventType>, sent_at: i64) -> Delivery {
    Delivery {
        n: 0,
        run_id: "run-1".to_owned(),
        call_id: Some(call),
        message_id: None,
        state_or_type: String::new(),
        expected_event,
        url: String::new(),
        sent_at,
        acked_at: Some(sent_at + 900),
        attempts: 1,
        status: Some(200),
        error: None,
    }
}

fn event(seq: i64, call: i64, kind: &str) -> Event {
    Event { kind: kind.to_owned(), seq, dialpad_call_id: Some(call), ..Event::default() }
}

fn counts(tally: &Tally, until: i64) -> (u64, u64, u64, u64) {
    let summary = tally.summary(until);
    (summary.events_sent, summary.received, summary.lost, summary.duplicated)
}

#[test]
fn an_event_and_its_webhook_find_each_other_whichever_is_known_first() {
    let mut tally = Tally::behind(0);
    assert_eq!(tally.arrived(&event(1, 7, "call.ring"), 3_000), Standing::Early);
    assert!(!tally.is_settled(EVER));
    assert_eq!(
        tally.sent(&webhook(7, Some(EventType::CallRing), 1_000)),
        Some(Answered { seq: 1, latency: 2_000 })
    );
    assert_eq!(tally.sent(&webhook(7, Some(EventType::CallEnded), 10_000)), None);
    assert!(!tally.is_settled(EVER));
    assert_eq!(tally.arrived(&event(2, 7, "call.ended"), 14_000), Standing::Answer(4_000));
    assert!(tally.is_settled(EVER));
    assert_eq!(counts(&tally, EVER), (2, 2, 0, 0));
    assert!(tally.open.is_empty(), "accounts in balance are not kept");
}

#[test]
fn a_webhook_that_nothing_came_of_is_a_lost_event() {
    let mut tally = Tally::behind(0);
    tally.sent(&webhook(7, Some(EventType::CallRing), 1_000));
    assert_eq!(counts(&tally, EVER), (1, 0, 1, 0));
    assert_eq!(tally.summary(EVER).missing, ["call.ring of 7"]);
}

#[test]
fn an_event_of_one_call_does_not_answer_for_another() {
    let mut tally = Tally::behind(0);
    tally.sent(&webhook(7, Some(EventType::CallRing), 1_000));
    tally.arrived(&event(1, 8, "call.ring"), 2_000);
    assert_eq!(counts(&tally, EVER), (1, 0, 1, 1));
}

#[test]
fn more_events_than_webhooks_are_duplicates() {
    let mut tally = Tally::behind(0);
    for at in [1_000, 5_000] {
        tally.sent(&webhook(7, Some(EventType::CallHeld), at));
    }
    for seq in 1..=3 {
        tally.arrived(&event(seq, 7, "call.held"), 10_000);
    }
    assert_eq!(counts(&tally, EVER), (2, 2, 0, 1));
}

#[test]
fn the_same_place_twice_is_a_duplicate_and_answers_nothing() {
    let mut tally = Tally::behind(4);
    tally.sent(&webhook(7, Some(EventType::CallRing), 1_000));
    tally.sent(&webhook(7, Some(EventType::CallStarted), 1_500));
    tally.arrived(&event(5, 7, "call.ring"), 2_000);
    assert_eq!(tally.arrived(&event(5, 7, "call.started"), 3_000), Standing::Repeated);
    assert_eq!(counts(&tally, EVER), (2, 1, 1, 1));
}

#[test]
fn a_hole_in_the_feed_is_lost_but_not_twice() {
    let mut tally = Tally::behind(0);
    tally.sent(&webhook(7, Some(EventType::CallRing), 1_000));
    tally.sent(&webhook(7, Some(EventType::CallEnded), 2_000));
    tally.arrived(&event(2, 7, "call.ended"), 3_000);
    assert_eq!(counts(&tally, EVER), (2, 1, 1, 0));

    let mut tally = Tally::behind(0);
    tally.arrived(&event(3, 7, "call.updated"), 3_000);
    assert_eq!(counts(&tally, EVER), (0, 0, 2, 0));
}

#[test]
fn knowledge_and_news_of_the_app_need_no_webhook() {
    let mut tally = Tally::behind(0);
    let connected = Event { kind: "connection.connected".to_owned(), seq: 1, ..Event::default() };
    assert_eq!(tally.arrived(&connected, 1_000), Standing::Aside);
    assert_eq!(tally.arrived(&event(2, 7, "call.updated"), 2_000), Standing::Aside);
    assert_eq!(tally.sent(&webhook(7, None, 1_500)), None);
    assert!(tally.is_settled(EVER));
    assert_eq!(counts(&tally, EVER), (0, 0, 0, 0));
    assert_eq!(tally.summary(EVER).updates, 2);
}

#[test]
fn knowledge_that_a_webhook_must_tell_is_received() {
    let mut tally = Tally::behind(0);
    tally.arrived(&event(1, 7, "call.updated"), 1_000);
    tally.arrived(&event(2, 7, "call.updated"), 5_000);
    let answered = tally.sent(&webhook(7, Some(EventType::CallUpdated), 4_000));
    assert_eq!(answered, Some(Answered { seq: 2, latency: 1_000 }));
    assert_eq!(counts(&tally, EVER), (1, 1, 0, 0));
}

#[test]
fn what_is_on_its_way_when_somebody_leaves_does_not_count() {
    let mut tally = Tally::behind(0);
    tally.sent(&webhook(7, Some(EventType::CallRing), 1_000));
    tally.arrived(&event(1, 7, "call.ring"), 2_000);
    tally.sent(&webhook(8, Some(EventType::CallRing), 9_000));
    tally.arrived(&event(2, 9, "call.ring"), 9_500);
    assert!(tally.is_settled(8_000));
    assert_eq!(counts(&tally, 8_000), (1, 1, 0, 0));
    assert_eq!(counts(&tally, EVER), (2, 1, 1, 1));
}

#[test]
fn the_median_is_a_latency_that_was_measured() {
    let mut tally = Tally::behind(0);
    assert_eq!(tally.summary(EVER).median_latency_ms, None);
    for (seq, latency) in [(1, 4_000), (2, 1_000), (3, 2_000), (4, 3_500)] {
        tally.sent(&webhook(seq, Some(EventType::CallRing), 1_000));
        tally.arrived(&event(seq, seq, "call.ring"), 1_000 + latency);
    }
    let summary = tally.summary(EVER);
    assert_eq!((summary.median_latency_ms, summary.worst_latency_ms), (Some(2.0), Some(4.0)));
}
