//! The programs of docs/recipes.md, run as they stand there.
//!
//! `CTI_TEST_REQUIRE_PYTHON=1` turns the skipped tests of a machine without Python into failures.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::support::{
    App, Ask, Call, NOON, Process, TestServer, With, World, eventually, free_port, installed, run_to_end,
};

on_both_databases![
    each_human_call_is_one_row,
    rows_are_complete_after_both_sides_were_killed,
    a_task_waits_until_the_caller_is_reached,
    a_pop_is_shown_to_the_agent_whose_phone_rings,
    a_report_counts_each_human_call_once,
    a_mirror_catches_up_on_calls_and_messages_after_a_gap,
];

const DOCUMENT: &str = include_str!("../../docs/recipes.md");
const GROUP: i64 = 6_000_000_000_000_001;

/// The programs in a folder of their own, and the environment that they need.
struct Recipes {
    folder: TempDir,
    python: PathBuf,
    cti: String,
    key: String,
}

impl Recipes {
    /// Writes all programs; `None` where Python is not installed.
    fn of(server: &TestServer, app: &App) -> Option<Self> {
        let python = installed("python3", "CTI_TEST_REQUIRE_PYTHON")?;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for (name, text) in programs() {
            fs::write(folder.path().join(name), text).expect("the folder takes a file");
        }
        Some(Self { folder, python, cti: server.base_url.clone(), key: app.key.clone() })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.args(arguments).current_dir(self.folder.path());
        command.env("CTI", &self.cti).env("CTI_API_KEY", &self.key);
        command
    }

    fn start(&self, program: &str) -> Process {
        Process::spawn("the recipe", &mut self.command(&[program]))
    }

    /// Returns the rows of a query, each as text, once there are so many.
    async fn rows(&self, database: &str, query: &'static str, count: usize) -> Vec<String> {
        let options = SqliteConnectOptions::new().filename(self.folder.path().join(database)).read_only(true);
        eventually(&format!("{database} has {count} rows"), async || {
            let mut db = SqliteConnection::connect_with(&options).await.ok()?;
            let rows: Vec<String> = sqlx::query_scalar(query).fetch_all(&mut db).await.ok()?;
            (rows.len() == count).then_some(rows)
        })
        .await
    }
}

/// Returns the name and the text of each program of the document.
fn programs() -> Vec<(&'static str, &'static str)> {
    let mut programs = Vec::new();
    let mut rest = DOCUMENT;
    while let Some((before, after)) = rest.split_once("```python\n") {
        let named = before.lines().rev().find(|line| line.starts_with('`')).expect("a program has a name");
        let name = named.split('`').nth(1).expect("the name is in backquotes");
        let (text, behind) = after.split_once("\n```").expect("a block ends");
        programs.push((name, text));
        rest = behind;
    }
    programs
}

/// Ends interactions soon after their last leg.
fn settling(world: World) -> World {
    world.with("INTERACTION_SETTLE", "200ms")
}

/// A call to a group that rings two agents, of whom the second one answers.
fn queue_call() -> Vec<Value> {
    let group = |state: &str, at: i64| {
        let target = json!({"type": "call_center", "id": 5000, "name": "Sales"});
        Call::new(GROUP).between("+14155550123", "+14155555678").state(state, at).with("target", target)
    };
    let agent = |leg: i64, user: i64, state: &str, at: i64| {
        Call::new(GROUP + leg)
            .between("+14155550123", "+14155555678")
            .of_user(user)
            .state(state, at)
            .with("entry_point_call_id", GROUP)
    };
    let over = |leg: Value, at: i64| leg.with("date_ended", (NOON + at) * 1000);
    let connected = |leg: Value, at: i64| leg.with("date_connected", (NOON + at) * 1000);
    vec![
        group("queued", 0),
        agent(1, 777, "ringing", 10),
        agent(2, 778, "ringing", 10),
        connected(agent(2, 778, "connected", 15), 15),
        connected(group("connected", 15), 15).with("operator_call_id", GROUP + 2),
        over(agent(1, 777, "hangup", 16), 16),
        over(connected(agent(2, 778, "hangup", 75), 15), 75).with("talk_time", 60_000),
        over(connected(group("hangup", 75), 15), 75).with("operator_call_id", GROUP + 2),
    ]
}

fn missed_call(id: i64, from: &str) -> [Value; 2] {
    let call = Call::new(id).between(from, "+14155555678");
    [call.ring(100), call.ended(120)]
}

async fn each_human_call_is_one_row(world: World) {
    let server = settling(world).start().await;
    let app = server.create_app("CRM").await;
    let Some(recipes) = Recipes::of(&server, &app) else { return };
    let rows = recipes.start("rows.py");
    server.webhooks(&app, &queue_call()).await;
    server.webhooks(&app, &missed_call(7, "+14155550124")).await;
    let rows_now = recipes
        .rows(
            "rows.db",
            "SELECT number || ' ' || outcome || ' ' || COALESCE(answered_by, '-') || ' ' || talk_seconds
            FROM human_calls ORDER BY number",
            2,
        )
        .await;
    assert_eq!(rows_now, ["+14155550123 answered 778 60", "+14155550124 missed - 0"]);
    drop(rows);
}

