//! The engine with a store in memory: what happens to webhooks once they are durable.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    NotTaken, Stored, Submission,
    clock::Clock,
    error::StoreError,
    event::Filter,
    feed::FeedReader,
    id::{AppId, DialpadCallId, Seq},
    model::call::{CallEvent, EndKind, Knowledge, Origin, Signal, Status},
    ports::{Inbound, PendingEvent},
    state::{LastError, SupervisorState},
    testing::{RowStatus, TestEngine, eventually},
};

struct World {
    engine: TestEngine,
    app: AppId,
}

impl World {
    fn new() -> Self {
        Self { engine: TestEngine::start(), app: AppId::generate() }
    }

    /// Writes a webhook that the engine does not know of.
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
        let now = self.engine.clock.now();
        self.engine.store.append(self.app, now, Ok(Inbound::Call(event)))
    }

    /// Writes a webhook and hands it to the engine.
    fn receive(&self, call: i64, second: i64, signal: Signal) -> PendingEvent {
        let event = self.append(call, second, signal);
        self.engine.push(self.app, vec![event.clone()]);
        event
    }

    /// Returns the types of the events of the app, in order.
    fn emitted(&self) -> Vec<String> {
        self.engine.store.events(self.app).iter().map(|frame| frame.event_type.to_string()).collect()
    }

    /// Returns the state of the app; `None` before its first webhook.
    fn state(&self) -> Option<SupervisorState> {
        self.engine.state().apps.into_iter().find(|app| app.app_id == self.app)
    }
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_704_067_200 + second)
}

const HANGUP: Signal = Signal::Ended(EndKind::Hangup);

#[actix::test]
async fn a_call_is_emitted_from_ring_to_end() {
    let world = World::new();
    for (second, signal) in [(0, Signal::Ringing), (3, Signal::Connected), (60, HANGUP)] {
        world.receive(1, second, signal);
    }
    world.engine.settled().await;
    assert_eq!(world.emitted(), ["call.ring", "call.started", "call.ended"]);
    let call = world.engine.store.call(world.app, DialpadCallId(1)).expect("the call is stored");
    assert_eq!(call.snapshot.status, Status::Ended);
    world.engine.finish().await;
}

#[actix::test]
async fn what_an_earlier_process_left_is_processed_by_the_sweep() {
    let world = World::new();
    world.append(1, 0, Signal::Ringing);
    world.append(1, 3, Signal::Connected);
    world.engine.clock.advance(TimeDelta::seconds(2));
    world.engine.sweep().await.expect("the store answers");
    world.engine.settled().await;
    assert_eq!(world.emitted(), ["call.ring", "call.started"]);
    world.engine.finish().await;
}

#[actix::test]
async fn a_lost_wake_costs_time_and_no_event() {
    let world = World::new();
    world.receive(1, 0, Signal::Ringing);
    world.engine.settled().await;
    world.append(1, 3, Signal::Connected);
    world.receive(1, 60, HANGUP);
    eventually("the end is emitted", || world.emitted().contains(&"call.ended".to_owned())).await;
    world.engine.clock.advance(TimeDelta::seconds(2));
    world.engine.sweep().await.expect("the store answers");
    world.engine.settled().await;
    assert_eq!(world.emitted(), ["call.ring", "call.ended", "call.updated"]);
    world.engine.finish().await;
}

#[actix::test]
async fn a_call_actor_that_panics_is_rebuilt_and_its_call_goes_on() {
    let world = World::new();
    world.receive(1, 0, Signal::Ringing);
    world.engine.settled().await;
    assert!(world.engine.crash_call(world.app, DialpadCallId(1)).await, "the call has an actor");
    world.receive(1, 3, Signal::Connected);
    world.receive(1, 60, HANGUP);
    world.engine.settled().await;
    assert_eq!(world.emitted(), ["call.ring", "call.started", "call.ended"]);
    world.engine.finish().await;
}

