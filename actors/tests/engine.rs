//! The engine with a store in memory: what happens to webhooks once they are durable.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    Engine, Tuning,
    clock::Clock,
    error::StoreError,
    event::Filter,
    feed::FeedReader,
    id::{AppId, DialpadCallId, Seq},
    model::call::{CallEvent, EndKind, Knowledge, Origin, Signal, Status},
    ports::{Inbound, PendingEvent},
    testing::{ManualClock, MemoryStore, RowStatus},
};

struct World {
    engine: Arc<Engine>,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    app: AppId,
}

impl World {
    /// An engine whose sweep never comes by itself.
    fn new() -> Self {
        let (store, clock, ports) = MemoryStore::ports();
        let tuning = Tuning { sweep_interval: Duration::from_secs(3600), ..Tuning::default() };
        Self { engine: Engine::start(ports, tuning), store, clock, app: AppId::generate() }
    }

    /// A webhook that is durable and of which the engine knows nothing.
    fn append(&self, call: i64, second: i64, signal: Signal) -> PendingEvent {
        self.append_with(call, second, signal, Knowledge::default())
    }

    fn append_with(&self, call: i64, second: i64, signal: Signal, knowledge: Knowledge) -> PendingEvent {
        let event = CallEvent {
            dialpad_call_id: DialpadCallId(call),
            at: at(second),
            signal,
            knowledge,
            origin: Origin::Webhook,
        };
        self.store.append(self.app, self.clock.now(), Ok(Inbound::Call(event)))
    }

    /// A webhook that is durable and handed over.
    fn receive(&self, call: i64, second: i64, signal: Signal) -> PendingEvent {
        let event = self.append(call, second, signal);
        self.engine.push(self.app, vec![event.clone()]);
        event
    }

    async fn settled(&self) {
        eventually("nothing is pending", || self.store.pending_count() == 0).await;
    }

    fn told(&self) -> Vec<String> {
        self.store.told(self.app).iter().map(|frame| frame.event_type.to_string()).collect()
    }
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_704_067_200 + second)
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

const HANGUP: Signal = Signal::Ended(EndKind::Hangup);

#[actix::test]
async fn a_call_is_told_from_ring_to_end() {
    let world = World::new();
    for (second, signal) in [(0, Signal::Ringing), (3, Signal::Connected), (60, HANGUP)] {
        world.receive(1, second, signal);
    }
    world.settled().await;
    assert_eq!(world.told(), ["call.ring", "call.started", "call.ended"]);
    let call = world.store.call(world.app, DialpadCallId(1)).expect("the call is stored");
    assert_eq!(call.snapshot.status, Status::Ended);
}

#[actix::test]
async fn what_an_earlier_run_left_is_taken_up_by_the_sweep() {
    let world = World::new();
    world.append(1, 0, Signal::Ringing);
    world.append(1, 3, Signal::Connected);
    world.clock.advance(TimeDelta::seconds(2));
    world.engine.sweep().await.expect("the store answers");
    world.settled().await;
    assert_eq!(world.told(), ["call.ring", "call.started"]);
}

#[actix::test]
async fn a_lost_wake_costs_time_and_no_event() {
    let world = World::new();
    world.receive(1, 0, Signal::Ringing);
    world.settled().await;
    world.append(1, 3, Signal::Connected);
    world.receive(1, 60, HANGUP);
    eventually("the end is told", || world.told().contains(&"call.ended".to_owned())).await;
    world.clock.advance(TimeDelta::seconds(2));
    world.engine.sweep().await.expect("the store answers");
    world.settled().await;
    assert_eq!(world.told(), ["call.ring", "call.ended", "call.updated"]);
}

#[actix::test]
async fn a_call_actor_that_panics_is_rebuilt_and_its_call_goes_on() {
    let world = World::new();
    world.receive(1, 0, Signal::Ringing);
    world.settled().await;
    assert!(world.engine.crash_call(world.app, DialpadCallId(1)).await, "the actor was awake");
    world.receive(1, 3, Signal::Connected);
    world.receive(1, 60, HANGUP);
    world.settled().await;
    assert_eq!(world.told(), ["call.ring", "call.started", "call.ended"]);
}

