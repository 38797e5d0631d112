//! The canary: a webhook of the server's own through the whole path, which nobody sees but in `/health` and its metrics.

use serde_json::json;

use crate::support::{Ask, Call, STOP_TIMEOUT, Shows, TestServer, World, eventually};

on_both_databases![
    the_canary_takes_the_whole_path_and_leaves_nothing_behind,
    a_broken_path_is_told_by_health_until_it_is_whole_again,
    without_a_canary_health_does_not_name_it,
];

// Servers that share a database: on SQLite a second one is refused.
on_postgres![each_process_has_a_canary_of_its_own_also_where_another_one_works_on_its_app];

async fn runs(server: &TestServer, outcome: &str) -> f64 {
    server.metrics().await.sum("cti_canary_runs_total", &[&format!("outcome=\"{outcome}\"")])
}

async fn canary_is(server: &TestServer, wanted: impl Fn(&str) -> bool) {
    eventually("the verdict of the canary", async || {
        let health = server.get("/health").answer().await.ok();
        health.shows(json!({"status": "healthy"}));
        wanted(health["checks"]["canary"].as_str().expect("a verdict")).then_some(())
    })
    .await;
}

async fn the_canary_takes_the_whole_path_and_leaves_nothing_behind(world: World) {
    let mut server = world.clone().with("CANARY_INTERVAL", "1s").start().await;
    let app = server.create_app("CRM").await;
    let mut listener = server.listen(&app).await;
    canary_is(&server, |verdict| verdict == "ok").await;
    eventually("two runs", async || (runs(&server, "ok").await >= 2.0).then_some(())).await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    assert_eq!(listener.next_event().await["type"], "call.ring", "nothing of the canary is delivered");

    let metrics = server.metrics().await;
    assert_eq!(runs(&server, "failed").await, 0.0);
    assert!(metrics.sum("cti_canary_seconds_count", &[]) >= 2.0, "{}", metrics.text());
    assert!(metrics.sum("cti_canary_last_success_timestamp_seconds", &[]) > 1.7e9, "{}", metrics.text());
    for (name, expected) in [
        ("cti_webhooks_total", 1.0),
        ("cti_webhook_ack_seconds_count", 1.0),
        ("cti_events_emitted_total", 1.0),
        ("cti_events_published_total", 1.0),
        ("cti_events_delivered_total", 1.0),
    ] {
        assert_eq!(metrics.sum(name, &[]), expected, "{name}\nin {}", metrics.text());
    }
    for (path, expected) in [("/internal/apps", 1), ("/internal/webhook-events", 1)] {
        let listed = server.get(path).by_admin().answer().await.ok();
        assert_eq!(listed.as_array().map(Vec::len), Some(expected), "{path}: {listed:#}");
    }

    server.process.stop(STOP_TIMEOUT).await;
    let rows = "SELECT (SELECT COUNT(*) FROM webhook_events) + (SELECT COUNT(*) FROM events)
        + (SELECT COUNT(*) FROM calls) + (SELECT COUNT(*) FROM interactions)";
    assert!(world.count(rows).await <= 8, "at most those of the call and of one interrupted run");
    let verified = world.run(&["verify"]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

async fn a_broken_path_is_told_by_health_until_it_is_whole_again(world: World) {
    let server = world.clone().with("CANARY_INTERVAL", "1s").start().await;
    canary_is(&server, |verdict| verdict == "ok").await;
    eventually("a run", async || (runs(&server, "ok").await >= 1.0).then_some(())).await;
    world.execute("ALTER TABLE interactions RENAME TO interactions_elsewhere").await;
    canary_is(&server, |verdict| verdict != "ok").await;
    assert!(runs(&server, "failed").await >= 1.0);
    world.execute("ALTER TABLE interactions_elsewhere RENAME TO interactions").await;
    canary_is(&server, |verdict| verdict == "ok").await;
}

async fn without_a_canary_health_does_not_name_it(world: World) {
    let server = world.with("CANARY_INTERVAL", "off").start().await;
    let health = server.get("/health").answer().await.ok();
    assert_eq!(health["checks"].get("canary"), None, "{health:#}");
}

async fn each_process_has_a_canary_of_its_own_also_where_another_one_works_on_its_app(world: World) {
    let world = world.with("CANARY_INTERVAL", "1s");
    let mut servers = [world.start().await, world.start().await];
    for server in &servers {
        eventually("two runs", async || (runs(server, "ok").await >= 2.0).then_some(())).await;
        canary_is(server, |verdict| verdict == "ok").await;
        assert_eq!(runs(server, "failed").await, 0.0, "{}", server.process.log());
    }
    for server in &mut servers {
        server.process.stop(STOP_TIMEOUT).await;
    }
}