#[actix::test]
async fn an_outage_of_the_database_loses_nothing_and_doubles_nothing() {
    let world = World::new();
    world.engine.store.fail_next_commit(StoreError::Unavailable("no connection".into()));
    world.receive(1, 0, Signal::Ringing);
    world.receive(1, 3, Signal::Connected);
    world.engine.settled().await;
    assert_eq!(world.emitted(), ["call.ring", "call.started"]);
    world.engine.finish().await;
}

#[actix::test]
async fn a_lost_race_is_decided_again() {
    let world = World::new();
    world.receive(1, 0, Signal::Ringing);
    world.engine.settled().await;
    world.engine.store.fail_next_commit(StoreError::Conflict("another writer was first".into()));
    world.receive(1, 3, Signal::Connected);
    world.engine.settled().await;
    assert_eq!(world.emitted(), ["call.ring", "call.started"]);
    world.engine.finish().await;
}

#[actix::test]
async fn an_event_that_the_store_refuses_is_given_up_and_delays_no_other() {
    let world = World::new();
    world.engine.store.refuse("poison");
    let poison = Knowledge { from_number: Some("poison".into()), ..Knowledge::default() };
    let mut events =
        vec![world.append(1, 0, Signal::Ringing), world.append_with(2, 0, Signal::Ringing, poison)];
    events.push(world.append(3, 0, Signal::Ringing));
    let refused = events[1].id;
    world.engine.push(world.app, events);
    world.engine.settled().await;
    assert!(
        matches!(world.engine.store.status(refused), Some(RowStatus::Failed(reason)) if reason.contains("poison"))
    );
    assert_eq!(world.emitted(), ["call.ring", "call.ring"]);
    world.engine.finish().await;
}

#[actix::test]
async fn an_unreadable_webhook_is_given_up_with_its_reason() {
    let world = World::new();
    let event = world.engine.store.append(world.app, world.engine.clock.now(), Err("no call id".into()));
    world.engine.push(world.app, vec![event.clone()]);
    world.engine.settled().await;
    assert_eq!(world.engine.store.status(event.id), Some(RowStatus::Failed("no call id".into())));
    world.engine.finish().await;
}

#[actix::test]
async fn many_concurrent_calls_keep_their_order_and_the_feed_has_no_hole() {
    let world = World::new();
    for (second, signal) in [(0, Signal::Ringing), (3, Signal::Connected), (60, HANGUP)] {
        for call in 1..=300 {
            world.receive(call, second, signal.clone());
        }
    }
    world.engine.settled().await;
    let events = world.engine.store.events(world.app);
    assert_eq!(events.len(), 900);
    assert!(events.iter().zip(1..).all(|(frame, seq)| frame.seq == Seq(seq)));
    for call in 1..=300 {
        let needle = format!("\"call_id\":{call},");
        let kinds: Vec<_> = events
            .iter()
            .filter(|frame| frame.text.contains(&needle))
            .map(|it| it.event_type.to_string())
            .collect();
        assert_eq!(kinds, ["call.ring", "call.started", "call.ended"]);
    }
    world.engine.finish().await;
}

#[actix::test]
async fn a_reader_continues_from_stored_events_to_live_ones() {
    let world = World::new();
    for call in 1..=300 {
        world.receive(call, 0, Signal::Ringing);
    }
    world.engine.settled().await;
    let (feed, bounds) = world.engine.feed(world.app).await.expect("the store answers");
    assert_eq!(bounds.head, Seq(300));
    let mut reader = FeedReader::new(feed, world.engine.store.clone(), Seq::START, Filter::default());
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
    world.engine.finish().await;
}

#[actix::test]
async fn after_a_drain_no_batch_begins() {
    let world = World::new();
    world.receive(1, 0, Signal::Ringing);
    world.engine.settled().await;
    world.engine.drain().await;
    world.receive(1, 3, Signal::Connected);
    assert_eq!(world.engine.store.pending_count(), 1, "it stays in the journal");
    assert_eq!(world.emitted(), ["call.ring"]);
    world.engine.finish_with_pending_webhooks().await;
}

