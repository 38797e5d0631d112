//! The promise of messages: the order in which webhooks arrive, and how often, changes nothing but the order in which
//! things are emitted; and a message is emitted as received or sent once.

mod arrivals;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::model::{
    call::Direction,
    message::{Message, MessageChange, MessageEvent, MessageFacts, MessageKnowledge, apply},
};
use proptest::prelude::*;

use self::arrivals::arrivals;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_704_067_200 + second)
}

fn event(second: i64, knowledge: MessageKnowledge) -> MessageEvent {
    MessageEvent { dialpad_message_id: "6095823680520192".into(), at: at(second), knowledge }
}

/// A whole message, as Dialpad's own family tells it each time.
fn report(second: i64, status: &str) -> MessageEvent {
    event(
        second,
        MessageKnowledge {
            direction: Some(Direction::Outbound),
            from_number: Some("+1".into()),
            to_number: Some("+2,+3".into()),
            text: Some("Hello".into()),
            status: Some(status.into()),
            sent_at: Some(at(0)),
            ..MessageKnowledge::default()
        },
    )
}

/// Nothing but how far it has come.
fn bare(second: i64, status: &str) -> MessageEvent {
    event(second, MessageKnowledge { status: Some(status.into()), ..MessageKnowledge::default() })
}

/// Applies webhooks in order and gives the facts and everything that was emitted.
fn tell<'e>(events: impl IntoIterator<Item = &'e MessageEvent>) -> (MessageFacts, Vec<MessageChange>) {
    let mut emitted = Vec::new();
    let facts = events.into_iter().fold(None, |facts, event| {
        let (facts, change) = apply(facts.as_ref(), event);
        emitted.extend(change);
        Some(facts)
    });
    (facts.expect("there are events"), emitted)
}

fn shown<'e>(events: impl IntoIterator<Item = &'e MessageEvent>) -> Message {
    tell(events).0.snapshot()
}

fn introductions(emitted: &[MessageChange]) -> usize {
    emitted.iter().filter(|change| **change != MessageChange::Updated).count()
}

fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (place, first) in items.iter().enumerate() {
        let mut rest = items.to_vec();
        rest.remove(place);
        for mut permutation in permutations(&rest) {
            permutation.insert(0, first.clone());
            all.push(permutation);
        }
    }
    all
}

fn events() -> impl Strategy<Value = MessageEvent> {
    let text = || prop::option::of("[ab]");
    let status =
        prop::option::of(prop::sample::select(vec!["pending", "sent", "delivered", "failed", "odd"]));
    let direction = prop::option::of(prop_oneof![Just(Direction::Inbound), Just(Direction::Outbound)]);
    let knowledge = (direction, text(), text(), text(), text(), status, prop::option::of(0..6_i64));
    (0..6_i64, knowledge).prop_map(
        |(second, (direction, from_number, to_number, text, mms_url, status, sent))| {
            let knowledge = MessageKnowledge {
                direction,
                from_number,
                to_number,
                text,
                media_urls: mms_url.iter().flat_map(|url| [url.clone(), "c".to_owned()]).collect(),
                delivery_result: mms_url.clone(),
                mms_url,
                status: status.map(str::to_owned),
                dialpad_user_id: sent,
                sent_at: sent.map(at),
            };
            event(second, knowledge)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_permutation_and_repetition_gives_the_same_message((original, shuffled) in arrivals(events())) {
        prop_assert_eq!(tell(&original).0, tell(&shuffled).0);
    }

    #[test]
    fn a_message_is_received_or_sent_once_and_only_if_anybody_said_which((_, shuffled) in arrivals(events())) {
        let (facts, emitted) = tell(&shuffled);
        prop_assert_eq!(introductions(&emitted), usize::from(facts.snapshot().direction.is_some()));
    }

    #[test]
    fn a_webhook_that_is_known_already_is_not_emitted((original, _) in arrivals(events())) {
        let (facts, _) = tell(&original);
        for event in &original {
            prop_assert_eq!(apply(Some(&facts), event), (facts.clone(), None));
        }
    }

    #[test]
    fn facts_survive_the_store((original, _) in arrivals(events())) {
        let (facts, _) = tell(&original);
        let json = serde_json::to_string(&facts).expect("facts are JSON");
        prop_assert_eq!(serde_json::from_str::<MessageFacts>(&json).expect("and back"), facts);
    }
}

#[test]
fn all_120_orders_of_a_delivery_end_alike_and_send_the_message_once() {
    let events = [
        report(0, "pending"),
        report(1, "sent"),
        bare(2, "delivered"),
        report(0, "pending"),
        bare(1, "sent"),
    ];
    let expected = shown(&events);
    assert_eq!((expected.status.as_deref(), expected.text.as_deref()), (Some("delivered"), Some("Hello")));
    let orders = permutations(&events);
    assert_eq!(orders.len(), 120);
    for order in orders {
        let (facts, emitted) = tell(&order);
        assert_eq!(facts.snapshot(), expected);
        assert_eq!(introductions(&emitted), 1, "{emitted:?}");
    }
}

#[test]
fn a_message_is_emitted_as_sent_and_then_updated() {
    let (_, emitted) = tell(&[report(0, "pending"), report(5, "delivered")]);
    assert_eq!(emitted, [MessageChange::Sent, MessageChange::Updated]);
}

#[test]
fn a_retry_that_comes_late_is_not_emitted() {
    let (facts, emitted) = tell(&[report(0, "pending"), report(5, "delivered"), report(3, "sent")]);
    assert_eq!(emitted, [MessageChange::Sent, MessageChange::Updated]);
    assert_eq!(facts.snapshot().status.as_deref(), Some("delivered"));
}

#[test]
fn a_status_within_the_same_second_does_not_go_back() {
    for order in permutations(&[report(0, "pending"), report(0, "delivered")]) {
        assert_eq!(shown(&order).status.as_deref(), Some("delivered"));
    }
}

#[test]
fn a_status_that_comes_first_is_no_message_yet() {
    let mut text = report(0, "pending");
    text.knowledge.direction = Some(Direction::Inbound);
    let (facts, emitted) = tell(&[bare(9, "delivered"), text.clone(), text]);
    assert_eq!(emitted, [MessageChange::Updated, MessageChange::Received]);
    assert_eq!(facts.snapshot().sent_at, at(0));
}

#[test]
fn a_message_was_sent_when_somebody_says_so_and_else_when_it_was_first_seen() {
    assert_eq!(shown(&[bare(7, "sent"), bare(5, "pending")]).sent_at, at(5));
    assert_eq!(shown(&[bare(5, "pending"), report(7, "sent")]).sent_at, at(0));
}
