//! How Dialpad is asked: within its limits, and not at all while it keeps failing.

use serde_json::{Value, json};

use crate::support::{App, Ask, Dialpad, TestServer, World, eventually};

on_both_databases![
    a_busy_server_keeps_within_the_limits,
    a_rest_that_dialpad_wants_is_kept,
    a_dialpad_that_keeps_failing_is_left_alone_until_it_is_back,
];

async fn requests(server: &TestServer, outcome: &str) -> f64 {
    let label = format!("outcome=\"{outcome}\"");
    server.metrics().await.sum("cti_dialpad_requests_total", &[&label])
}

/// A server that asks for nothing by itself, and an app that is connected.
async fn quiet(world: World, dialpad: &Dialpad) -> (TestServer, App) {
    let server = world.with_dialpad(dialpad).with("AUTO_SUBSCRIBE", "false").start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    (server, app)
}

fn create(app: &App) -> String {
    format!("/internal/webhooks/create?app_id={}", app.id)
}

async fn a_busy_server_keeps_within_the_limits(world: World) {
    let dialpad = Dialpad::start().await;
    dialpad.switch(&json!({"enforce_rate_limits": true})).await;
    let server = world.with_dialpad(&dialpad).with("SUBSCRIPTION_CHECK_INTERVAL", "1s").start().await;
    for name in ["a", "b", "c", "d", "e", "f"] {
        let app = server.create_app(name).await;
        server.connect(&app).await;
    }
    eventually("much was asked", async || (requests(&server, "ok").await >= 80.0).then_some(())).await;
    assert_eq!(requests(&server, "rate_limited").await, 0.0, "{}", server.metrics().await.text());
}

async fn a_rest_that_dialpad_wants_is_kept(world: World) {
    let dialpad = Dialpad::start().await;
    let (server, app) = quiet(world, &dialpad).await;
    let only = "GET /api/v2/webhooks";
    let limited = json!([{"to": "api", "only": only, "answer": "too_many_requests", "retry_after": "30"}]);
    dialpad.switch(&json!({"next_answers": limited})).await;
    for _ in 0..2 {
        let answer = server.post(&create(&app)).by_admin().answer().await;
        answer.refuses(429, "DIALPAD_RATE_LIMITED");
        let rest: u32 = answer.header("retry-after").and_then(|rest| rest.parse().ok()).unwrap_or_default();
        assert!((20..=30).contains(&rest), "{answer}");
    }
    assert_eq!(dialpad.requests("/api/v2/webhooks").await.len(), 1, "the second time nothing was sent");
    assert_eq!([requests(&server, "rate_limited").await, requests(&server, "throttled").await], [1.0, 1.0]);
}

async fn a_dialpad_that_keeps_failing_is_left_alone_until_it_is_back(world: World) {
    let dialpad = Dialpad::start().await;
    let (server, app) = quiet(world, &dialpad).await;
    let failing = json!([{"to": "api", "answer": "unavailable", "times": null}]);
    dialpad.switch(&json!({"next_answers": failing})).await;
    for _ in 0..2 {
        let answer = server.post(&create(&app)).by_admin().answer().await;
        answer.refuses(503, "DIALPAD_UNAVAILABLE");
    }
    let asked = dialpad.requests("/api/v2/webhooks").await.len();
    let answer = server.post(&create(&app)).by_admin().answer().await;
    answer.refuses(503, "DIALPAD_UNAVAILABLE");
    assert!(answer.header("retry-after").is_some(), "{answer}");
    assert_eq!(dialpad.requests("/api/v2/webhooks").await.len(), asked, "it is left alone");
    assert!(requests(&server, "circuit_open").await >= 1.0);

    dialpad.switch(&json!({"next_answers": Value::Array(vec![])})).await;
    eventually("it is asked again", async || {
        let answer = server.post(&create(&app)).by_admin().answer().await;
        (answer.status == 201).then_some(())
    })
    .await;
    dialpad.wait_for_registration(&app).await;
}