#[actix::test]
async fn a_supervisor_that_panics_is_started_again_and_loses_nothing() {
    let world = World::new();
    world.engine.store.panic_next_commit();
    world.receive(1, 0, Signal::Ringing);
    eventually("the supervisor has died", || {
        world.engine.notify(world.app);
        world.state().is_some_and(|state| state.restarts == 1)
    })
    .await;
    world.engine.settled().await;
    assert_eq!(world.emitted(), ["call.ring"]);
    let last_error = world.state().and_then(|state| state.last_error);
    let died = LastError { message: "the supervisor died".into(), at: world.engine.clock.now() };
    assert_eq!(last_error, Some(died));
    world.engine.finish().await;
}

#[actix::test]
async fn the_state_shows_a_batch_that_waits_for_the_database() {
    let world = World::new();
    assert_eq!(world.state(), None);
    world.receive(1, 0, Signal::Ringing);
    world.engine.settled().await;
    world.engine.store.hold_commits(true);
    world.receive(1, 3, Signal::Connected);
    eventually("the batch took the webhook", || world.state().is_some_and(|state| state.inbox == 0)).await;
    world.receive(2, 4, Signal::Ringing);
    let busy = SupervisorState {
        app_id: world.app,
        owned: true,
        batch_in_progress: true,
        inbox: 1,
        live_calls: 1,
        restarts: 0,
        quarantined: 0,
        sessions: 0,
        last_error: None,
    };
    assert_eq!(world.state(), Some(busy.clone()));
    assert!(!world.engine.state().is_idle());
    world.engine.store.hold_commits(false);
    world.engine.settled().await;
    assert_eq!(
        world.state(),
        Some(SupervisorState { batch_in_progress: false, inbox: 0, live_calls: 2, ..busy })
    );
    world.engine.finish().await;
}

#[actix::test]
async fn an_outage_of_the_database_is_the_last_error() {
    let world = World::new();
    world.engine.store.fail_next_commit(StoreError::Unavailable("no connection".into()));
    world.receive(1, 0, Signal::Ringing);
    world.engine.settled().await;
    let last_error = world.state().and_then(|state| state.last_error).expect("there was an error");
    assert_eq!(last_error.message, "the database is unavailable: no connection");
    assert_eq!(last_error.at, world.engine.clock.now());
    world.engine.finish().await;
}

#[actix::test]
async fn a_call_whose_actor_died_over_several_webhooks_is_in_quarantine_until_they_are_processed() {
    let world = World::new();
    world.receive(1, 0, Signal::Ringing);
    world.engine.settled().await;
    assert!(world.engine.crash_call(world.app, DialpadCallId(1)).await, "the call has an actor");
    world.engine.store.hold_commits(true);
    let webhooks = [world.append(1, 3, Signal::Connected), world.append(1, 60, HANGUP)];
    world.engine.push(world.app, webhooks.into());
    eventually("the call is in quarantine", || world.state().is_some_and(|state| state.quarantined == 1))
        .await;
    world.engine.store.hold_commits(false);
    world.engine.settled().await;
    assert_eq!(world.emitted(), ["call.ring", "call.started", "call.ended"]);
    assert_eq!(world.state().map(|state| (state.quarantined, state.restarts)), Some((0, 0)));
    world.engine.finish().await;
}

#[actix::test]
async fn a_removed_app_leaves_no_actor_and_no_state() {
    let world = World::new();
    let tenant = world.engine.tenant(world.app);
    world.receive(1, 0, Signal::Ringing);
    world.engine.settled().await;
    world
        .engine
        .remove_app(world.app, cti_actors::session::CloseCode::Forbidden, "the app was removed")
        .await;
    assert_eq!(world.state(), None);
    assert!(tenant.sessions().is_empty());
    world.engine.finish().await;
}

/// How long a submission waits for the supervisor.
const TAKE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

