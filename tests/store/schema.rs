//! What only the databases promise.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::TimeDelta;
use cti_actors::{
    id::{AppId, DialpadCallId, KeyId, Seq, VoicemailId},
    model::call::{Direction, Voicemail, VoicemailRecord},
    ports::{Authenticator, Bounds, EventLog, GapTimes, Journal, Ledger},
    testing::ManualClock,
    unit::Unit,
};
use cti_server::store::{
    Store,
    journal::append::Appended,
    retention::{Pace, Pruned},
    tenants::api_keys::NewKey,
    views::listing::ItemRef,
};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::{
    contract::{Subject, now, webhook},
    support::World,
};

pub(crate) async fn the_same_webhook_is_written_once(store: &Store) {
    let (ours, theirs) = (store.new_app().await, store.new_app().await);
    let twice = vec![webhook(ours, 1, now()), webhook(ours, 1, now()), webhook(theirs, 1, now())];
    let appended = store.journal().append(twice).await.expect("written");
    let Appended::New(first) = appended[0] else { panic!("expected a new row, got {appended:?}") };
    assert_eq!(appended[1], Appended::Duplicate);
    assert!(matches!(appended[2], Appended::New(_)), "another app has a journal of its own");
    assert_eq!(
        store.journal().append(vec![webhook(ours, 1, now())]).await.expect("written"),
        [Appended::Duplicate]
    );
    let key = webhook(ours, 1, now()).dedup_key;
    assert_eq!(store.journal().find_duplicate(Some(ours), key).await.expect("found"), Some(first));
}

pub(crate) async fn old_events_are_deleted_and_the_bound_moves(store: &Store) {
    let (app, other) = (store.new_app().await, store.new_app().await);
    let old = store.receive(app, 1, now()).await;
    let unit = |app, count, decided_at, processed| {
        let events = (1..=count).map(|call| crate::contract::event(app, call)).collect();
        Arc::new(Unit { events, processed, ..Unit::new(app, decided_at) })
    };
    store.commit(unit(app, 2500, now(), vec![old])).await.expect("committed");
    store.commit(unit(app, 3, now() + TimeDelta::seconds(60), vec![])).await.expect("committed");
    store.commit(unit(other, 2, now() + TimeDelta::seconds(60), vec![])).await.expect("committed");
    let waiting = store.receive(app, 2, now()).await;

    // Every page is followed by a rest in proportion to its time, however much is left.
    let rests: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let rested = Arc::clone(&rests);
    let pace = Pace::new(move |rest| {
        rested.lock().expect("no holder panics").push(rest);
        Box::pin(std::future::ready(()))
    });
    let removed =
        store.retention().prune(now() + TimeDelta::seconds(30), now() + TimeDelta::days(36_500), &pace).await;
    assert_eq!(removed.expect("removed"), Pruned { events: 2500, webhooks: 1, feeds_ahead: 0 });
    let rests = rests.lock().expect("no holder panics").clone();
    assert!(rests.len() >= 4, "2500 events are no single page: {rests:?}");
    assert!(rests.iter().all(|rest| *rest >= Duration::from_millis(5)), "{rests:?}");
    let Bounds { oldest, head, .. } = store.bounds(app).await.expect("read");
    assert_eq!((oldest, head), (Seq(2501), Seq(2503)));
    assert_eq!(store.page(app, Seq::START, 10).await.expect("read").len(), 3);
    assert_eq!(store.bounds(other).await.expect("read").oldest, Seq(1));
    let deleted = GapTimes { from_at: Some(now()), until_at: Some(now()) };
    assert_eq!(store.gap_times(app, Seq(1500)).await.expect("read"), deleted, "their time stays known");
    assert_eq!(store.gap_times(other, Seq(1)).await.expect("read"), GapTimes::default());
    let pending = store.pending(app, 10).await.expect("read");
    assert_eq!(
        pending.iter().map(|event| event.id).collect::<Vec<_>>(),
        [waiting],
        "a pending webhook is never too old"
    );
    let again = store.retention().prune(now() + TimeDelta::seconds(30), now(), &Pace::default()).await;
    assert_eq!(again.expect("removed"), Pruned::default());
}

