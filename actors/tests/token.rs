//! The token refresher with connections in memory and a clock that moves only when the test moves it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use cti_actors::{
    event::Filter,
    feed::FeedReader,
    id::{AppId, Seq},
    model::token::{
        Outcome, TokenPair,
        schedule::{Jitter, backoff, due},
    },
    testing::{Answer, TestEngine, eventually},
};
use futures_util::future::join_all;
use proptest::prelude::*;

struct World {
    engine: TestEngine,
}

impl World {
    fn new() -> Self {
        Self { engine: TestEngine::start() }
    }

    /// An app whose tokens live for an hour.
    fn connected_app(&self) -> (AppId, TokenPair) {
        let app = AppId::generate();
        (app, self.engine.connections.connect(app, TimeDelta::hours(1)))
    }

    async fn after(&self, seconds: i64) {
        self.engine.clock.advance(TimeDelta::seconds(seconds));
        self.engine.refresh_due_tokens().await;
    }

    fn emitted(&self, app: AppId) -> Vec<String> {
        self.engine.store.events(app).iter().map(|frame| frame.event_type.to_string()).collect()
    }
}

#[actix::test]
async fn tokens_are_renewed_when_they_are_due_and_not_before() {
    let world = World::new();
    let (app, _) = world.connected_app();
    world.after(2879).await;
    assert_eq!(world.engine.connections.asked(), 0);
    world.after(1).await;
    assert_eq!((world.engine.connections.asked(), world.engine.connections.generation(app)), (1, Some(2)));
    world.after(2880).await;
    assert_eq!((world.engine.connections.asked(), world.engine.connections.generation(app)), (2, Some(3)));
    assert!(world.emitted(app).is_empty(), "what goes as it should is no change");
    world.engine.finish().await;
}

#[actix::test]
async fn two_hundred_who_ask_at_once_share_one_renewal() {
    let world = World::new();
    let (_, pair) = world.connected_app();
    world.engine.connections.hold(true);
    let asking: Vec<_> = (0..200)
        .map(|_| {
            let engine = world.engine.engine();
            actix::spawn(async move { engine.renew(pair).await })
        })
        .collect();
    eventually("Dialpad is asked", || world.engine.connections.asked() == 1).await;
    world.engine.connections.hold(false);
    for outcome in join_all(asking).await {
        assert!(matches!(outcome, Ok(Ok(Outcome::Renewed | Outcome::Superseded))), "{outcome:?}");
    }
    assert_eq!(world.engine.connections.asked(), 1);
    world.engine.finish().await;
}

#[actix::test]
async fn a_renewal_goes_on_when_whoever_asked_has_gone() {
    let world = World::new();
    let (app, pair) = world.connected_app();
    world.engine.connections.hold(true);
    let impatient = tokio::time::timeout(Duration::from_millis(20), world.engine.renew(pair)).await;
    assert!(impatient.is_err());
    world.engine.connections.hold(false);
    eventually("there is a new pair", || world.engine.connections.generation(app) == Some(2)).await;
    world.engine.finish().await;
}

#[actix::test]
async fn trouble_is_emitted_once_and_so_is_its_end() {
    let world = World::new();
    let (app, pair) = world.connected_app();
    for _ in 0..3 {
        world.engine.connections.answer(Answer::Trouble);
    }
    world.after(2880).await;
    assert_eq!(world.emitted(app), ["connection.degraded"]);
    let asked_again = world.engine.renew(TokenPair { generation: 1, ..pair }).await;
    assert!(matches!(asked_again, Ok(Outcome::Failed(_) | Outcome::TooSoon { .. })), "{asked_again:?}");
    for seconds in [3, 3, 10] {
        world.after(seconds).await;
    }
    assert_eq!(world.emitted(app), ["connection.degraded", "connection.recovered"]);
    assert_eq!(world.engine.connections.generation(app), Some(2));
    world.engine.finish().await;
}

#[actix::test]
async fn a_dead_refresh_token_is_emitted_once_and_left_alone() {
    let world = World::new();
    let (app, _) = world.connected_app();
    world.engine.connections.answer(Answer::Refusal);
    for _ in 0..5 {
        world.after(2880).await;
    }
    assert_eq!(world.emitted(app), ["connection.expired"]);
    assert_eq!(world.engine.connections.asked(), 1);
    world.engine.finish().await;
}

