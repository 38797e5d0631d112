//! Gaps, on both databases, by a clock that the test sets.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{clock::Clock, id::AppId, testing::ManualClock};
use cti_server::store::{
    Store,
    dialpad::gaps::{ClaimedGap, GapReason},
};

use crate::contract::Subject;

/// So many minutes after the clock's beginning.
fn at(minute: i64) -> DateTime<Utc> {
    ManualClock::default().now() + TimeDelta::minutes(minute)
}

async fn record(store: &Store, app: AppId, since: i64, until: i64) {
    store.gaps().record(app, at(since), at(until), GapReason::Away).await.expect("noted");
}

async fn claim(store: &Store, clock: &ManualClock) -> Option<ClaimedGap> {
    let now = clock.now();
    store.gaps().claim(now, now + TimeDelta::minutes(2)).await.expect("the database answers")
}

/// Claims and finishes every gap that is due. Returns them in minutes.
async fn recovered(store: &Store, clock: &ManualClock) -> Vec<(i64, i64)> {
    let mut gaps = Vec::new();
    while let Some(repair) = claim(store, clock).await {
        store.gaps().finish(&repair).await.expect("finished");
        gaps.push(((repair.since - at(0)).num_minutes(), (repair.until - at(0)).num_minutes()));
    }
    gaps.sort_unstable();
    gaps
}

pub(crate) async fn gaps_that_touch_are_merged(store: &Store, clock: &ManualClock) {
    let (app, other) = (store.new_app().await, store.new_app().await);
    clock.advance(TimeDelta::minutes(100));
    for (since, until) in [(10, 20), (40, 50), (20, 30), (25, 27), (70, 80), (29, 45)] {
        record(store, app, since, until).await;
    }
    record(store, other, 15, 75).await;
    assert_eq!(recovered(store, clock).await, [(10, 50), (15, 75), (70, 80)]);
}

pub(crate) async fn a_gap_is_claimed_once_and_continues_at_its_cursor(store: &Store, clock: &ManualClock) {
    let app = store.new_app().await;
    record(store, app, 0, 10).await;
    assert!(claim(store, clock).await.is_none(), "it has not ended yet");
    clock.advance(TimeDelta::minutes(10));
    let first = claim(store, clock).await.expect("a claim");
    assert_eq!((first.app, first.reason, first.cursor.as_deref()), (app, GapReason::Away, None));
    assert!(claim(store, clock).await.is_none(), "it is claimed");

    store.gaps().advance(&first, "page 2", at(-60)).await.expect("written");
    let second = claim(store, clock).await.expect("the next claim");
    assert_eq!((second.cursor.as_deref(), second.list_from), (Some("page 2"), Some(at(-60))));
    store.gaps().finish(&first).await.expect("too late");
    store.gaps().postpone(&second, clock.now() + TimeDelta::minutes(5), true).await.expect("written");
    assert!(claim(store, clock).await.is_none(), "it was put off");
    clock.advance(TimeDelta::minutes(5));
    let third = claim(store, clock).await.expect("the next claim");
    assert_eq!((third.cursor.as_deref(), third.failures), (Some("page 2"), 1));

    // Its recovery has begun, so a gap that touches it is not merged with it. The process that claimed it has crashed.
    record(store, app, 5, 15).await;
    clock.advance(TimeDelta::minutes(2));
    let second_gap = claim(store, clock).await.expect("a claim");
    assert_eq!((second_gap.until, &second_gap.cursor, second_gap.list_from), (at(15), &None, None));
    let fourth = claim(store, clock).await.expect("the next claim");
    assert_eq!((fourth.until, fourth.cursor.as_deref()), (at(10), Some("page 2")));
    store.gaps().advance(&third, "page 3", at(0)).await.expect("too late");
    store.gaps().restart(&fourth).await.expect("written");
    store.gaps().postpone(&fourth, clock.now(), false).await.expect("written");
    let fifth = claim(store, clock).await.expect("the next claim");
    assert_eq!((fifth.until, &fifth.cursor, fifth.list_from, fifth.failures), (at(10), &None, None, 1));

    // It grows while its first page is fetched: that claim is superseded.
    record(store, app, 9, 16).await;
    store.gaps().advance(&fifth, "page 2", at(0)).await.expect("too late");
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(recovered(store, clock).await, [(0, 16)]);
}

pub(crate) async fn gaps_that_were_given_up_are_merged_until_one_is_recovered(
    store: &Store,
    clock: &ManualClock,
) {
    let app = store.new_app().await;
    clock.advance(TimeDelta::minutes(100));
    for since in [40, 10, 70] {
        record(store, app, since, since + 5).await;
        let repair = claim(store, clock).await.expect("a claim");
        store.gaps().give_up(&repair, "no scope").await.expect("given up");
    }
    let lost = store.gaps().given_up(app).await.expect("read");
    assert_eq!(lost.len(), 1);
    assert_eq!(
        (lost[0].since, lost[0].until, lost[0].given_up.as_deref()),
        (at(10), at(75), Some("no scope"))
    );
    assert!(claim(store, clock).await.is_none(), "it is not claimed any more");

    record(store, app, 80, 90).await;
    assert_eq!(recovered(store, clock).await, [(80, 90)]);
    assert_eq!(store.gaps().given_up(app).await.expect("read"), []);
    record(store, app, 91, 92).await;
    let dropped = store.gaps().drop_older_than(at(93)).await.expect("asked");
    assert_eq!((dropped.len(), dropped[0].since, recovered(store, clock).await.len()), (1, at(91), 0));
}
