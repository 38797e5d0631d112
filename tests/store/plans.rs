//! Every filter of a list is served by an index, on both databases, with many rows and when none of them matches. The
//! statements are those of the lists; the databases are asked with `EXPLAIN` how they execute them.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    clock::{Clock, SystemClock},
    event::NumberFilter,
    id::AppId,
    model::call::{Direction, Status},
    model::number::Region,
};
use cti_server::store::{
    Store,
    journal::views::JournalFilter,
    tenants::api_keys::NewKey,
    views::{calls::CallFilter, listing::Filter},
};

use crate::support::World;

/// More than a plan that looks at every row would be chosen for.
const ROWS: usize = 20_000;
/// A number and a user that no row has.
const NOBODY: &str = "+19995550100";
const NO_USER: i64 = 999;

/// Fills the tables. Every row is inbound and ended, from one of 5,000 numbers to the main line, at one of 50 users.
pub(crate) async fn fill(world: &World, app: AppId) {
    let app = if world.is_on_postgres() { format!("'{app}'::uuid") } else { format!("'{app}'") };
    let (series, id, at) = if world.is_on_postgres() {
        (
            format!("generate_series(1, {ROWS}) AS n(i)"),
            "('00000000-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid",
            "now() - make_interval(mins => i::int)",
        )
    } else {
        (
            format!(
                "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) SELECT i FROM n)"
            ),
            "('00000000-0000-7000-8000-' || printf('%012d', i))",
            "strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now', '-' || i || ' minutes')",
        )
    };
    let numbers = "'+1415555' || (i % 5000), '+14155550100'";
    // Ids of the journal begin with the time: milliseconds.
    let (no, bytes, timed_id) = if world.is_on_postgres() {
        (
            "FALSE",
            "decode(lpad(i::text, 64, '0'), 'hex')",
            "(lpad(to_hex(extract(epoch from now())::bigint * 1000 - i * 60000), 12, '0') || '7000'
              || '8000' || lpad(i::text, 12, '0'))::uuid",
        )
    } else {
        (
            "0",
            "CAST(printf('%064d', i) AS BLOB)",
            "(SELECT substr(t, 1, 8) || '-' || substr(t, 9) || '-7000-8000-' || printf('%012d', i)
              FROM (SELECT printf('%012x', unixepoch('now') * 1000 - i * 60000) AS t))",
        )
    };
    for statement in [
        format!(
            "INSERT INTO calls (id, app_id, dialpad_call_id, direction, from_number, to_number, status, outcome,
             dialpad_user_id, is_voicemail, facts, version, created_at, updated_at)
             SELECT {id}, {app}, i, 'inbound', {numbers}, 'ended', 'answered', i % 50, {no}, '{{}}', 1, {at}, {at}
             FROM {series}"
        ),
        format!(
            "INSERT INTO voicemails (id, app_id, dialpad_call_id, direction, from_number, to_number, dialpad_user_id,
             received_at, created_at, updated_at)
             SELECT {id}, {app}, i, 'inbound', {numbers}, i % 50, {at}, {at}, {at} FROM {series}"
        ),
        format!(
            "INSERT INTO messages (id, app_id, dialpad_message_id, direction, from_number, to_number, dialpad_user_id,
             sent_at, facts, version, created_at, updated_at)
             SELECT {id}, {app}, 'm' || i, 'inbound', {numbers}, i % 50, {at}, '{{}}', 1, {at}, {at} FROM {series}"
        ),
        format!(
            "INSERT INTO webhook_events (id, app_id, dedup_key, event_type, payload, status, received_at)
             SELECT {timed_id}, {app}, {bytes}, 'hangup', {bytes}, 'processed', {at} FROM {series}"
        ),
    ] {
        world.execute(&statement).await;
    }
    if world.is_on_postgres() {
        world.execute("ANALYZE").await;
    } else {
        // PostgreSQL computes it.
        world.execute("UPDATE calls SET ended_updated_at = updated_at").await;
    }
}

/// Returns the lines of a plan that look at every row of a table.
fn scans(plan: &[String]) -> Vec<&String> {
    let of_a_table = ["calls", "messages", "voicemails", "webhook_events", "c", "m", "v"];
    let is_scan = |line: &&String| {
        let line = line.trim_start_matches([' ', '-', '>']);
        let all_of_an_app = line.strip_prefix("SEARCH ").filter(|_| line.contains("(app_id=?)"));
        let scanned =
            line.strip_prefix("SCAN ").or_else(|| line.strip_prefix("Seq Scan on ")).or(all_of_an_app);
        let of_few = [
            "calls_live",
            "messages_to_several",
            "webhook_events_of_app",
            "webhook_events_pending",
            "webhook_events_failed",
            "webhook_events_unrouted",
        ];
        let is_of_few = of_few.iter().any(|index| line.contains(index));
        let table = scanned.and_then(|rest| rest.split([' ', '(']).next()).unwrap_or_default();
        of_a_table.contains(&table) && !is_of_few
    };
    plan.iter().filter(is_scan).collect()
}

/// Asserts that no plan looks at every row, and that it uses the index. PostgreSQL knows the data, and may choose another
/// one of the list's indexes that has as few rows.
#[track_caller]
fn assert_uses(plan: &[String], index: &str, what: &str) {
    assert!(scans(plan).is_empty(), "{what} looks at every row:\n{}", plan.join("\n"));
    let is_postgres = plan.iter().any(|line| line.contains("(cost="));
    let index = if is_postgres { index.split_once('_').map_or(index, |(table, _)| table) } else { index };
    let is_used = |line: &String| {
        let uses = line.contains(&format!("using {index}")) || line.contains(&format!("INDEX {index}"));
        uses && !line.contains("pkey") && !line.contains("autoindex")
    };
    assert!(plan.iter().any(is_used), "{what} without {index}:\n{}", plan.join("\n"));
}

