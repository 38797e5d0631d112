//! The deletion of an app: nothing of it is left in any table, and nothing of another one is missing.

use std::sync::Arc;

use chrono::TimeDelta;
use cti_actors::{
    id::AppId,
    model::message::{MessageEvent, MessageKnowledge, StoredMessage, apply},
    ports::Ledger,
    testing::ManualClock,
    unit::Unit,
};
use cti_server::store::{
    Store, dialpad::gaps::GapReason, idempotency::KeyedRequest, tenants::deletion::DeletionBegun,
};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::{
    contract::{Subject, event, now},
    schema::tables_with,
    support::World,
};

/// An app with something in each of the busy tables.
async fn busy_app(store: &Store) -> AppId {
    let app = store.new_app().await;
    let mut processed = Vec::new();
    for call in 0..1_200 {
        processed.push(store.receive(app, call, now()).await);
    }
    let sent =
        MessageEvent { dialpad_message_id: "m1".into(), at: now(), knowledge: MessageKnowledge::default() };
    let (facts, _) = apply(None, &sent);
    let message = StoredMessage { version: 1, ..StoredMessage::unseen("m1".into(), facts, now()) };
    let calls = vec![crate::contract::finished_call(7), crate::contract::finished_call(8)];
    let events = (0..600).map(|call| event(app, call)).collect();
    let unit = Unit { calls, messages: vec![message], events, processed, ..Unit::new(app, now()) };
    store.commit(Arc::new(unit)).await.expect("committed");
    store.gaps().record(app, now(), now(), GapReason::Away).await.expect("noted");
    let request = KeyedRequest { scope: &app.to_string(), key: "click", hash: b"" };
    store.idempotency().claim(request).await.expect("taken");
    app
}

async fn rows_of(world: &World, app: AppId) -> Vec<(String, i64)> {
    let url = world.setting("DATABASE_URL");
    let mut found = Vec::new();
    for table in tables_with("app_id") {
        let count = format!("SELECT COUNT(*) FROM {table} WHERE CAST(app_id AS TEXT) = '{app}'");
        let count = sqlx::AssertSqlSafe(count);
        let (rows,): (i64,) = if url.starts_with("sqlite") {
            let mut db = SqliteConnection::connect(url).await.expect("connected");
            sqlx::query_as(count).fetch_one(&mut db).await.expect("counted")
        } else {
            let mut db = PgConnection::connect(url).await.expect("connected");
            sqlx::query_as(count).fetch_one(&mut db).await.expect("counted")
        };
        if rows > 0 && table != "deleted_apps" {
            found.push((table, rows));
        }
    }
    found
}

pub(crate) async fn nothing_of_a_deleted_app_is_left(world: &World, store: &Store, clock: &ManualClock) {
    let (app, other) = (busy_app(store).await, busy_app(store).await);
    let before = rows_of(world, other).await;
    assert!(before.iter().any(|(table, rows)| table == "webhook_events" && *rows == 1_200), "{before:?}");
    assert_eq!(rows_of(world, app).await, before);

    assert_eq!(store.apps().begin_deletion(app).await.expect("begun"), DeletionBegun::Now);
    assert!(store.apps().find(app).await.expect("asked").is_none());
    assert!(store.routes().of_app(app).await.expect("asked").is_none());
    assert_eq!(store.gaps().connected_apps(true).await.expect("asked"), [other]);
    assert_eq!(store.apps().begin_deletion(app).await.expect("begun"), DeletionBegun::Before);
    let unknown = store.apps().begin_deletion(AppId::generate()).await;
    assert_eq!(unknown.expect("asked"), DeletionBegun::NoSuchApp);

    store.apps().delete_rows(app).await.expect("removed");
    assert_eq!(rows_of(world, app).await, []);
    assert_eq!(rows_of(world, other).await, before);

    // A request that had looked the app up before may write for it once more.
    store.receive(app, 5_000, now()).await;
    assert_eq!(store.apps().unfinished_deletions().await.expect("asked"), [app]);
    clock.advance(TimeDelta::seconds(61));
    store.apps().delete_rows(app).await.expect("removed");
    assert_eq!(rows_of(world, app).await, []);
    assert_eq!(store.apps().unfinished_deletions().await.expect("asked"), []);
    assert_eq!(store.apps().begin_deletion(app).await.expect("asked"), DeletionBegun::Before);
}
