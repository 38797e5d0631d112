//! Webhooks that come into the journal with the unit of work that processes them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
};

use cti_actors::{
    error::{Duplicate, StoreError},
    id::{AppId, JournalId},
    ports::{EventLog, Journal, Ledger},
    unit::{IncomingStatus, IncomingWebhook, Unit},
};
use cti_server::store::Store;
use futures_util::future::{join, join_all};

use crate::contract::{Subject, event, now, webhook};

/// The row of a ring of this call. That of the same call again has the same key.
fn row(app: AppId, call: i64) -> Arc<IncomingWebhook> {
    let webhook = webhook(app, call, now());
    Arc::new(IncomingWebhook {
        trace: None,
        id: JournalId::generate(),
        organization_id: None,
        dedup_key: webhook.dedup_key.into_bytes(),
        event_type: webhook.event_type,
        payload: webhook.payload,
        remark: None,
        received_at: now(),
    })
}

/// A unit that processes rings of these calls.
fn unit(app: AppId, rows: &[&Arc<IncomingWebhook>], status: &IncomingStatus) -> Arc<Unit> {
    let incoming = rows.iter().map(|row| (Arc::clone(row), status.clone())).collect();
    let events = (1..).zip(rows).map(|(call, _)| event(app, call)).collect();
    Arc::new(Unit { incoming, events, ..Unit::new(app, now()) })
}

pub(crate) async fn a_webhook_is_in_the_journal_with_what_follows_from_it(store: &Store) {
    let app = store.new_app().await;
    let rows: Vec<_> = (1..=9).map(|call| row(app, call)).collect();
    let (first, rest) = rows.split_first().expect("there are nine");
    store.commit(unit(app, &[first], &IncomingStatus::Processed)).await.expect("committed");
    let rest: Vec<_> = rest.iter().collect();
    store.commit(unit(app, &rest, &IncomingStatus::Processed)).await.expect("committed");
    assert_eq!(store.bounds(app).await.expect("read").head.0, 9);
    assert!(store.pending(app, 10).await.expect("read").is_empty());
    for row in &rows {
        let entry = store.journal().entry(row.id).await.expect("read").expect("it is there");
        assert_eq!((entry.status.as_str(), entry.attempts, entry.reason), ("processed", 0, None));
    }
}

pub(crate) async fn a_webhook_whose_attempt_failed_is_pending_and_one_that_failed_is_not(store: &Store) {
    let app = store.new_app().await;
    let (again, failed) = (row(app, 1), row(app, 2));
    let unit = Unit {
        incoming: vec![
            (Arc::clone(&again), IncomingStatus::Retried),
            (Arc::clone(&failed), IncomingStatus::Failed("no call".into())),
        ],
        ..Unit::new(app, now())
    };
    store.commit(Arc::new(unit)).await.expect("committed");
    let pending = store.pending(app, 10).await.expect("read");
    assert_eq!(
        pending.iter().map(|webhook| (webhook.id, webhook.attempts)).collect::<Vec<_>>(),
        [(again.id, 1)]
    );
    let entry = store.journal().entry(failed.id).await.expect("read").expect("it is there");
    assert_eq!((entry.status.as_str(), entry.reason.as_deref()), ("failed", Some("no call")));
}

pub(crate) async fn a_unit_with_a_known_webhook_names_it_and_writes_nothing(store: &Store) {
    let (app, other) = (store.new_app().await, store.new_app().await);
    let known = row(app, 1);
    store.commit(unit(app, &[&known], &IncomingStatus::Processed)).await.expect("committed");

    let (again, new) = (row(app, 1), row(app, 2));
    let with_it = store.commit(unit(app, &[&new, &again], &IncomingStatus::Processed));
    // The other app has no such webhook.
    let theirs = row(other, 1);
    let beside = store.commit(unit(other, &[&theirs], &IncomingStatus::Processed));
    let (with_it, beside) = tokio::join!(with_it, beside);
    let duplicate = Duplicate { webhook: again.id, first: known.id };
    assert_eq!(with_it, Err(StoreError::Duplicates(vec![duplicate])));
    beside.expect("a unit beside it is committed");
    assert_eq!(store.bounds(app).await.expect("read").head.0, 1);

    store.commit(unit(app, &[&new], &IncomingStatus::Processed)).await.expect("committed without it");
    assert_eq!(store.bounds(app).await.expect("read").head.0, 2);
}

pub(crate) async fn a_unit_of_an_app_that_is_gone_is_refused(store: &Store) {
    let gone = AppId::generate();
    let row = row(gone, 1);
    let refused = store.commit(unit(gone, &[&row], &IncomingStatus::Processed)).await;
    assert!(matches!(refused, Err(StoreError::Rejected(_))), "{refused:?}");
    let app = store.new_app().await;
    let row = self::row(app, 1);
    store.commit(unit(app, &[&row], &IncomingStatus::Processed)).await.expect("the next one is committed");
}

pub(crate) async fn who_writes_beside_units_that_never_pause_has_its_turn(store: &Store) {
    let app = store.new_app().await;
    let done = AtomicBool::new(false);
    let calls = AtomicI64::new(0);
    let units = join_all((0..4).map(|_| async {
        while !done.load(SeqCst) {
            let row = row(app, calls.fetch_add(1, SeqCst));
            store.commit(unit(app, &[&row], &IncomingStatus::Processed)).await.expect("committed");
        }
    }));
    let others = async {
        for _ in 0..20 {
            store.new_app().await;
        }
        done.store(true, SeqCst);
    };
    join(units, others).await;
    assert_eq!(store.bounds(app).await.expect("read").head.0, calls.into_inner());
}
