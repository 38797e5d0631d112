//! What ended before its time of what the console has signed, on both databases.

use std::sync::Arc;

use chrono::TimeDelta;
use cti_actors::{
    clock::{Clock, new_uuid},
    testing::ManualClock,
};
use futures_util::future::join_all;

use crate::{open_at, support::World};

on_both_databases![of_many_who_end_the_same_one_does, what_would_have_ended_anyway_is_deleted];

async fn of_many_who_end_the_same_one_does(world: World) {
    let clock = Arc::new(ManualClock::default());
    let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
    let (id, until) = (new_uuid(), clock.now() + TimeDelta::hours(1));
    let endings = store.console_endings();
    assert!(!endings.includes(id).await.expect("read"));
    let ended = join_all((0..8).map(|_| endings.end(id, until))).await;
    let first = ended.into_iter().filter(|ended| *ended.as_ref().expect("written")).count();
    assert_eq!(first, 1);
    assert!(endings.includes(id).await.expect("read"));
    assert!(!endings.includes(new_uuid()).await.expect("read"));
}

async fn what_would_have_ended_anyway_is_deleted(world: World) {
    let clock = Arc::new(ManualClock::default());
    let store = open_at(&world, Arc::<ManualClock>::clone(&clock)).await;
    let endings = store.console_endings();
    let (early, late) = (new_uuid(), new_uuid());
    endings.end(early, clock.now() + TimeDelta::hours(1)).await.expect("written");
    endings.end(late, clock.now() + TimeDelta::hours(3)).await.expect("written");
    clock.advance(TimeDelta::hours(2));
    assert_eq!(endings.prune().await.expect("deleted"), 1);
    assert!(!endings.includes(early).await.expect("read") && endings.includes(late).await.expect("read"));
}