#[actix::test]
async fn what_becomes_of_a_connection_is_shown_to_live_sessions() {
    let world = World::new();
    let (app, _) = world.connected_app();
    let (feed, _) = world.engine.feed(app).await.expect("the store answers");
    let mut reader = FeedReader::new(feed, world.engine.store.clone(), Seq::START, Filter::default());
    world.engine.connections.answer(Answer::Refusal);
    world.after(2880).await;
    let next = tokio::time::timeout(Duration::from_secs(10), reader.next()).await;
    let batch = next.expect("in time").expect("the store answers").expect("the feed goes on");
    assert_eq!(batch.frames, world.engine.store.events(app));
    world.engine.finish().await;
}

#[actix::test]
async fn one_connection_in_trouble_holds_up_no_other() {
    let world = World::new();
    let apps: Vec<AppId> = (0..40).map(|_| world.connected_app().0).collect();
    world.engine.connections.answer(Answer::Trouble);
    world.engine.connections.answer(Answer::Refusal);
    world.engine.clock.advance(TimeDelta::seconds(2880));
    // A few at a time.
    for _ in 0..100 {
        world.engine.refresh_due_tokens().await;
    }
    let renewed = apps.iter().filter(|app| world.engine.connections.generation(**app) == Some(2)).count();
    assert_eq!(renewed, 38);
    assert_eq!(world.engine.connections.asked(), 40);
    world.engine.finish().await;
}

#[actix::test]
async fn a_refresher_that_panics_is_started_again() {
    let world = World::new();
    let (app, pair) = world.connected_app();
    world.engine.connections.panic_next();
    assert!(world.engine.renew(pair).await.is_err());
    assert_eq!(world.engine.renew(pair).await, Ok(Outcome::Renewed));
    assert_eq!(world.engine.state().token_refresher.restarts, 1);
    assert_eq!(world.engine.connections.generation(app), Some(2));
    world.engine.finish().await;
}

#[actix::test]
async fn a_drain_waits_for_what_dialpad_was_asked_and_asks_nothing_more() {
    let world = World::new();
    let (app, pair) = world.connected_app();
    world.engine.connections.hold(true);
    let asking = actix::spawn({
        let engine = world.engine.engine();
        async move { engine.renew(pair).await }
    });
    eventually("Dialpad is asked", || world.engine.connections.asked() == 1).await;
    let draining = tokio::time::timeout(Duration::from_millis(20), world.engine.drain()).await;
    assert!(draining.is_err(), "it waits");
    world.engine.connections.hold(false);
    world.engine.drain().await;
    assert_eq!(world.engine.connections.generation(app), Some(2));
    assert!(matches!(asking.await, Ok(Ok(Outcome::Renewed))));
    world.after(2880).await;
    assert!(world.engine.renew(TokenPair { generation: 2, ..pair }).await.is_err());
    assert_eq!(world.engine.connections.asked(), 1);
    world.engine.finish().await;
}

proptest! {
    /// Whatever the life and the chance: not within the first second, always before the end (with a minute in hand
    /// where there is one), within a day, and near four fifths where nothing else decides.
    #[test]
    fn a_renewal_is_due_at_a_good_time(life in -10_i64..100_000_000, bits: u32, issued in 0_i64..4_000_000_000) {
        let issued_at = DateTime::from_timestamp(issued, 0).expect("an instant");
        let age = due(issued_at, issued_at + TimeDelta::seconds(life), Jitter::of(bits)) - issued_at;
        let age = age.as_seconds_f64();
        prop_assert!((1.0..=86_400.0).contains(&age), "{age}");
        let life = life as f64;
        if life > 2.0 {
            prop_assert!(age < life, "{age} of {life}");
        }
        if life > 120.0 {
            prop_assert!(age <= life - 60.0, "{age} of {life}");
        }
        if (2.0..=120.0).contains(&life) || (400.0..86_400.0).contains(&life) {
            prop_assert!((0.749..=0.851).contains(&(age / life)), "{age} of {life}");
        }
    }

    /// Pauses never shrink with more failures by more than chance may take, and stay between a second and five minutes.
    #[test]
    fn pauses_grow_and_are_bounded(failures in 1_u32.., bits: u32, asked in 0_i64..10_000_000) {
        let quiet = backoff(failures, None, Jitter::of(bits));
        prop_assert!((TimeDelta::seconds(1)..=TimeDelta::seconds(300)).contains(&quiet));
        prop_assert!(backoff(failures.saturating_add(1), None, Jitter::of(bits)) >= quiet);
        let asked = TimeDelta::seconds(asked);
        let asked_for = backoff(failures, Some(asked), Jitter::of(bits));
        prop_assert!(asked_for >= quiet && asked_for >= asked.min(TimeDelta::hours(1)));
        prop_assert!(asked_for <= TimeDelta::hours(1));
    }
}