impl World {
    fn call_event(key: u16, call: i64, signal: Signal) -> CallEvent {
        CallEvent {
            dialpad_call_id: DialpadCallId(call),
            at: at(i64::from(key)),
            signal,
            knowledge: Knowledge::default(),
            origin: Origin::Webhook,
        }
    }

    fn submit(&self, key: u16, call: i64, signal: Signal) -> Submission {
        let event = Self::call_event(key, call, signal);
        let (webhook, content) =
            self.engine.store.incoming(key, self.engine.clock.now(), Inbound::Call(event));
        self.engine.submit(self.app, webhook, content).expect("the supervisor takes it")
    }

    async fn stored(&self, submission: Submission) -> Stored {
        submission.stored(TAKE_TIMEOUT).await.expect("the supervisor takes it")
    }
}

#[actix::test]
async fn a_submitted_webhook_is_answered_when_it_is_durable_and_its_events_are() {
    let world = World::new();
    let Stored::New(id) = world.stored(world.submit(1, 1, Signal::Ringing)).await else {
        panic!("it is no duplicate")
    };
    assert_eq!(world.engine.store.status(id), Some(RowStatus::Processed));
    assert_eq!(world.emitted(), ["call.ring"]);
    world.engine.finish().await;
}

#[actix::test]
async fn a_webhook_that_comes_again_is_a_duplicate_of_the_first_one() {
    let world = World::new();
    let (first, again) = (world.submit(1, 1, Signal::Ringing), world.submit(1, 1, Signal::Ringing));
    let Stored::New(id) = world.stored(first).await else { panic!("it is no duplicate") };
    assert_eq!(world.stored(again).await, Stored::Duplicate(id));
    assert_eq!(world.stored(world.submit(1, 1, Signal::Ringing)).await, Stored::Duplicate(id));
    assert_eq!(world.emitted(), ["call.ring"]);
    world.engine.finish().await;
}

#[actix::test]
async fn a_duplicate_that_only_the_journal_knows_holds_up_no_other_webhook() {
    let world = World::new();
    let Stored::New(first) = world.stored(world.submit(0, 1, Signal::Ringing)).await else {
        panic!("it is no duplicate")
    };
    // More webhooks than the engine remembers.
    for key in 1..=300 {
        world.stored(world.submit(key, 1, Signal::Ringing)).await;
    }
    world.engine.store.hold_commits(true);
    let held = world.submit(400, 1, Signal::Ringing);
    eventually("the batch took the webhook", || world.state().is_some_and(|state| state.inbox == 0)).await;
    let (before, again, after) = (
        world.submit(401, 2, Signal::Ringing),
        world.submit(0, 1, Signal::Ringing),
        world.submit(402, 2, HANGUP),
    );
    world.engine.store.hold_commits(false);
    assert_eq!(world.stored(again).await, Stored::Duplicate(first));
    for new in [held, before, after] {
        assert!(matches!(world.stored(new).await, Stored::New(_)));
    }
    assert_eq!(world.emitted(), ["call.ring", "call.ring", "call.ended"]);
    world.engine.finish().await;
}

#[actix::test]
async fn a_webhook_whose_acceptance_got_lost_is_processed_before_what_its_sender_sends_next() {
    let world = World::new();
    world.stored(world.submit(1, 1, Signal::Ringing)).await;
    // It is written, and the connection breaks before its request learns that.
    let event = World::call_event(2, 1, Signal::Connected);
    let (webhook, content) = world.engine.store.incoming(2, world.engine.clock.now(), Inbound::Call(event));
    let lost = world.engine.store.append_incoming(world.app, &webhook, content);
    let Stored::New(first) = lost else { panic!("it is no duplicate") };
    assert_eq!(world.stored(world.submit(2, 1, Signal::Connected)).await, Stored::Duplicate(first));
    world.stored(world.submit(3, 1, HANGUP)).await;
    world.engine.settled().await;
    assert_eq!(world.emitted(), ["call.ring", "call.started", "call.ended"]);
    world.engine.finish().await;
}

