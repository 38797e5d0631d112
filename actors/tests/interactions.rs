//! The promise of interactions: whatever the order in which the webhooks of all legs arrive, and wherever a batch ends,
//! the same legs belong together and each is shown the same.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    clock::Clock,
    id::{AppId, DialpadCallId},
    model::call::{CallEvent, Direction, EndKind, Knowledge, Leg, Origin, Signal, Snapshot},
    ports::Inbound,
    testing::TestEngine,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

const MAIN_LINE: i64 = 1;
const QUEUE: i64 = 2;
const LOSER: i64 = 3;
const WINNER: i64 = 4;
const COLLEAGUE: i64 = 5;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_704_067_200 + second)
}

fn leg(call: i64) -> Knowledge {
    let (leg, master_call_id, entry_point_call_id, transferred_from) = match call {
        MAIN_LINE => (Leg::Group, None, None, None),
        QUEUE => (Leg::Group, Some(MAIN_LINE), None, None),
        // Sent on by the winner: nothing but the queue's leg ties it to the others.
        COLLEAGUE => (Leg::User, None, Some(QUEUE), Some(100 + WINNER)),
        _ => (Leg::User, None, Some(QUEUE), None),
    };
    Knowledge {
        direction: Some(Direction::Inbound),
        from_number: Some("+14155551234".into()),
        leg: Some(leg),
        target_id: Some(100 + call),
        dialpad_user_id: Some(100 + call).filter(|_| leg == Leg::User),
        master_call_id,
        entry_point_call_id,
        transferred_from,
        ..Knowledge::default()
    }
}

fn webhook(call: i64, second: i64, signal: Signal) -> CallEvent {
    let (knowledge, origin) = (leg(call), Origin::Webhook);
    CallEvent { dialpad_call_id: DialpadCallId(call), at: at(second), signal, knowledge, origin }
}

/// A caller reaches a queue through the main line; two agents ring, one answers and sends the caller on to a colleague,
/// who does not answer.
fn story() -> Vec<CallEvent> {
    let hangup = || Signal::Ended(EndKind::Hangup);
    vec![
        webhook(MAIN_LINE, 0, Signal::Connected),
        webhook(QUEUE, 5, Signal::Ringing),
        webhook(LOSER, 10, Signal::Ringing),
        webhook(WINNER, 10, Signal::Ringing),
        webhook(WINNER, 20, Signal::Connected),
        webhook(LOSER, 21, Signal::Ended(EndKind::Missed)),
        webhook(COLLEAGUE, 60, Signal::Ringing),
        webhook(WINNER, 61, hangup()),
        webhook(COLLEAGUE, 80, Signal::Ended(EndKind::Missed)),
        webhook(QUEUE, 90, hangup()),
        webhook(MAIN_LINE, 91, hangup()),
    ]
}

/// Plays webhooks in this order, in batches of these sizes, and returns the final snapshot of each leg.
async fn play(order: &[CallEvent], sizes: &[usize]) -> BTreeMap<i64, Snapshot> {
    let engine = TestEngine::start();
    let app = AppId::generate();
    let mut sizes = sizes.iter().copied().cycle();
    let mut rest = order;
    while !rest.is_empty() {
        let (batch, others) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
        receive(&engine, app, batch).await;
        rest = others;
    }
    let legs = [MAIN_LINE, QUEUE, LOSER, WINNER, COLLEAGUE]
        .map(|id| engine.store.call(app, DialpadCallId(id)).expect("every leg is stored"));
    let interaction = legs[0].call.interaction_id;
    assert!(legs.iter().all(|leg| leg.call.interaction_id == interaction), "the legs are apart: {legs:#?}");
    engine.finish().await;
    legs.into_iter().map(|leg| (leg.call.dialpad_call_id.0, leg.snapshot)).collect()
}

/// Hands webhooks to the engine in one batch, and waits until they are processed.
async fn receive(engine: &TestEngine, app: AppId, webhooks: &[CallEvent]) {
    let now = engine.clock.now();
    let append = |event: &CallEvent| engine.store.append(app, now, Ok(Inbound::Call(event.clone())));
    engine.push(app, webhooks.iter().map(append).collect());
    engine.settled().await;
}

