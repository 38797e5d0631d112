//! What a load balancer, a monitor and a curious person ask first.

use serde_json::json;

use crate::support::{Ask, Shows, World};

on_both_databases![
    the_root_says_that_the_server_runs,
    health_is_checked_down_to_the_database,
    a_live_and_ready_server_says_so,
    status_tells_an_app_whether_it_is_connected,
];

async fn the_root_says_that_the_server_runs(world: World) {
    let server = world.start().await;
    let root = server.get("/").answer().await.ok();
    root.shows(json!({"message": "CTI Server is running"}));
    assert_eq!(root["version"], env!("CARGO_PKG_VERSION"), "{root:#}");
}

async fn health_is_checked_down_to_the_database(world: World) {
    let server = world.start().await;
    let health = server.get("/health").answer().await.ok();
    health.shows(json!({"status": "healthy", "environment": "sandbox"}));
    health["checks"].shows(json!({"database": "ok"}));
    let timestamp = health["timestamp"].as_str().expect("a health check has an instant");
    assert!(chrono::DateTime::parse_from_rfc3339(timestamp).is_ok(), "{health:#}");
    assert!(health["uptime"].is_number(), "{health:#}");
}

async fn a_live_and_ready_server_says_so(world: World) {
    let server = world.start().await;
    for path in ["/health/live", "/health/ready"] {
        let answer = server.get(path).answer().await;
        assert_eq!(answer.status, 200, "{answer}");
    }
}

async fn status_tells_an_app_whether_it_is_connected(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let status = server.get("/status").by(&app).answer().await.ok();
    status.shows(
        json!({"app_id": app.id, "connected": false, "dialpad_org_id": null, "environment": "sandbox"}),
    );
    assert!(status["message"].is_string(), "{status:#}");
}