#[actix::test]
async fn while_the_database_is_away_nothing_is_kept_and_the_request_learns_it() {
    let world = World::new();
    world.engine.store.fail_next_commit(StoreError::Unavailable("no connection".into()));
    let answer = world.submit(1, 1, Signal::Ringing).stored(TAKE_TIMEOUT).await;
    assert_eq!(answer, Err(NotTaken));
    world.engine.settled().await;
    assert_eq!(world.emitted(), Vec::<String>::new());
    world.engine.finish().await;
}

#[actix::test]
async fn a_submitted_webhook_that_the_store_refuses_is_kept_and_given_up() {
    let world = World::new();
    world.engine.store.hold_commits(true);
    let held = world.submit(1, 1, Signal::Ringing);
    eventually("the batch took the webhook", || world.state().is_some_and(|state| state.inbox == 0)).await;
    world.engine.store.refuse("\"call_id\":2,");
    let (poison, healthy) = (world.submit(2, 2, Signal::Ringing), world.submit(3, 3, Signal::Ringing));
    world.engine.store.hold_commits(false);
    let Stored::New(poison) = world.stored(poison).await else { panic!("it is no duplicate") };
    world.stored(held).await;
    world.stored(healthy).await;
    world.engine.settled().await;
    assert!(matches!(world.engine.store.status(poison), Some(RowStatus::Failed(_))));
    assert_eq!(world.emitted(), ["call.ring", "call.ring"]);
    world.engine.finish().await;
}

#[actix::test]
async fn a_lost_race_of_a_submitted_webhook_is_decided_again() {
    let world = World::new();
    world.engine.store.fail_next_commit(StoreError::Conflict("another writer was first".into()));
    world.stored(world.submit(1, 1, Signal::Ringing)).await;
    assert_eq!(world.emitted(), ["call.ring"]);
    world.engine.finish().await;
}

#[actix::test]
async fn what_a_busy_supervisor_does_not_take_in_time_can_be_appended() {
    let world = World::new();
    world.engine.store.hold_commits(true);
    let held = world.submit(1, 1, Signal::Ringing);
    eventually("the batch took the webhook", || world.state().is_some_and(|state| state.inbox == 0)).await;
    let late = world.submit(2, 2, Signal::Ringing).stored(std::time::Duration::ZERO).await;
    assert_eq!(late, Err(NotTaken));
    world.engine.store.hold_commits(false);
    world.stored(held).await;
    world.engine.settled().await;
    assert_eq!(world.emitted(), ["call.ring"]);
    world.engine.finish().await;
}

#[actix::test]
async fn a_supervisor_that_ends_takes_nothing_more() {
    let world = World::new();
    world.engine.store.hold_commits(true);
    let held = world.submit(1, 1, Signal::Ringing);
    eventually("the batch took the webhook", || world.state().is_some_and(|state| state.inbox == 0)).await;
    let waiting = world.submit(2, 2, Signal::Ringing);
    let engine = world.engine.engine();
    let drained = actix::spawn(async move { engine.drain().await });
    assert_eq!(waiting.stored(TAKE_TIMEOUT).await, Err(NotTaken));
    world.engine.store.hold_commits(false);
    world.stored(held).await;
    drained.await.expect("the drain ends");
    world.engine.finish().await;
}

/// How many webhooks must wait for the next batch to be decided on while one is written.
const MIN_AHEAD: u16 = 16;

impl World {
    /// Submits a ring whose commit is held, and then what comes while it waits: the same call is answered, others ring.
    /// When this returns, the supervisor has taken all of it.
    async fn work_ahead(&self) -> (Submission, Vec<Submission>) {
        self.engine.store.hold_commits(true);
        let held = self.submit(1, 1, Signal::Ringing);
        let is_taken = || self.state().is_some_and(|state| state.inbox == 0);
        eventually("the batch took the webhook", is_taken).await;
        let mut ahead = vec![self.submit(2, 1, Signal::Connected)];
        ahead.extend((1..MIN_AHEAD).map(|n| self.submit(100 + n, i64::from(100 + n), Signal::Ringing)));
        eventually("the next batch is decided on", is_taken).await;
        (held, ahead)
    }

