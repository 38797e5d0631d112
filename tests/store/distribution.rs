//! Whether the tables could be distributed over several PostgreSQL servers by `app_id`, as Citus does it: each unique key of
//! a distributed table contains the column by which it is distributed. See `docs/scale.md`.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Connection, PgConnection, Row};

use crate::{open, support::World};

on_postgres![each_unique_key_contains_the_app_or_is_named];

/// Small tables, written seldom: a copy of each is on every server, and their keys may be of any form. The tables without
/// `app_id` are of this kind as well.
const COPIED: [&str; 5] =
    ["api_keys", "api_key_audit_log", "dialpad_user_mappings", "dialpad_webhooks", "oauth_sessions"];

/// Keys that would have to change before their table can be distributed.
const EXCEPTIONS: [(&str, &str); 4] = [
    ("gaps", "an id of version 7 is unique by itself: the key becomes (app_id, id)"),
    ("messages", "the same"),
    ("voicemails", "the same"),
    ("webhook_events", "the same; what is not routed has no app, and needs a table of its own"),
];

const UNIQUE_KEYS: &str = "SELECT tables.relname::text, array_to_string(ARRAY(
        SELECT attname FROM pg_attribute WHERE attrelid = keys.indexrelid ORDER BY attnum), ',')
    FROM pg_index keys JOIN pg_class tables ON tables.oid = keys.indrelid
    WHERE keys.indisunique AND tables.relnamespace = current_schema()::regnamespace";
const TABLES_OF_APPS: &str = "SELECT table_name::text FROM information_schema.columns
    WHERE table_schema = current_schema() AND column_name = 'app_id'";

async fn each_unique_key_contains_the_app_or_is_named(world: World) {
    open(&world).await.close().await;
    let mut db = PgConnection::connect(world.setting("DATABASE_URL")).await.expect("it can be reached");
    let tables: BTreeSet<String> =
        sqlx::query_scalar(TABLES_OF_APPS).fetch_all(&mut db).await.expect("read").into_iter().collect();
    let mut without_app = BTreeMap::<String, Vec<String>>::new();
    for row in sqlx::query(UNIQUE_KEYS).fetch_all(&mut db).await.expect("read") {
        let (table, columns): (String, String) = (row.get(0), row.get(1));
        let is_distributed = tables.contains(&table) && !COPIED.contains(&table.as_str());
        if is_distributed && !columns.split(',').any(|column| column == "app_id") {
            without_app.entry(table).or_default().push(columns);
        }
    }
    let excepted: BTreeSet<&str> = EXCEPTIONS.iter().map(|(table, _)| *table).collect();
    let unnamed: Vec<_> =
        without_app.iter().filter(|(table, _)| !excepted.contains(table.as_str())).collect();
    assert!(unnamed.is_empty(), "these keys do not contain app_id: {unnamed:?}");
    let needless: Vec<_> = excepted.iter().filter(|table| !without_app.contains_key(**table)).collect();
    assert!(needless.is_empty(), "no exception is needed for {needless:?}");
}
