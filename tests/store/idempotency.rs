//! Keys of requests that may come twice, on both databases, by a clock that the test sets.

use chrono::TimeDelta;
use cti_actors::testing::ManualClock;
use cti_server::store::{
    Store,
    idempotency::{HeldKey, KeptAnswer, KeyedRequest, Taken},
};
use futures_util::future::join_all;

const REQUEST: KeyedRequest<'static> = KeyedRequest { scope: "an app", key: "click", hash: b"what is asked" };

fn created() -> KeptAnswer {
    KeptAnswer { status: 201, body: r#"{"api_key":"raw_0123"}"#.to_owned() }
}

async fn take(store: &Store) -> Taken {
    store.idempotency().claim(REQUEST).await.expect("the database answers")
}

#[track_caller]
fn fresh(taken: Taken) -> HeldKey {
    match taken {
        Taken::Fresh(held) => held,
        other => panic!("expected a fresh key, got {other:?}"),
    }
}

#[track_caller]
fn in_doubt(taken: Taken) -> HeldKey {
    match taken {
        Taken::InDoubt(held) => held,
        other => panic!("expected a request in doubt, got {other:?}"),
    }
}

pub(crate) async fn of_many_who_take_a_key_one_gets_it(store: &Store) {
    let taken = join_all((0..16).map(|_| take(store))).await;
    let fresh = taken.iter().filter(|it| matches!(it, Taken::Fresh(_))).count();
    let under_way = taken.iter().filter(|it| matches!(it, Taken::UnderWay)).count();
    assert_eq!((fresh, under_way), (1, 15));
    let foreign = KeyedRequest { scope: "another app", ..REQUEST };
    assert!(matches!(store.idempotency().claim(foreign).await, Ok(Taken::Fresh(_))));
}

pub(crate) async fn the_first_answer_stands_for_a_day(store: &Store, clock: &ManualClock) {
    let held = fresh(take(store).await);
    store.idempotency().store_answer(&held, &created()).await.expect("kept");
    store
        .idempotency()
        .store_answer(&held, &KeptAnswer { status: 500, body: String::new() })
        .await
        .expect("too late");
    store.idempotency().release(&held).await.expect("too late");
    clock.advance(TimeDelta::hours(24));
    assert!(matches!(take(store).await, Taken::Answered(kept) if kept == created()));
    let other = KeyedRequest { hash: b"something else", ..REQUEST };
    assert!(matches!(store.idempotency().claim(other).await, Ok(Taken::AnotherRequest)));
    assert_eq!(store.idempotency().prune().await.expect("asked"), 0);

    clock.advance(TimeDelta::seconds(1));
    fresh(take(store).await);
    clock.advance(TimeDelta::hours(25));
    assert_eq!(store.idempotency().prune().await.expect("asked"), 1);
}

pub(crate) async fn what_nobody_answers_is_in_doubt_after_a_minute(store: &Store, clock: &ManualClock) {
    let first = fresh(take(store).await);
    clock.advance(TimeDelta::seconds(59));
    assert!(matches!(take(store).await, Taken::UnderWay));
    clock.advance(TimeDelta::seconds(1));
    let other = KeyedRequest { hash: b"something else", ..REQUEST };
    assert!(matches!(store.idempotency().claim(other).await, Ok(Taken::AnotherRequest)));
    let taken = join_all((0..8).map(|_| take(store))).await;
    let taken: Vec<_> = taken.into_iter().filter(|it| !matches!(it, Taken::UnderWay)).collect();
    assert_eq!(taken.len(), 1, "one takes it up: {taken:?}");
    let second = in_doubt(taken.into_iter().next().expect("one"));
    assert_eq!((second.correlation, second.begun_at), (first.correlation, first.begun_at));

    // Whoever was slow does not take it away from the one who is at it now; but an answer is an answer.
    store.idempotency().release(&first).await.expect("asked");
    store.idempotency().leave_unknown(&first).await.expect("asked");
    assert!(matches!(take(store).await, Taken::UnderWay));
    store.idempotency().leave_unknown(&second).await.expect("asked");
    let third = in_doubt(take(store).await);
    store.idempotency().store_answer(&first, &created()).await.expect("kept");
    store.idempotency().release(&third).await.expect("too late");
    assert!(matches!(take(store).await, Taken::Answered(_)));
}

pub(crate) async fn a_key_that_was_let_go_is_fresh_again(store: &Store) {
    let first = fresh(take(store).await);
    store.idempotency().release(&first).await.expect("released");
    let second = fresh(take(store).await);
    assert_ne!(first.correlation, second.correlation);
}