    /// The events of all webhooks of [`work_ahead`](Self::work_ahead).
    fn assert_all_emitted(&self) {
        let mut expected = vec!["call.ring", "call.started"];
        expected.extend((1..MIN_AHEAD).map(|_| "call.ring"));
        assert_eq!(self.emitted(), expected);
    }
}

#[actix::test]
async fn while_a_batch_is_written_the_next_one_is_decided_on() {
    let world = World::new();
    let (held, ahead) = world.work_ahead().await;
    assert_eq!(world.emitted(), Vec::<String>::new(), "nothing is emitted before it is durable");
    // The same webhook again, while the first one is written, or decided on.
    let again = [world.submit(1, 1, Signal::Ringing), world.submit(2, 1, Signal::Connected)];
    world.engine.store.hold_commits(false);
    for new in [held].into_iter().chain(ahead) {
        assert!(matches!(world.stored(new).await, Stored::New(_)));
    }
    for again in again {
        assert!(matches!(world.stored(again).await, Stored::Duplicate(_)));
    }
    world.assert_all_emitted();
    world.engine.finish().await;
}

#[actix::test]
async fn what_was_decided_on_ahead_of_a_lost_race_is_decided_again() {
    let world = World::new();
    let (held, ahead) = world.work_ahead().await;
    world.engine.store.fail_next_commit(StoreError::Conflict("another writer was first".into()));
    world.engine.store.hold_commits(false);
    for new in [held].into_iter().chain(ahead) {
        assert!(matches!(world.stored(new).await, Stored::New(_)));
    }
    world.assert_all_emitted();
    world.engine.finish().await;
}

#[actix::test]
async fn what_was_decided_on_ahead_of_an_outage_is_not_kept() {
    let world = World::new();
    let (held, ahead) = world.work_ahead().await;
    world.engine.store.fail_next_commit(StoreError::Unavailable("no connection".into()));
    world.engine.store.hold_commits(false);
    for lost in [held].into_iter().chain(ahead) {
        assert_eq!(lost.stored(TAKE_TIMEOUT).await, Err(NotTaken));
    }
    world.engine.settled().await;
    assert_eq!(world.emitted(), Vec::<String>::new());
    // Nothing of it is left in memory: the call begins anew.
    world.stored(world.submit(1, 1, Signal::Ringing)).await;
    assert_eq!(world.emitted(), ["call.ring"]);
    world.engine.finish().await;
}

#[actix::test]
async fn a_supervisor_that_ends_writes_what_was_decided_on_ahead() {
    let world = World::new();
    let (held, ahead) = world.work_ahead().await;
    let engine = world.engine.engine();
    let drained = actix::spawn(async move { engine.drain().await });
    world.engine.store.hold_commits(false);
    for new in [held].into_iter().chain(ahead) {
        assert!(matches!(world.stored(new).await, Stored::New(_)));
    }
    drained.await.expect("the drain ends");
    world.assert_all_emitted();
    world.engine.finish().await;
}

#[actix::test]
async fn what_was_decided_on_ahead_is_written_before_memory_is_forgotten() {
    let world = World::new();
    let (held, ahead) = world.work_ahead().await;
    let engine = world.engine.engine();
    let app = world.app;
    let forgotten = actix::spawn(async move { engine.forget_calls(app).await });
    world.engine.store.hold_commits(false);
    for new in [held].into_iter().chain(ahead) {
        assert!(matches!(world.stored(new).await, Stored::New(_)));
    }
    forgotten.await.expect("it is forgotten");
    world.assert_all_emitted();
    world.engine.finish().await;
}