pub(crate) async fn events_that_a_wrong_clock_has_dated_delete_no_others(store: &Store) {
    let (behind, ahead) = (store.new_app().await, store.new_app().await);
    let unit = |app, days| {
        let events = (1..=3).map(|call| crate::contract::event(app, call)).collect();
        Arc::new(Unit { events, ..Unit::new(app, now() + TimeDelta::days(days)) })
    };
    // The clock was behind for one unit in the middle.
    for days in [0, -40, 0] {
        store.commit(unit(behind, days)).await.expect("committed");
    }
    // The clock was ahead for the last unit.
    for days in [-50, 365 * 1000] {
        store.commit(unit(ahead, days)).await.expect("committed");
    }
    let pruned = store
        .retention()
        .prune(now() - TimeDelta::days(30), now() - TimeDelta::days(30), &Pace::default())
        .await;
    assert_eq!(pruned.expect("pruned"), Pruned { events: 0, webhooks: 0, feeds_ahead: 1 });
    assert_eq!(store.bounds(behind).await.expect("read").oldest, Seq(1));
    assert_eq!(store.bounds(ahead).await.expect("read").oldest, Seq(1));
}

/// A unit that was decided before the deletion may be written after it.
pub(crate) async fn a_deleted_voicemail_is_not_written_again(store: &Store) {
    let app = store.new_app().await;
    let voicemail = VoicemailRecord {
        id: VoicemailId::generate(),
        dialpad_call_id: DialpadCallId(7),
        voicemail: Voicemail {
            dialpad_voicemail_id: Some("vm_1".into()),
            recording_url: Some("https://dialpad.com/r/1".into()),
            transcript: Some("Hi".into()),
            duration_seconds: Some(28),
            received_at: now(),
        },
        direction: Some(Direction::Inbound),
        from_number: Some("+1".into()),
        to_number: Some("+2".into()),
        dialpad_user_id: Some(555),
        updated_at: now(),
    };
    let unit = || Arc::new(Unit { voicemails: vec![voicemail.clone()], ..Unit::new(app, now()) });
    let name = ItemRef::of("vm_1");
    store.commit(unit()).await.expect("committed");
    assert!(store.voicemails().find(app, &name).await.expect("read").is_some());
    assert!(store.voicemails().delete(app, &name).await.expect("deleted"));
    store.commit(unit()).await.expect("committed");
    assert!(store.voicemails().find(app, &name).await.expect("read").is_none());
    assert!(!store.voicemails().delete(app, &name).await.expect("there is nothing to delete"));
}

/// Another process may end it.
pub(crate) async fn a_key_is_valid_until_it_ends(store: &Store, clock: &ManualClock) {
    let (first, second) = (NewKey::generate(), NewKey::generate());
    let app = store.apps().create("an app", &first).await.expect("an app").id;
    let other = NewKey::generate();
    store.apps().create("another app", &other).await.expect("an app");
    let keys = [first.id, second.id, other.id, KeyId::generate()];
    let valid = async || {
        let mut valid = store.still_valid(&keys).await.expect("read");
        valid.sort_unstable();
        valid
    };
    assert_eq!(valid().await, [first.id, other.id]);
    store.api_keys().rotate(app, &second, TimeDelta::seconds(60)).await.expect("rotated");
    assert_eq!(valid().await, [first.id, second.id, other.id], "the old one is in its grace");
    clock.advance(TimeDelta::seconds(61));
    assert_eq!(valid().await, [second.id, other.id]);
}