#[actix::test]
async fn in_the_order_of_the_story_each_leg_is_shown_for_what_it_was() {
    let legs = play(&story(), &[1]).await;
    let answers: Vec<_> = legs.values().map(|leg| leg.outcome.map(|it| it.as_str())).collect();
    assert_eq!(
        answers,
        [Some("answered"), Some("answered"), Some("missed"), Some("answered"), Some("missed")]
    );
    assert_eq!((legs[&QUEUE].answered_at, legs[&MAIN_LINE].answered_at), (Some(at(20)), Some(at(20))));
    assert!(legs[&LOSER].answered_elsewhere && !legs[&COLLEAGUE].answered_elsewhere);
}

#[actix::test]
async fn whatever_the_order_of_arrival_the_legs_belong_together_and_are_shown_the_same() {
    let expected = play(&story(), &[1]).await;
    let mut runner = TestRunner::deterministic();
    let orders = (Just(story()).prop_shuffle(), prop::collection::vec(1..12_usize, 1..4));
    for _ in 0..150 {
        let (order, sizes) = orders.new_tree(&mut runner).expect("an order").current();
        assert_eq!(play(&order, &sizes).await, expected, "{order:#?} in batches of {sizes:?}");
    }
}

/// A call that begins to ring is taken for a new one; the store says that it is not.
#[actix::test]
async fn a_leg_that_was_named_before_it_rings_belongs_to_the_leg_that_named_it() {
    let engine = TestEngine::start();
    let app = AppId::generate();
    let other = |call| CallEvent { knowledge: Knowledge::default(), ..webhook(call, 6, Signal::Ringing) };
    receive(&engine, app, &[webhook(QUEUE, 5, Signal::Ringing), other(9)]).await;
    receive(&engine, app, &[other(7), webhook(MAIN_LINE, 6, Signal::Ringing)]).await;
    let of = |call| engine.store.call(app, DialpadCallId(call)).expect("it is stored").call.interaction_id;
    assert_eq!(of(MAIN_LINE), of(QUEUE));
    assert_ne!(of(7), of(QUEUE));
    let rings = engine.store.events(app).iter().filter(|it| it.event_type.as_str() == "call.ring").count();
    assert_eq!(rings, 4, "what the store refused was emitted once");
    engine.finish().await;
}

#[actix::test]
async fn a_call_that_has_left_memory_is_not_new_when_it_rings_again() {
    let engine = TestEngine::start();
    let app = AppId::generate();
    let ended = Signal::Ended(EndKind::Hangup);
    receive(&engine, app, &[webhook(MAIN_LINE, 0, Signal::Ringing), webhook(MAIN_LINE, 9, ended)]).await;
    engine.clock.advance(TimeDelta::hours(1));
    receive(&engine, app, &[webhook(8, 3600, Signal::Ringing)]).await;
    receive(&engine, app, &[webhook(MAIN_LINE, 1, Signal::Ringing)]).await;
    let call = engine.store.call(app, DialpadCallId(MAIN_LINE)).expect("it is stored");
    assert_eq!((call.snapshot.ringing_at, call.snapshot.ended_at), (Some(at(0)), Some(at(9))));
    assert_eq!(engine.store.pending_count(), 0);
    engine.finish().await;
}

#[actix::test]
async fn what_is_emitted_does_not_depend_on_where_a_batch_ends() {
    async fn emitted(size: usize) -> Vec<(String, Option<i64>)> {
        let engine = TestEngine::start();
        let app = AppId::generate();
        for batch in story().chunks(size) {
            receive(&engine, app, batch).await;
        }
        let call = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok()?["call_id"].as_i64();
        let events = engine.store.events(app);
        engine.finish().await;
        events.iter().map(|frame| (frame.event_type.to_string(), call(&frame.text))).collect()
    }
    let one_by_one = emitted(1).await;
    assert_eq!(emitted(100).await, one_by_one);
    let of = |call| {
        let mine = one_by_one.iter().filter(move |(_, it)| *it == Some(call));
        mine.map(|(kind, _)| kind.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(QUEUE), ["call.ring", "call.started", "call.ended"]);
    assert_eq!(of(MAIN_LINE), ["call.ring", "call.started", "call.ended"]);
    assert_eq!(of(LOSER), ["call.ring", "call.ended"], "the answer was known when it ended");
}
