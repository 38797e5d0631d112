//! `/metrics`: the names that dashboards and alerts are built on.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::support::{Ask, Call, Dialpad, Metrics, World, eventually};

on_both_databases![
    every_metric_is_there_with_its_explanation,
    every_metric_is_documented_and_promtool_accepts_it,
    open_metrics_are_served_to_who_prefers_them,
    webhooks_and_events_are_counted,
    events_are_counted_until_they_are_delivered,
    what_the_journal_keeps_is_counted_by_reason,
    the_end_of_tokens_is_shown_for_each_state_of_a_connection,
    the_process_and_its_runtimes_are_shown,
    open_sockets_are_counted,
    a_token_guards_the_metrics_where_one_is_set,
];

const DOCUMENTED: &str = include_str!("../../docs/operations.md");
const OPEN_METRICS: &str = "application/openmetrics-text";
const COUNTERS: [&str; 14] = [
    "cti_webhooks_total",
    "cti_events_emitted_total",
    "cti_ws_sessions_closed_total",
    "cti_dialpad_requests_total",
    "cti_token_refreshes_total",
    "cti_calls_repaired_total",
    "cti_calls_inferred_total",
    "cti_gaps_given_up_total",
    "cti_webhook_checks_total",
    "cti_events_published_total",
    "cti_events_delivered_total",
    "process_cpu_seconds_total",
    "cti_lease_takeovers_total",
    "cti_fence_refusals_total",
];
const GAUGES: [&str; 15] = [
    "cti_journal_pending",
    "cti_leases_owned",
    "cti_gaps_pending",
    "cti_call_actors",
    "cti_ws_sessions",
    "cti_db_pool_connections",
    "cti_build_info",
    "cti_journal_lag_seconds",
    "cti_journal_unrouted",
    "cti_journal_failed",
    "cti_token_expiry_seconds",
    "cti_session_queued_bytes",
    "cti_metrics_last_scrape_timestamp_seconds",
    "cti_sessions_lagging",
    "cti_sqlite_wal_bytes",
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

async fn every_metric_is_documented_and_promtool_accepts_it(world: World) {
    let server = world.start().await;
    let metrics = server.metrics().await;
    let names = metrics.text().lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let unknown: Vec<_> = names.filter(|name| !DOCUMENTED.contains(&format!("| `{name}` |"))).collect();
    assert!(unknown.is_empty(), "not in docs/operations.md: {unknown:?}");

    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = promtool.spawn() else {
        eprintln!("skipped: promtool is not installed");
        return;
    };
    let mut input = promtool.stdin.take().expect("it was asked for");
    input.write_all(metrics.text().as_bytes()).expect("promtool reads");
    drop(input);
    let checked = promtool.wait_with_output().expect("promtool ends");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

async fn open_metrics_are_served_to_who_prefers_them(world: World) {
    let server = world.start().await;
    // As Prometheus asks.
    let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                  application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let answer = server.get("/metrics").header("accept", accept).answer().await;
    let content_type = answer.header("content-type").expect("a type");
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = &answer.body;
    assert!(text.ends_with("\n# EOF\n") && !text.contains("\n\n"), "{text}");
    for line in [
        "# TYPE cti_webhooks counter\n",
        "# TYPE cti_webhook_ack_seconds histogram\n# UNIT cti_webhook_ack_seconds seconds\n",
        "cti_webhook_ack_seconds_bucket{le=\"1.0\"} 0\n",
        "cti_webhooks_given_up_total 0\n",
        "# UNIT cti_sqlite_wal_bytes bytes\n",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    for accept in ["*/*", "text/plain", "text/plain, application/openmetrics-text;q=0.1", "text/html"] {
        let answer = server.get("/metrics").header("accept", accept).answer().await;
        let content_type = answer.header("content-type").expect("a type");
        assert!(content_type.starts_with("text/plain; version=0.0.4"), "{accept}: {content_type}");
    }
    let answer = server.get("/metrics").header("accept", OPEN_METRICS).answer().await;
    assert!(answer.header("content-type").is_some_and(|it| it.starts_with(OPEN_METRICS)), "{answer}");
}

async fn events_are_counted_until_they_are_delivered(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut listener = server.listen(&app).await;
    let life = Call::new(1).life();
    server.webhooks(&app, &life).await;
    listener.events(life.len()).await;
    let metrics = server.metrics().await;
    let expected = life.len() as f64;
    assert_eq!(metrics.sum("cti_events_published_total", &[]), expected, "{}", metrics.text());
    let websocket = ["transport=\"websocket\""];
    assert_eq!(metrics.sum("cti_events_delivered_total", &websocket), expected, "{}", metrics.text());
    assert_eq!(metrics.sum("cti_events_delivered_total", &["transport=\"poll\""]), 0.0);
    eventually("nothing is queued", async || {
        (server.metrics().await.sum("cti_session_queued_bytes", &[]) == 0.0).then_some(())
    })
    .await;
    assert_eq!(metrics.sum("cti_sessions_lagging", &[]), 0.0);
}

async fn what_the_journal_keeps_is_counted_by_reason(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook_for_all(&Call::new(1).of_organization(99).ring(0)).await;
    server.webhook_for_all(&Call::new(2).of_organization(99).ring(0)).await;
    server.webhook(&app, &json!({"event_type": "call.ring"})).await;
    let metrics = server.metrics().await;
    for (name, label, expected) in [
        ("cti_journal_unrouted", "reason=\"no_app_for_organization\"", 2.0),
        ("cti_journal_unrouted", "reason=\"app_inactive\"", 0.0),
        ("cti_journal_failed", "reason=\"unreadable\"", 1.0),
        ("cti_journal_failed", "reason=\"given_up\"", 0.0),
    ] {
        assert_eq!(metrics.sum(name, &[label]), expected, "{name} {label}\nin {}", metrics.text());
    }
    assert_eq!(metrics.sum("cti_journal_lag_seconds", &[]), 0.0, "nothing is pending");
    world.execute("UPDATE webhook_events SET status = 'pending', reason = NULL, app_id = NULL").await;
    let lag = server.metrics().await.sum("cti_journal_lag_seconds", &[]);
    world.execute("DELETE FROM webhook_events").await;
    assert!(lag > 0.0, "{lag}");
}

async fn the_end_of_tokens_is_shown_for_each_state_of_a_connection(world: World) {
    let dialpad = Dialpad::start().await;
    let world = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let of =
        async |name: &str, state: &str| server.metrics().await.sum(name, &[&format!("state=\"{state}\"")]);
    assert_eq!(of("cti_connections", "connected").await, 1.0);
    let left = of("cti_token_expiry_seconds", "connected").await;
    assert!((3000.0..=3600.0).contains(&left), "{left}");
    world.execute("UPDATE dialpad_connections SET status = 'expired'").await;
    assert_eq!(of("cti_connections", "connected").await, 0.0);
    assert_eq!(of("cti_connections", "expired").await, 1.0);
}

async fn the_process_and_its_runtimes_are_shown(world: World) {
    let server = world.with("HTTP_WORKERS", "3").start().await;
    // The workers start after the socket is open. The main runtime has a thread for each processor.
    let metrics = eventually("all workers run", async || {
        let metrics = server.metrics().await;
        (metrics.sum("cti_runtime_threads", &["runtime=\"http\""]) >= 3.0).then_some(metrics)
    })
    .await;
    for kind in ["engine", "main"] {
        let threads = metrics.sum("cti_runtime_threads", &[&format!("runtime=\"{kind}\"")]);
        assert!(threads >= 1.0, "{kind}\nin {}", metrics.text());
    }
    if cfg!(target_os = "linux") {
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
            assert!(metrics.sum(name, &[]) > 0.0, "{name}\nin {}", metrics.text());
        }
    }
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
