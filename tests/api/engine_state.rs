//! `/internal/engine`: what administrators see of the running engine.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{App, Ask, Call, Shows, TestServer, With, World, eventually};

on_both_databases![
    calls_sessions_and_consumers_appear_and_go,
    an_ended_call_leaves_memory_within_seconds,
    an_outage_of_the_engine_is_its_last_error,
    only_administrators_see_the_engine,
];

on_sqlite![a_test_that_leaves_a_session_open_fails];

async fn engine(server: &TestServer) -> Value {
    server.get("/internal/engine").by_admin().answer().await.ok()
}

/// Waits until the state of the engine is as it should be, and returns it.
async fn engine_when(server: &TestServer, what: &str, is_there: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || Some(engine(server).await).filter(|state| is_there(state))).await
}

fn state_of<'a>(engine: &'a Value, app: &App) -> Option<&'a Value> {
    engine["apps"].as_array().expect("a list of apps").iter().find(|state| state["app_id"] == app.id)
}

async fn calls_sessions_and_consumers_appear_and_go(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let before = engine(&server).await;
    before.shows(
        json!({"sessions": 0, "consumers": 0, "spool": {"state": "empty", "bytes": 0, "webhooks": 0}}),
    );
    assert_eq!(state_of(&before, &app), None, "it had no work yet");

    let mut socket = server.subscribe(&app, "?consumer=crm").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    server.webhook(&app, &Call::new(2).ring(0)).await;
    socket.events(2).await;
    let state = engine_when(&server, "the batch is over", |state| {
        state_of(state, &app).is_some_and(|app| app["batch_in_progress"] == false)
    })
    .await;
    state.shows(json!({"sessions": 1, "consumers": 1, "process_id": before["process_id"]}));
    state_of(&state, &app).expect("it had work").shows(json!({
        "owned": true, "inbox": 0, "live_calls": 2, "restarts": 0, "quarantined": 0, "sessions": 1,
        "last_error": null,
    }));
    state["token_refresher"].shows(json!({"renewals_in_progress": 0, "restarts": 0, "last_error": null}));

    drop(socket);
    let state = engine_when(&server, "the session and the consumer are gone", |state| {
        state["sessions"] == 0 && state["consumers"] == 0
    })
    .await;
    state_of(&state, &app).expect("the app is there").shows(json!({"sessions": 0, "live_calls": 2}));

    let path = format!("/internal/apps/{}", app.id);
    server.request(Method::DELETE, &path).by_admin().answer().await;
    engine_when(&server, "the calls of a deleted app are gone", |state| state_of(state, &app).is_none())
        .await;
}

async fn an_ended_call_leaves_memory_within_seconds(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    server.webhooks(&app, &Call::new(2).life()).await;
    server.wait_for_events(&app, 6).await;
    engine_when(&server, "only the live call is in memory", |state| {
        state_of(state, &app).is_some_and(|app| app["live_calls"] == 1)
    })
    .await;
    // A late webhook is applied as before, and does not keep the call for longer.
    server.webhook(&app, &Call::new(2).ended(60).with("recording_url", "https://dialpad.com/r/2")).await;
    server.wait_for_events(&app, 7).await;
    engine_when(&server, "only the live call is in memory", |state| {
        state_of(state, &app).is_some_and(|app| app["live_calls"] == 1)
    })
    .await;
    server.call(&app, 2).await.shows(json!({"status": "ended", "recording_url": "https://dialpad.com/r/2"}));
}

async fn an_outage_of_the_engine_is_its_last_error(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    world.execute("ALTER TABLE calls RENAME TO calls_elsewhere").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    let state = engine_when(&server, "the engine has an error", |state| {
        state_of(state, &app).is_some_and(|app| app["last_error"].is_object())
    })
    .await;
    let error = &state_of(&state, &app).expect("the app is there")["last_error"];
    assert!(error["message"].as_str().is_some_and(|message| message.contains("calls")), "{error:#}");
    assert!(error["at"].is_string(), "{error:#}");
    world.execute("ALTER TABLE calls_elsewhere RENAME TO calls").await;
}

async fn only_administrators_see_the_engine(world: World) {
    let server = world.start().await;
    server.get("/internal/engine").answer().await.refuses(401, "MISSING_BEARER");
    let wrong = server.get("/internal/engine").bearer_auth("not-the-secret").answer().await;
    wrong.refuses(403, "FORBIDDEN");
    let unknown = server.get("/internal/engine?ids=string").by_admin().answer().await;
    unknown.refuses(400, "INVALID_REQUEST");
}

/// Every other test relies on it.
async fn a_test_that_leaves_a_session_open_fails(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let socket = server.subscribe(&app, "").await;
    drop(server);
    let finished = AssertUnwindSafe(world.finish()).catch_unwind().await;
    drop(socket);
    let problem = finished.expect_err("the session is open");
    let problem = problem.downcast_ref::<String>().map_or("", String::as_str);
    assert!(problem.starts_with("left behind by this test"), "{problem}");
}