#[actix::test]
async fn a_database_that_is_away_for_a_while_loses_nothing_and_doubles_nothing() {
    let world = World::new();
    world.store.fail_next_commit(StoreError::Unavailable("away".into()));
    world.receive(1, 0, Signal::Ringing);
    world.receive(1, 3, Signal::Connected);
    world.settled().await;
    assert_eq!(world.told(), ["call.ring", "call.started"]);
}

#[actix::test]
async fn a_lost_race_is_decided_anew() {
    let world = World::new();
    world.receive(1, 0, Signal::Ringing);
    world.settled().await;
    world.store.fail_next_commit(StoreError::Conflict("somebody was first".into()));
    world.receive(1, 3, Signal::Connected);
    world.settled().await;
    assert_eq!(world.told(), ["call.ring", "call.started"]);
}

#[actix::test]
async fn an_event_that_the_store_refuses_is_given_up_and_holds_up_nobody() {
    let world = World::new();
    world.store.refuse("poison");
    let poison = Knowledge { from_number: Some("poison".into()), ..Knowledge::default() };
    let mut events =
        vec![world.append(1, 0, Signal::Ringing), world.append_with(2, 0, Signal::Ringing, poison)];
    events.push(world.append(3, 0, Signal::Ringing));
    let refused = events[1].id;
    world.engine.push(world.app, events);
    world.settled().await;
    assert!(
        matches!(world.store.status(refused), Some(RowStatus::Failed(reason)) if reason.contains("poison"))
    );
    assert_eq!(world.told(), ["call.ring", "call.ring"]);
}

#[actix::test]
async fn what_can_not_be_read_is_given_up_with_its_reason() {
    let world = World::new();
    let event = world.store.append(world.app, world.clock.now(), Err("no call id".into()));
    world.engine.push(world.app, vec![event.clone()]);
    world.settled().await;
    assert_eq!(world.store.status(event.id), Some(RowStatus::Failed("no call id".into())));
}

#[actix::test]
async fn many_calls_at_once_keep_each_its_order_and_the_feed_has_no_hole() {
    let world = World::new();
    for (second, signal) in [(0, Signal::Ringing), (3, Signal::Connected), (60, HANGUP)] {
        for call in 1..=300 {
            world.receive(call, second, signal.clone());
        }
    }
    world.settled().await;
    let told = world.store.told(world.app);
    assert_eq!(told.len(), 900);
    assert!(told.iter().zip(1..).all(|(frame, seq)| frame.seq == Seq(seq)));
    for call in 1..=300 {
        let needle = format!("\"call_id\":{call},");
        let kinds: Vec<_> = told
            .iter()
            .filter(|frame| frame.text.contains(&needle))
            .map(|it| it.event_type.as_str())
            .collect();
        assert_eq!(kinds, ["call.ring", "call.started", "call.ended"]);
    }
}

#[actix::test]
async fn a_reader_follows_from_the_past_into_the_present() {
    let world = World::new();
    for call in 1..=300 {
        world.receive(call, 0, Signal::Ringing);
    }
    world.settled().await;
    let (feed, bounds) = world.engine.feed(world.app).await.expect("the store answers");
    assert_eq!(bounds.head, Seq(300));
    let mut reader = FeedReader::new(feed, world.store.clone(), Seq::START, Filter::default());
    for call in 301..=600 {
        world.receive(call, 0, Signal::Ringing);
    }
    let mut seqs = Vec::new();
    while seqs.len() < 600 {
        let batch = reader.next().await.expect("the store answers").expect("the feed goes on");
        assert_eq!(batch.gap, None);
        seqs.extend(batch.frames.iter().map(|frame| frame.seq.0));
    }
    assert!(seqs.iter().copied().eq(1..=600));
}

#[actix::test]
async fn after_a_drain_nothing_new_is_begun() {
    let world = World::new();
    world.receive(1, 0, Signal::Ringing);
    world.settled().await;
    world.engine.drain().await;
    world.receive(1, 3, Signal::Connected);
    assert_eq!(world.store.pending_count(), 1, "it stays in the journal");
    assert_eq!(world.told(), ["call.ring"]);
}