/// The look-ups of callers that come while one is under way share the next query.
pub(crate) async fn look_ups_at_the_same_time_give_each_caller_its_own(store: &Store) {
    let mut apps = Vec::new();
    for number in 0..12 {
        let app = store.new_app().await;
        let region = if number % 2 == 0 { "DE" } else { "FR" };
        store.apps().set_region(app, region.parse().expect("a region")).await.expect("set");
        store.user_mappings().map(app, &[(7, format!("crm-{number}"))]).await.expect("mapped");
        if number % 3 == 0 {
            store.receive(app, number, now()).await;
        }
        apps.push((number, region, app));
    }
    let look_up = |(number, region, app)| async move {
        let (users, found, route, pending) = tokio::join!(
            store.crm_users(app, &[7, 8]),
            store.apps().region(app),
            store.routes().of_app(app),
            store.pending(app, 10),
        );
        let users: Vec<_> = users.expect("read").into_iter().collect();
        assert_eq!(users, [(7, format!("crm-{number}"))]);
        assert_eq!(found.expect("read").as_str(), region);
        assert!(route.expect("read").is_some_and(|route| route.is_active));
        assert_eq!(pending.expect("read").len(), usize::from(number % 3 == 0));
    };
    futures_util::future::join_all(apps.into_iter().map(look_up)).await;
    let nobody = AppId::generate();
    assert!(store.routes().of_app(nobody).await.expect("read").is_none());
    assert!(store.crm_users(nobody, &[7]).await.expect("read").is_empty());
}

/// The names of all columns, table by table, are alike on both; each is compared with what is written here.
pub(crate) async fn both_databases_have_the_same_tables(world: &World) {
    let url = world.setting("DATABASE_URL");
    let columns: Vec<(String, String)> = if url.starts_with("sqlite") {
        let mut db = SqliteConnection::connect(url).await.expect("connected");
        let select = "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_xinfo(t.name) c
            WHERE t.type = 'table' AND t.name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY t.name, c.name";
        sqlx::query_as(select).fetch_all(&mut db).await.expect("read")
    } else {
        let mut db = PgConnection::connect(url).await.expect("connected");
        let select = "SELECT table_name::text, column_name::text FROM information_schema.columns
            WHERE table_schema = 'public' AND table_name NOT LIKE '\\_%' ORDER BY table_name, column_name";
        sqlx::query_as(select).fetch_all(&mut db).await.expect("read")
    };
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (table, column) in columns {
        tables.entry(table).or_default().push(column);
    }
    let expected: BTreeMap<String, Vec<String>> = written_tables();
    assert_eq!(tables, expected);
}

/// The tables that have this column.
pub(crate) fn tables_with(column: &str) -> Vec<String> {
    let tables = written_tables().into_iter();
    tables.filter(|(_, columns)| columns.iter().any(|it| it == column)).map(|(table, _)| table).collect()
}

/// The tables as the migrations for SQLite write them.
fn written_tables() -> BTreeMap<String, Vec<String>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = None;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite");
    let files = std::fs::read_dir(folder).expect("the folder of migrations");
    let mut files: Vec<_> = files.map(|file| file.expect("a migration").path()).collect();
    files.sort();
    let texts = files.iter().map(|file| std::fs::read_to_string(file).expect("a readable migration"));
    let migrations: String = texts.collect();
    for line in migrations.lines() {
        let altered = line.strip_prefix("ALTER TABLE ");
        if let Some((table, rest)) = altered.and_then(|rest| rest.split_once(" ADD COLUMN ")) {
            let column = rest.split_whitespace().next().unwrap_or_default();
            tables.entry(table.to_owned()).or_default().push(column.trim_end_matches(';').to_owned());
        } else if let Some((table, column)) = altered.and_then(|rest| rest.split_once(" DROP COLUMN ")) {
            let column = column.trim_end_matches(';');
            tables.entry(table.to_owned()).or_default().retain(|known| known != column);
        } else if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
            current = rest.split_whitespace().next().map(str::to_owned);
        } else if line.starts_with(')') {
            current = None;
        } else if let (Some(table), Some(first)) = (&current, line.split_whitespace().next())
            && !["--", "PRIMARY", "UNIQUE"].iter().any(|word| first.starts_with(word))
        {
            tables.entry(table.clone()).or_default().push(first.to_owned());
        }
    }
    tables.values_mut().for_each(|columns| columns.sort());
    tables
}