/// A filter with the end of the name of its index.
fn filters() -> Vec<(Filter, &'static str)> {
    let from = || Some(NumberFilter::new(NOBODY, Region::default()));
    let company = || Some(NumberFilter::new("+14155550100", Region::default()));
    vec![
        (Filter { from: from(), ..Filter::default() }, "from"),
        (Filter { to: from(), ..Filter::default() }, "to"),
        (Filter { dialpad_user_id: Some(NO_USER), ..Filter::default() }, "user"),
        (Filter { crm_user_id: Some("crm-999".into()), ..Filter::default() }, "user"),
        (Filter { direction: Some(Direction::Outbound), ..Filter::default() }, "direction"),
        (Filter { from: from(), dialpad_user_id: Some(7), ..Filter::default() }, "from"),
        (Filter { from: from(), to: company(), ..Filter::default() }, "from"),
        (Filter { number: from(), ..Filter::default() }, "from"),
        (Filter { number: from(), ..Filter::default() }, "to"),
        (
            Filter { dialpad_user_id: Some(7), direction: Some(Direction::Outbound), ..Filter::default() },
            "user",
        ),
        (Filter { to: company(), direction: Some(Direction::Outbound), ..Filter::default() }, "to"),
    ]
}

/// Each filter without times, before an instant, and with changes since long ago. Little has changed since a moment ago:
/// that is the index of changes.
fn with_times(now: DateTime<Utc>) -> Vec<(Filter, &'static str)> {
    let mut all = Vec::new();
    for (filter, index) in filters() {
        let long_ago = Some(now - TimeDelta::days(300));
        all.push((filter.clone(), index));
        all.push((Filter { until: long_ago, ..filter.clone() }, index));
        all.push((Filter { since: long_ago, ..filter.clone() }, index));
        all.push((Filter { since: Some(now), ..filter }, "updated"));
    }
    all
}

fn index_of(table: &str, part: &'static str) -> String {
    match (table, part) {
        (_, "updated") => format!("{table}_updated"),
        ("calls", "from" | "to") => format!("calls_ended_{part}"),
        ("calls", "user") => "calls_ended_of_user".into(),
        ("calls", _) => "calls_ended".into(),
        (_, "user") => format!("{table}_of_user"),
        ("voicemails", "direction") => "voicemails_kept".into(),
        ("messages", "direction") => "messages_by_direction".into(),
        _ => format!("{table}_{part}"),
    }
}

async fn app_with_a_mapped_user(store: &Store) -> AppId {
    let app = store.apps().create("CRM", &NewKey::generate()).await.expect("an app").id;
    store.user_mappings().map(app, &[(NO_USER, "crm-999".to_owned())]).await.expect("a mapping");
    app
}

pub(crate) async fn every_filter_of_a_list_has_an_index(world: &World, store: &Store) {
    let app = app_with_a_mapped_user(store).await;
    fill(world, app).await;
    let now = SystemClock.now();
    for (common, part) in with_times(now) {
        let what = format!("{common:?}");
        for statuses in [vec![], vec![Status::Ended]] {
            let filter = CallFilter { statuses, common: common.clone(), ..CallFilter::default() };
            let plan = store.calls().explain(app, &filter, None, 50).await.expect("a plan");
            assert_uses(&plan, &index_of("calls", part), &format!("calls {what}"));
        }
        for status in [Status::Ringing, Status::Held] {
            let filter =
                CallFilter { statuses: vec![status], common: common.clone(), ..CallFilter::default() };
            let plan = store.calls().explain(app, &filter, None, 50).await.expect("a plan");
            assert_uses(&plan, "calls_live", &format!("live calls {what}"));
        }
        let plan = store.messages().explain(app, &common, None, 50).await.expect("a plan");
        assert_uses(&plan, &index_of("messages", part), &format!("messages {what}"));
        let plan = store.voicemails().explain(app, &common, None, 50).await.expect("a plan");
        assert_uses(&plan, &index_of("voicemails", part), &format!("voicemails {what}"));
    }
}

pub(crate) async fn every_filter_of_the_journal_has_an_index(world: &World, store: &Store) {
    let app = app_with_a_mapped_user(store).await;
    fill(world, app).await;
    let (other, long_ago) = (AppId::generate(), SystemClock.now() - TimeDelta::days(300));
    for (filter, index) in [
        (JournalFilter { app: Some(other), ..JournalFilter::default() }, "webhook_events_of_app"),
        (
            JournalFilter { event_type: Some("nothing".into()), ..JournalFilter::default() },
            "webhook_events_by_type",
        ),
        (
            JournalFilter { status: Some("failed".into()), ..JournalFilter::default() },
            "webhook_events_failed",
        ),
        (
            JournalFilter { status: Some("pending".into()), ..JournalFilter::default() },
            "webhook_events_pending",
        ),
        (
            JournalFilter { status: Some("unrouted".into()), ..JournalFilter::default() },
            "webhook_events_unrouted",
        ),
    ] {
        let plan = store.journal().explain(&filter, None, 50).await.expect("a plan");
        assert_uses(&plan, index, &format!("{filter:?}"));
    }
    // The primary key, because ids begin with the time.
    for filter in [
        JournalFilter { until: Some(long_ago), ..JournalFilter::default() },
        JournalFilter { since: Some(SystemClock.now()), ..JournalFilter::default() },
    ] {
        let plan = store.journal().explain(&filter, None, 50).await.expect("a plan");
        assert!(scans(&plan).is_empty(), "{filter:?} looks at every row:\n{}", plan.join("\n"));
    }
}
