//! A wall clock that is set while the server runs, or that is wrong when it starts.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, FixedOffset};
use futures_util::future::join;
use serde_json::{Value, json};

use crate::support::{
    Ack, App, Ask, Call, TestServer, World, assert_contiguous, eventually, installed, within,
};

on_both_databases![
    a_wall_clock_that_is_wrong_for_a_moment_deletes_nothing,
    an_event_of_a_start_with_a_slow_clock_deletes_no_other,
    polling_by_the_last_change_misses_no_call_while_the_clock_is_set,
    a_start_with_a_slow_clock_begins_at_the_newest_stored_time,
];

/// Where Debian's package `faketime` has its library, by processor.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// The wall clock of a server.
struct WallClock {
    file: PathBuf,
}

impl WallClock {
    /// Sets it to so much before (`-10m`) or after (`+31d`) the right time.
    fn set(&self, offset: &str) {
        // Renamed, so that no half of it is read.
        let new = self.file.with_extension("new");
        fs::write(&new, offset).expect("a file can be written");
        fs::rename(new, &self.file).expect("a file can be renamed");
    }
}

/// Returns a world in which the wall clock of each server can be set; `None` where the package is missing.
fn with_wall_clock(world: World) -> Option<(World, WallClock)> {
    installed("faketime", "CTI_TEST_REQUIRE_PROXIES")?;
    let library =
        LIBRARIES.into_iter().find(|path| Path::new(path).exists()).expect("the package has a library");
    let file = world.folder().join("wall-clock");
    let world = world
        .with("LD_PRELOAD", library)
        .with("FAKETIME_TIMESTAMP_FILE", &file.display().to_string())
        .with("FAKETIME_NO_CACHE", "1")
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let clock = WallClock { file };
    clock.set("+0");
    Some((world, clock))
}

/// Sends a webhook and retries on 503 as Dialpad does: a busy machine may take too long for one. Returns whether it was a
/// duplicate.
async fn send(server: &TestServer, app: &App, payload: &Value) -> bool {
    let path = format!("/webhooks/{}", app.id);
    loop {
        let answer = server.post_webhook(&path, &payload.to_string()).await;
        if answer.status != 503 {
            return Ack::of(&answer).duplicate;
        }
    }
}

async fn send_life(server: &TestServer, app: &App, call: i64) {
    for payload in &Call::new(call).life() {
        send(server, app, payload).await;
    }
}

async fn steps_become(server: &TestServer, count: f64) {
    eventually(&format!("{count} steps are counted"), async || {
        (server.metrics().await.sum("cti_clock_steps_total", &[]) >= count).then_some(())
    })
    .await;
}

async fn a_wall_clock_that_is_wrong_for_a_moment_deletes_nothing(world: World) {
    let Some((world, clock)) = with_wall_clock(world.with("RETENTION_INTERVAL", "1s")) else { return };
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    send_life(&server, &app, 1).await;
    let mapping = json!({"dialpad_user_id": 555, "crm_user_id": "ada"});
    let path = format!("/internal/apps/{}/users/map", app.id);
    let map = || server.post(&path).by_admin().header("idempotency-key", "key-1").json(&mapping).answer();
    let mapped = map().await;

    for (offset, steps) in [("+31d", 1.0), ("-40d", 2.0)] {
        clock.set(offset);
        steps_become(&server, steps).await;
        assert_eq!(map().await.body, mapped.body, "the key is known");
        send(&server, &app, &Call::new(1).ring(1)).await;
    }
    let said = |line: &str| line.contains("nothing is removed for its age").then_some(());
    server.process.wait_for_line("that nothing is removed", said).await;
    clock.set("+0");
    assert!(send(&server, &app, &Call::new(1).ring(0)).await, "the journal is as it was");
    let feed = server.feed(&app).await;
    assert_contiguous(&feed, 0);
    assert!(feed.len() >= 5, "{feed:#?}");
}

async fn an_event_of_a_start_with_a_slow_clock_deletes_no_other(world: World) {
    let Some((world, clock)) = with_wall_clock(world.with("RETENTION_INTERVAL", "1s")) else { return };
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    send_life(&server, &app, 1).await;
    drop(server);
    clock.set("-40d");
    let mut server = world.start().await;
    send_life(&server, &app, 2).await;
    let said = |line: &str| line.contains("the newest stored time is far ahead").then_some(());
    server.process.wait_for_line("that what is stored is ahead", said).await;
    drop(server);
    clock.set("+0");
    let server = world.start().await;
    send_life(&server, &app, 3).await;
    sweeps(&world, &server, &app).await;
    let feed = server.feed(&app).await;
    assert_contiguous(&feed, 0);
    assert!(feed.len() >= 15, "{feed:#?}");
}

/// Waits until a sweep of the retention has taken place: after the events, it deletes an idempotency key that is too old.
async fn sweeps(world: &World, server: &TestServer, app: &App) {
    let mapping = json!({"dialpad_user_id": 555, "crm_user_id": "ada"});
    let path = format!("/internal/apps/{}/users/map", app.id);
    server.post(&path).by_admin().header("idempotency-key", "old").json(&mapping).answer().await.ok();
    let keys = async || world.count("SELECT COUNT(*) FROM idempotency_keys").await;
    assert_eq!(keys().await, 1);
    world.execute("UPDATE idempotency_keys SET created_at = '2020-01-01T00:00:00.000000Z'").await;
    eventually("a sweep", async || (keys().await == 0).then_some(())).await;
}

async fn polling_by_the_last_change_misses_no_call_while_the_clock_is_set(world: World) {
    const CALLS: i64 = 100;
    let Some((world, clock)) = with_wall_clock(world) else { return };
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let sent = async {
        for call in 1..=CALLS {
            clock.set(["+0", "+7s", "-9s", "+20m", "-3s"][usize::try_from(call / 4 % 5).expect("small")]);
            send(&server, &app, &Call::new(call).ring(0)).await;
        }
    };
    let polled = async {
        let mut since: Option<String> = None;
        let mut seen = BTreeSet::new();
        within(Duration::from_secs(60), "all calls are seen", async || {
            let query = since.as_ref().map_or("?limit=500&since=0".to_owned(), |since| {
                format!("?limit=500&since={}", since.replace('+', "%2B"))
            });
            let page = server.get(&format!("/api/calls{query}")).by(&app).answer().await.list();
            seen.extend(page.iter().filter_map(|call| call["dialpad_call_id"].as_i64()));
            since = page.last().map(|call| call["updated_at"].as_str().expect("an instant").to_owned());
            (seen.len() == usize::try_from(CALLS).expect("small")).then_some(())
        })
        .await;
    };
    join(sent, polled).await;
}

async fn a_start_with_a_slow_clock_begins_at_the_newest_stored_time(world: World) {
    let Some((world, clock)) = with_wall_clock(world) else { return };
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    send(&server, &app, &Call::new(1).ring(0)).await;
    let updated_at = async |server: &TestServer, call: i64| -> DateTime<FixedOffset> {
        let call = server.call(&app, call).await;
        call["updated_at"].as_str().and_then(|at| at.parse().ok()).expect("an instant")
    };
    let first = updated_at(&server, 1).await;
    drop(server);
    clock.set("-10m");
    let mut server = world.start().await;
    let said = |line: &str| line.contains("the server's clock begins there").then_some(());
    server.process.wait_for_line("where its clock begins", said).await;
    send(&server, &app, &Call::new(2).ring(0)).await;
    let second = updated_at(&server, 2).await;
    assert!(second > first, "{first} {second}");
}
