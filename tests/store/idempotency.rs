//! Keys of requests that may come twice, on both databases, by a clock that the test sets.

use chrono::TimeDelta;
use cti_actors::testing::ManualClock;
use cti_server::store::{
    Store,
    idempotency::{Claim, HeldKey, KeyedRequest, StoredAnswer},
};
use futures_util::future::join_all;

const REQUEST: KeyedRequest<'static> = KeyedRequest { scope: "an app", key: "click", hash: b"what is asked" };

fn created() -> StoredAnswer {
    StoredAnswer { status: 201, body: r#"{"api_key":"raw_0123"}"#.to_owned() }
}

async fn take(store: &Store) -> Claim {
    store.idempotency().claim(REQUEST).await.expect("the database answers")
}

#[track_caller]
fn new(claim: Claim) -> HeldKey {
    match claim {
        Claim::New(held) => held,
        other => panic!("expected a fresh key, got {other:?}"),
    }
}

#[track_caller]
fn unknown(claim: Claim) -> HeldKey {
    match claim {
        Claim::OutcomeUnknown(held) => held,
        other => panic!("expected an unknown outcome, got {other:?}"),
    }
}

pub(crate) async fn of_many_claims_of_a_key_one_succeeds(store: &Store) {
    let taken = join_all((0..16).map(|_| take(store))).await;
    let fresh = taken.iter().filter(|it| matches!(it, Claim::New(_))).count();
    let under_way = taken.iter().filter(|it| matches!(it, Claim::InProgress)).count();
    assert_eq!((fresh, under_way), (1, 15));
    let foreign = KeyedRequest { scope: "another app", ..REQUEST };
    assert!(matches!(store.idempotency().claim(foreign).await, Ok(Claim::New(_))));
}

pub(crate) async fn the_first_answer_is_kept_for_a_day(store: &Store, clock: &ManualClock) {
    let held = new(take(store).await);
    store.idempotency().store_answer(&held, &created()).await.expect("kept");
    store
        .idempotency()
        .store_answer(&held, &StoredAnswer { status: 500, body: String::new() })
        .await
        .expect("too late");
    store.idempotency().release(&held).await.expect("too late");
    clock.advance(TimeDelta::hours(24));
    assert!(matches!(take(store).await, Claim::Answered(kept) if kept == created()));
    let other = KeyedRequest { hash: b"something else", ..REQUEST };
    assert!(matches!(store.idempotency().claim(other).await, Ok(Claim::OtherRequest)));
    assert_eq!(store.idempotency().prune().await.expect("asked"), 0);

    clock.advance(TimeDelta::seconds(1));
    new(take(store).await);
    clock.advance(TimeDelta::hours(25));
    assert_eq!(store.idempotency().prune().await.expect("asked"), 1);
}

pub(crate) async fn the_outcome_of_an_unanswered_request_is_unknown_after_a_minute(
    store: &Store,
    clock: &ManualClock,
) {
    let first = new(take(store).await);
    clock.advance(TimeDelta::seconds(59));
    assert!(matches!(take(store).await, Claim::InProgress));
    clock.advance(TimeDelta::seconds(1));
    let other = KeyedRequest { hash: b"something else", ..REQUEST };
    assert!(matches!(store.idempotency().claim(other).await, Ok(Claim::OtherRequest)));
    let taken = join_all((0..8).map(|_| take(store))).await;
    let taken: Vec<_> = taken.into_iter().filter(|it| !matches!(it, Claim::InProgress)).collect();
    assert_eq!(taken.len(), 1, "one takes it up: {taken:?}");
    let second = unknown(taken.into_iter().next().expect("one"));
    assert_eq!((second.correlation, second.begun_at), (first.correlation, first.begun_at));

    // A slow request does not take the key away from the one that holds it now; an answer is kept all the same.
    store.idempotency().release(&first).await.expect("asked");
    store.idempotency().leave_unknown(&first).await.expect("asked");
    assert!(matches!(take(store).await, Claim::InProgress));
    store.idempotency().leave_unknown(&second).await.expect("asked");
    let third = unknown(take(store).await);
    store.idempotency().store_answer(&first, &created()).await.expect("kept");
    store.idempotency().release(&third).await.expect("too late");
    assert!(matches!(take(store).await, Claim::Answered(_)));
}

pub(crate) async fn a_released_key_is_new_again(store: &Store) {
    let first = new(take(store).await);
    store.idempotency().release(&first).await.expect("released");
    let second = new(take(store).await);
    assert_ne!(first.correlation, second.correlation);
}
