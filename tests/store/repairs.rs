//! Gaps, on both databases, by a clock that the test sets.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{clock::Clock, id::AppId, testing::ManualClock};
use cti_server::store::{
    Store,
    dialpad::gaps::{GapReason, Repair},
};

use crate::contract::Subject;

/// So many minutes after the clock's beginning.
fn at(minute: i64) -> DateTime<Utc> {
    ManualClock::default().now() + TimeDelta::minutes(minute)
}

async fn note(store: &Store, app: AppId, since: i64, until: i64) {
    store.gaps().record(app, at(since), at(until), GapReason::Away).await.expect("noted");
}

async fn take(store: &Store, clock: &ManualClock) -> Option<Repair> {
    let now = clock.now();
    store.gaps().claim(now, now + TimeDelta::minutes(2)).await.expect("the database answers")
}

/// Everything that is due, each turn finished. In minutes.
async fn worked_off(store: &Store, clock: &ManualClock) -> Vec<(i64, i64)> {
    let mut gaps = Vec::new();
    while let Some(repair) = take(store, clock).await {
        store.gaps().finish(&repair).await.expect("finished");
        gaps.push(((repair.since - at(0)).num_minutes(), (repair.until - at(0)).num_minutes()));
    }
    gaps.sort_unstable();
    gaps
}

pub(crate) async fn gaps_that_touch_become_one(store: &Store, clock: &ManualClock) {
    let (app, other) = (store.new_app().await, store.new_app().await);
    clock.advance(TimeDelta::minutes(100));
    for (since, until) in [(10, 20), (40, 50), (20, 30), (25, 27), (70, 80), (29, 45)] {
        note(store, app, since, until).await;
    }
    note(store, other, 15, 75).await;
    assert_eq!(worked_off(store, clock).await, [(10, 50), (15, 75), (70, 80)]);
}

pub(crate) async fn a_turn_goes_to_one_and_goes_on_where_it_was(store: &Store, clock: &ManualClock) {
    let app = store.new_app().await;
    note(store, app, 0, 10).await;
    assert!(take(store, clock).await.is_none(), "it has not ended yet");
    clock.advance(TimeDelta::minutes(10));
    let first = take(store, clock).await.expect("a turn");
    assert_eq!((first.app, first.reason, first.cursor.as_deref()), (app, GapReason::Away, None));
    assert!(take(store, clock).await.is_none(), "somebody is at it");

    store.gaps().advance(&first, "page 2", at(-60)).await.expect("written");
    let second = take(store, clock).await.expect("the next turn");
    assert_eq!((second.cursor.as_deref(), second.list_from), (Some("page 2"), Some(at(-60))));
    store.gaps().finish(&first).await.expect("too late");
    store.gaps().postpone(&second, clock.now() + TimeDelta::minutes(5), true).await.expect("written");
    assert!(take(store, clock).await.is_none(), "it was put off");
    clock.advance(TimeDelta::minutes(5));
    let third = take(store, clock).await.expect("the next turn");
    assert_eq!((third.cursor.as_deref(), third.failures), (Some("page 2"), 1));

    // It was begun, so another one that touches it stands beside it. Whoever took it has died.
    note(store, app, 5, 15).await;
    clock.advance(TimeDelta::minutes(2));
    let beside = take(store, clock).await.expect("a turn");
    assert_eq!((beside.until, &beside.cursor, beside.list_from), (at(15), &None, None));
    let fourth = take(store, clock).await.expect("the next turn");
    assert_eq!((fourth.until, fourth.cursor.as_deref()), (at(10), Some("page 2")));
    store.gaps().advance(&third, "page 3", at(0)).await.expect("too late");
    store.gaps().restart(&fourth).await.expect("written");
    store.gaps().postpone(&fourth, clock.now(), false).await.expect("written");
    let fifth = take(store, clock).await.expect("the next turn");
    assert_eq!((fifth.until, &fifth.cursor, fifth.list_from, fifth.failures), (at(10), &None, None, 1));

    // It grows while somebody is at its first page: that one's turn counts no more.
    note(store, app, 9, 16).await;
    store.gaps().advance(&fifth, "page 2", at(0)).await.expect("too late");
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(worked_off(store, clock).await, [(0, 16)]);
}

pub(crate) async fn what_is_given_up_is_said_once_until_it_heals(store: &Store, clock: &ManualClock) {
    let app = store.new_app().await;
    clock.advance(TimeDelta::minutes(100));
    for since in [40, 10, 70] {
        note(store, app, since, since + 5).await;
        let repair = take(store, clock).await.expect("a turn");
        store.gaps().give_up(&repair, "no scope").await.expect("given up");
    }
    let lost = store.gaps().given_up(app).await.expect("read");
    assert_eq!(lost.len(), 1);
    assert_eq!(
        (lost[0].since, lost[0].until, lost[0].given_up.as_deref()),
        (at(10), at(75), Some("no scope"))
    );
    assert!(take(store, clock).await.is_none(), "nobody takes it up");

    note(store, app, 80, 90).await;
    assert_eq!(worked_off(store, clock).await, [(80, 90)]);
    assert_eq!(store.gaps().given_up(app).await.expect("read"), []);
    note(store, app, 91, 92).await;
    let dropped = store.gaps().drop_older_than(at(93)).await.expect("asked");
    assert_eq!((dropped.len(), dropped[0].since, worked_off(store, clock).await.len()), (1, at(91), 0));
}
