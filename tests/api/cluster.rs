//! `/internal/cluster`: the processes on the database, and which app each of them works on.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::{Ask, Shows, TestServer, World};

on_both_databases![
    a_process_is_listed_with_its_apps,
    a_restarted_process_is_listed_once_and_its_apps_have_a_new_fence,
    only_administrators_see_the_processes,
];

async fn cluster(server: &TestServer) -> Value {
    server.get("/internal/cluster").by_admin().answer().await.ok()
}

fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no instant: {value}"))
}

async fn a_process_is_listed_with_its_apps(world: World) {
    let server = world.with("PROCESS_ID", "cti-1").start().await;
    cluster(&server).await.shows(json!({"leases": []}));
    let app = server.create_app("CRM").await;
    let state = cluster(&server).await;
    let [process] = &state["processes"].as_array().expect("a list")[..] else { panic!("{state:#}") };
    process.shows(json!({"process_id": "cti-1", "version": env!("CARGO_PKG_VERSION"), "apps": 1}));
    assert!(process["host"].as_str().is_some_and(|host| !host.is_empty()), "{process}");
    assert!(instant(&process["started_at"]) <= instant(&process["seen_at"]), "{process}");
    let [lease] = &state["leases"].as_array().expect("a list")[..] else { panic!("{state:#}") };
    lease.shows(json!({"app_id": app.id, "owner": "cti-1", "fence": 1}));
    assert!(instant(&lease["expires_at"]) > instant(&process["seen_at"]), "{state:#}");
    assert_eq!(server.metrics().await.sum("cti_leases_owned", &[]), 1.0);
    let engine = server.get("/internal/engine").by_admin().answer().await.ok();
    engine.shows(json!({"process_id": "cti-1"}));
}

async fn a_restarted_process_is_listed_once_and_its_apps_have_a_new_fence(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    server.process.kill();
    let server = world.start().await;
    let state = cluster(&server).await;
    let [process] = &state["processes"].as_array().expect("a list")[..] else { panic!("{state:#}") };
    let [lease] = &state["leases"].as_array().expect("a list")[..] else { panic!("{state:#}") };
    lease.shows(json!({"app_id": app.id, "owner": process["process_id"], "fence": 2}));
}

async fn only_administrators_see_the_processes(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    assert_eq!(server.get("/internal/cluster").answer().await.status, 401);
    assert_eq!(server.get("/internal/cluster").by(&app).answer().await.status, 401);
}
