use cti_simulator::flows::EventType;

use super::*;

const FOREVER: i64 = i64::MAX;

fn webhook(call: i64, expected_event: Option<EventType>, sent_at: i64) -> Delivery {
    Delivery {
        n: 0,
        run_id: "run-1".to_owned(),
        call_id: Some(call),
        message_id: None,
        state_or_type: String::new(),
        expected_event: expected_event,
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

fn counts(reconciliation: &Reconciliation, until: i64) -> (u64, u64, u64, u64) {
    let summary = reconciliation.summary(until);
    (summary.events_sent, summary.received, summary.lost, summary.duplicated)
}

#[test]
fn an_event_and_its_webhook_match_whichever_is_known_first() {
    let mut reconciliation = Reconciliation::after(0);
    assert_eq!(reconciliation.arrived(&event(1, 7, "call.ring"), 3_000), Match::Early);
    assert!(!reconciliation.is_settled(FOREVER));
    assert_eq!(
        reconciliation.sent(&webhook(7, Some(EventType::CallRing), 1_000)),
        Some(LateMatch { seq: 1, latency: 2_000 })
    );
    assert_eq!(reconciliation.sent(&webhook(7, Some(EventType::CallEnded), 10_000)), None);
    assert!(!reconciliation.is_settled(FOREVER));
    assert_eq!(reconciliation.arrived(&event(2, 7, "call.ended"), 14_000), Match::Matched(4_000));
    assert!(reconciliation.is_settled(FOREVER));
    assert_eq!(counts(&reconciliation, FOREVER), (2, 2, 0, 0));
    assert!(reconciliation.unmatched.is_empty(), "matched entries are removed");
}

#[test]
fn a_webhook_without_its_event_is_a_lost_event() {
    let mut reconciliation = Reconciliation::after(0);
    reconciliation.sent(&webhook(7, Some(EventType::CallRing), 1_000));
    assert_eq!(counts(&reconciliation, FOREVER), (1, 0, 1, 0));
    assert_eq!(reconciliation.summary(FOREVER).missing, ["call.ring of 7"]);
}

#[test]
fn an_event_of_one_call_does_not_match_another_call() {
    let mut reconciliation = Reconciliation::after(0);
    reconciliation.sent(&webhook(7, Some(EventType::CallRing), 1_000));
    reconciliation.arrived(&event(1, 8, "call.ring"), 2_000);
    assert_eq!(counts(&reconciliation, FOREVER), (1, 0, 1, 1));
}

#[test]
fn more_events_than_webhooks_are_duplicates() {
    let mut reconciliation = Reconciliation::after(0);
    for at in [1_000, 5_000] {
        reconciliation.sent(&webhook(7, Some(EventType::CallHeld), at));
    }
    for seq in 1..=3 {
        reconciliation.arrived(&event(seq, 7, "call.held"), 10_000);
    }
    assert_eq!(counts(&reconciliation, FOREVER), (2, 2, 0, 1));
}

#[test]
fn a_repeated_seq_is_a_duplicate_and_matches_nothing() {
    let mut reconciliation = Reconciliation::after(4);
    reconciliation.sent(&webhook(7, Some(EventType::CallRing), 1_000));
    reconciliation.sent(&webhook(7, Some(EventType::CallStarted), 1_500));
    reconciliation.arrived(&event(5, 7, "call.ring"), 2_000);
    assert_eq!(reconciliation.arrived(&event(5, 7, "call.started"), 3_000), Match::Repeated);
    assert_eq!(counts(&reconciliation, FOREVER), (2, 1, 1, 1));
}

#[test]
fn a_hole_in_the_feed_is_lost_once() {
    let mut reconciliation = Reconciliation::after(0);
    reconciliation.sent(&webhook(7, Some(EventType::CallRing), 1_000));
    reconciliation.sent(&webhook(7, Some(EventType::CallEnded), 2_000));
    reconciliation.arrived(&event(2, 7, "call.ended"), 3_000);
    assert_eq!(counts(&reconciliation, FOREVER), (2, 1, 1, 0));

    let mut reconciliation = Reconciliation::after(0);
    reconciliation.arrived(&event(3, 7, "call.updated"), 3_000);
    assert_eq!(counts(&reconciliation, FOREVER), (0, 0, 2, 0));
}

#[test]
fn updates_and_events_about_the_app_need_no_webhook() {
    let mut reconciliation = Reconciliation::after(0);
    let connected = Event { kind: "connection.connected".to_owned(), seq: 1, ..Event::default() };
    assert_eq!(reconciliation.arrived(&connected, 1_000), Match::Unsolicited);
    assert_eq!(reconciliation.arrived(&event(2, 7, "call.updated"), 2_000), Match::Unsolicited);
    assert_eq!(reconciliation.sent(&webhook(7, None, 1_500)), None);
    assert!(reconciliation.is_settled(FOREVER));
    assert_eq!(counts(&reconciliation, FOREVER), (0, 0, 0, 0));
    assert_eq!(reconciliation.summary(FOREVER).updates, 2);
}

#[test]
fn an_update_that_a_webhook_must_cause_is_received() {
    let mut reconciliation = Reconciliation::after(0);
    reconciliation.arrived(&event(1, 7, "call.updated"), 1_000);
    reconciliation.arrived(&event(2, 7, "call.updated"), 5_000);
    let answered = reconciliation.sent(&webhook(7, Some(EventType::CallUpdated), 4_000));
    assert_eq!(answered, Some(LateMatch { seq: 2, latency: 1_000 }));
    assert_eq!(counts(&reconciliation, FOREVER), (1, 1, 0, 0));
}

#[test]
fn webhooks_and_events_after_the_end_do_not_count() {
    let mut reconciliation = Reconciliation::after(0);
    reconciliation.sent(&webhook(7, Some(EventType::CallRing), 1_000));
    reconciliation.arrived(&event(1, 7, "call.ring"), 2_000);
    reconciliation.sent(&webhook(8, Some(EventType::CallRing), 9_000));
    reconciliation.arrived(&event(2, 9, "call.ring"), 9_500);
    assert!(reconciliation.is_settled(8_000));
    assert_eq!(counts(&reconciliation, 8_000), (1, 1, 0, 0));
    assert_eq!(counts(&reconciliation, FOREVER), (2, 1, 1, 1));
}

#[test]
fn the_median_is_a_latency_that_was_measured() {
    let mut reconciliation = Reconciliation::after(0);
    assert_eq!(reconciliation.summary(FOREVER).median_latency_ms, None);
    for (seq, latency) in [(1, 4_000), (2, 1_000), (3, 2_000), (4, 3_500)] {
        reconciliation.sent(&webhook(seq, Some(EventType::CallRing), 1_000));
        reconciliation.arrived(&event(seq, seq, "call.ring"), 1_000 + latency);
    }
    let summary = reconciliation.summary(FOREVER);
    assert_eq!((summary.median_latency_ms, summary.worst_latency_ms), (Some(2.0), Some(4.0)));
}
