//! `/metrics`: the names that dashboards and alerts are built on.

use crate::support::{Ask, Call, Metrics, World, eventually};

on_both_databases![
    every_metric_is_there_with_its_explanation,
    webhooks_and_events_are_counted,
    open_sockets_are_counted,
    a_token_guards_the_metrics_where_one_is_set,
];

const COUNTERS: [&str; 11] = [
    "cti_webhooks_total",
    "cti_events_emitted_total",
    "cti_ws_sessions_closed_total",
    "cti_dialpad_requests_total",
    "cti_token_refreshes_total",
    "cti_calls_repaired_total",
    "cti_calls_inferred_total",
    "cti_gaps_given_up_total",
    "cti_webhook_checks_total",
    "cti_lease_takeovers_total",
    "cti_fence_refusals_total",
];
const GAUGES: [&str; 7] = [
    "cti_journal_pending",
    "cti_leases_owned",
    "cti_gaps_pending",
    "cti_call_actors",
    "cti_ws_sessions",
    "cti_db_pool_connections",
    "cti_build_info",
];
const HISTOGRAMS: [&str; 4] = [
    "cti_webhook_ack_seconds",
    "cti_webhook_lag_seconds",
    "cti_group_commit_batch_size",
    "http_request_duration_seconds",
];

async fn every_metric_is_there_with_its_explanation(world: World) {
    let server = world.start().await;
    let answer = server.get("/metrics").answer().await;
    assert!(answer.header("content-type").is_some_and(|it| it.starts_with("text/plain")), "{answer}");
    let metrics = server.metrics().await;
    explains(&metrics, &COUNTERS, "counter");
    explains(&metrics, &HISTOGRAMS, "histogram");

    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    server.wait_for_events(&app, 1).await;
    let metrics = server.metrics().await;
    explains(&metrics, &COUNTERS, "counter");
    explains(&metrics, &GAUGES, "gauge");
    explains(&metrics, &HISTOGRAMS, "histogram");
}

#[track_caller]
fn explains(metrics: &Metrics, names: &[&str], kind: &str) {
    let missing: Vec<_> = names.iter().filter(|name| metrics.kind(name) != Some(kind)).collect();
    assert!(missing.is_empty(), "no {kind}, or not explained: {missing:?}\nin {}", metrics.text());
}

async fn webhooks_and_events_are_counted(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    assert_eq!(server.metrics().await.sum("cti_webhooks_total", &[]), 0.0);
    server.webhooks(&app, &Call::new(1).life()).await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    server.webhook(&app, &Call::new(2).state("ringing", 0)).await;
    server.wait_for_events(&app, 6).await;
    eventually("nothing is pending", async || {
        (server.metrics().await.sum("cti_journal_pending", &[]) == 0.0).then_some(())
    })
    .await;
    let metrics = server.metrics().await;
    for (name, labels, expected) in [
        ("cti_webhooks_total", &[][..], 7.0),
        ("cti_webhooks_total", &["family=\"workflow\""], 6.0),
        ("cti_webhooks_total", &["family=\"dialpad\""], 1.0),
        ("cti_events_emitted_total", &[], 6.0),
        ("cti_events_emitted_total", &["type=\"call.ring\""], 2.0),
        ("cti_events_emitted_total", &["type=\"call.ended\""], 1.0),
        ("cti_webhook_ack_seconds_count", &[], 7.0),
    ] {
        assert_eq!(metrics.sum(name, labels), expected, "{name} {labels:?}\nin {}", metrics.text());
    }
    assert!(
        metrics.sum("http_request_duration_seconds_count", &["route=\"/webhooks/{app_id}\""]) >= 7.0,
        "{}",
        metrics.text()
    );
}

async fn open_sockets_are_counted(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let sessions = async |expected: f64| {
        eventually(&format!("{expected} sessions are open"), async || {
            (server.metrics().await.sum("cti_ws_sessions", &[]) == expected).then_some(())
        })
        .await;
    };
    sessions(0.0).await;
    let first = server.listen(&app).await;
    let second = server.listen(&app).await;
    sessions(2.0).await;
    drop((first, second));
    sessions(0.0).await;
    assert_eq!(server.metrics().await.sum("cti_ws_sessions_closed_total", &[]), 2.0);
}

async fn a_token_guards_the_metrics_where_one_is_set(world: World) {
    let server = world.with("METRICS_TOKEN", "the-token-of-the-monitor").start().await;
    server.get("/metrics").answer().await.fails_with(401);
    let wrong = server.get("/metrics").bearer_auth("not-the-token").answer().await;
    assert!([401, 403].contains(&wrong.status), "{wrong}");
    let answer = server.get("/metrics").bearer_auth("the-token-of-the-monitor").answer().await;
    assert_eq!(answer.status, 200, "{answer}");
}