async fn rows_are_complete_after_both_sides_were_killed(world: World) {
    let world = settling(world).with("PORT", &free_port());
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let Some(recipes) = Recipes::of(&server, &app) else { return };
    let mut rows = recipes.start("rows.py");
    let count = "SELECT number FROM human_calls ORDER BY number";
    server.webhooks(&app, &missed_call(1, "+14155550101")).await;
    recipes.rows("rows.db", count, 1).await;
    rows.kill();
    server.webhooks(&app, &missed_call(2, "+14155550102")).await;
    server.process.kill();
    drop(server);
    let rows = recipes.start("rows.py");
    let server = world.start().await;
    server.webhooks(&app, &missed_call(3, "+14155550103")).await;
    let numbers = recipes.rows("rows.db", count, 3).await;
    assert_eq!(numbers, ["+14155550101", "+14155550102", "+14155550103"]);
    drop((rows, server));
}

async fn a_task_waits_until_the_caller_is_reached(world: World) {
    let server = settling(world).start().await;
    let app = server.create_app("CRM").await;
    let Some(recipes) = Recipes::of(&server, &app) else { return };
    let tasks = recipes.start("tasks.py");
    server.webhooks(&app, &missed_call(1, "+14155550101")).await;
    server.webhooks(&app, &missed_call(2, "+14155550102")).await;
    server.webhooks(&app, &queue_call()).await;
    let open = "SELECT number FROM tasks WHERE status = 'open' ORDER BY number";
    assert_eq!(recipes.rows("tasks.db", open, 2).await, ["+14155550101", "+14155550102"]);

    let back = Call::new(3).outbound().between("+14155555678", "+14155550102");
    server.webhooks(&app, &[back.ring(200), back.started(210), back.ended(260)]).await;
    assert_eq!(recipes.rows("tasks.db", open, 1).await, ["+14155550101"]);
    drop(tasks);
}

async fn a_pop_is_shown_to_the_agent_whose_phone_rings(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let Some(recipes) = Recipes::of(&server, &app) else { return };
    for (user, agent) in [(777, "ann"), (778, "bob")] {
        let mapping = json!({"dialpad_user_id": user, "crm_user_id": agent});
        server
            .post(&format!("/internal/apps/{}/users/map", app.id))
            .by_admin()
            .json(&mapping)
            .answer()
            .await
            .ok();
    }
    let mut pop = recipes.start("pop.py");
    eventually("the pop waits for events", async || {
        let engine = server.get("/internal/engine").by_admin().answer().await.ok();
        (engine["sessions"].as_i64() > Some(0)).then_some(())
    })
    .await;
    server.webhooks(&app, &queue_call()).await;
    let (ann, bob) = (GROUP + 1, GROUP + 2);
    pop.wait_for_line("bob's end", |line| (line == format!("over bob {bob}")).then_some(())).await;
    let log = pop.log();
    let lines: Vec<_> = log.lines().collect();
    assert!(lines.contains(&format!("show ann {ann} +14155550123").as_str()), "{log}");
    assert!(lines.contains(&format!("answered bob {bob}").as_str()), "{log}");
    assert!(lines.contains(&format!("elsewhere ann {ann}").as_str()), "{log}");
    assert_eq!(lines.len(), 5, "{log}");
}

async fn a_report_counts_each_human_call_once(world: World) {
    let server = settling(world).start().await;
    let app = server.create_app("CRM").await;
    let Some(recipes) = Recipes::of(&server, &app) else { return };
    let mapping = json!({"dialpad_user_id": 778, "crm_user_id": "bob"});
    server
        .post(&format!("/internal/apps/{}/users/map", app.id))
        .by_admin()
        .json(&mapping)
        .answer()
        .await
        .ok();
    server.webhooks(&app, &queue_call()).await;
    server.webhooks(&app, &missed_call(7, "+14155550124")).await;
    server.feed_once_processed(&app, 2).await;
    let report = run_to_end(recipes.command(&["report.py", "2024-01-01"]), Duration::from_secs(30)).await;
    let lines =
        "agent,direction,outcome,calls,talk_seconds\n-,inbound,missed,1,0\nbob,inbound,answered,1,60\n";
    assert_eq!(String::from_utf8_lossy(&report.stdout), lines, "{}", String::from_utf8_lossy(&report.stderr));
}

async fn a_mirror_catches_up_on_calls_and_messages_after_a_gap(world: World) {
    let world = world.with("RETENTION_EVENTS", "1s").with("RETENTION_INTERVAL", "1s");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let Some(recipes) = Recipes::of(&server, &app) else { return };
    let mut mirror = recipes.start("mirror.py");
    server.webhooks(&app, &missed_call(1, "+14155550101")).await;
    recipes.rows("mirror.db", "SELECT id FROM calls", 1).await;
    mirror.kill();
    server.webhooks(&app, &missed_call(2, "+14155550102")).await;
    let message = json!({
        "event_type": "message.received", "message_id": "m-1", "direction": "inbound", "text": "Hello",
        "from_number": "+14155550103", "to_number": "+14155555678", "timestamp": NOON,
    });
    server.webhook(&app, &message).await;
    eventually("all events are gone", async || {
        let page = server.get("/api/events").by(&app).answer().await;
        (page.list().is_empty() && page.header("x-cursor") == Some("5")).then_some(())
    })
    .await;
    let mirror = recipes.start("mirror.py");
    recipes.rows("mirror.db", "SELECT id FROM calls UNION ALL SELECT id FROM messages", 3).await;
    drop(mirror);
}
