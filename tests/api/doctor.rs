//! `cti-server doctor`: a healthy deployment passes, and each seeded fault is found by the check that is for it.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::support::{Ask, Call, Dialpad, TestServer, World};

on_both_databases![
    a_healthy_sandbox_passes_and_nothing_is_left_behind,
    faults_of_the_journal_are_found,
    faults_of_the_schema_are_found,
    connections_that_ended_are_found,
    webhooks_and_scopes_that_dialpad_refused_are_found,
    faults_of_the_server_of_the_database_are_found,
];

on_sqlite![
    faults_of_the_settings_are_found,
    faults_of_files_are_found,
    settings_that_differ_from_the_server_are_found,
    a_server_that_nobody_monitors_is_found,
    a_server_that_does_not_run_is_found,
];

/// Runs the doctor, and returns its exit code and its report.
async fn doctor(world: &World, server: Option<&TestServer>) -> (Option<i32>, Value) {
    let nowhere = "http://127.0.0.1:9";
    let server = server.map_or(nowhere, |server| &server.base_url);
    let world = world.clone().with("DIALPAD_SANDBOX_BASE_URL", nowhere);
    let ended = world.run(&["doctor", "--json", "--server", server]).await;
    let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("no JSON: {ended:?}"));
    (ended.code, report)
}

/// Returns the worst status of the checks with this name.
fn status<'r>(report: &'r Value, name: &str) -> &'r str {
    let checks = report["checks"].as_array().expect("checks");
    let of_name = checks.iter().filter(|check| check["name"] == name);
    let worst = of_name.filter_map(|check| check["status"].as_str()).max_by_key(|status| match *status {
        "fail" => 2,
        "warn" => 1,
        _ => 0,
    });
    worst.unwrap_or_else(|| panic!("no check {name} in {report:#}"))
}

fn assert_statuses(report: &Value, expected: &[(&str, &str)]) {
    for (name, expected) in expected {
        assert_eq!(status(report, name), *expected, "{name} in {report:#}");
    }
    for check in report["checks"].as_array().expect("checks") {
        assert_eq!(
            check["status"] == "ok",
            check["fix"] == "",
            "what is not ok says what to change: {check}"
        );
    }
}

async fn a_healthy_sandbox_passes_and_nothing_is_left_behind(world: World) {
    let server = world.start().await;
    let (code, report) = doctor(&world, Some(&server)).await;
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["ok"], true);
    let passed = [
        "settings",
        "database",
        "migrations",
        "indexes",
        "journal_lag",
        "failed_webhooks",
        "server",
        "version",
        "health",
        "ready",
        "webhook_signature",
        "metrics",
        "internal_api_closed",
        "internal_api",
        "processes",
        "owners",
        "test_webhook",
        "test_call",
        "key_rotation",
        "test_app_deleted",
    ];
    assert_statuses(&report, &passed.map(|name| (name, "ok")));
    assert_eq!(server.get("/internal/apps").by_admin().answer().await.ok(), json!([]));

    assert_statuses(&report, &[("backup", "warn")]);
    assert_eq!(world.run(&["backup", "cti.backup"]).await.code, Some(0));
    assert_statuses(&doctor(&world, Some(&server)).await.1, &[("backup", "ok")]);

    let shown = world.run(&["doctor", "--server", &server.base_url]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains(" ok, "), "{shown:?}");
}

async fn faults_of_the_settings_are_found(world: World) {
    let ended = world.clone().with("PORT", "ninety").run(&["doctor", "--json"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_statuses(&report, &[("settings", "fail")]);

    let world = world
        .with("DIALPAD_SCOPES", "calls:list")
        .with("AUTO_SUBSCRIBE", "false")
        .with("PUBLIC_URL", "http://cti.example.com")
        .with("DIALPAD_SANDBOX_REDIRECT_URI", "http://old.example.com/callback")
        .with("SPOOL", "off");
    let (code, report) = doctor(&world, None).await;
    assert_eq!(code, Some(1));
    let expected = [
        ("scopes", "fail"),
        ("redirect_uri", "fail"),
        ("auto_subscribe", "warn"),
        ("oauth_client", "warn"),
        ("dialpad", "warn"),
        ("spool", "warn"),
    ];
    assert_statuses(&report, &expected);
}

async fn faults_of_files_are_found(world: World) {
    let world = world.without("TOKEN_ENCRYPTION_KEY");
    drop(world.start().await);
    world.finish().await;
    let file = world.folder().join("settings.toml");
    fs::write(&file, "internal_api_secret = \"a secret of a test\"").expect("written");
    fs::write(world.folder().join("cti.db-wal"), "").expect("written");
    let set = |name: &str, mode| {
        let file = world.folder().join(name);
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("set");
    };
    set("cti.db", 0o600);
    for (mode, expected) in [(0o600, "ok"), (0o644, "warn"), (0o606, "fail")] {
        ["settings.toml", "cti.key", "cti.db-wal"].iter().for_each(|name| set(name, mode));
        let ended = world.run(&["doctor", "--json", "--config", "settings.toml"]).await;
        let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        let names = ["settings_file", "key_file", "database_file"];
        assert_statuses(&report, &names.map(|name| (name, expected)));
    }
    // As the package installs it.
    fs::write(&file, "# metrics_token = \"\"\nport = 4000").expect("written");
    set("settings.toml", 0o644);
    let ended = world.run(&["doctor", "--json", "--config", "settings.toml"]).await;
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_statuses(&report, &[("settings_file", "ok")]);
}

async fn settings_that_differ_from_the_server_are_found(world: World) {
    let server = world.clone().with("METRICS_TOKEN", "token-of-the-server").start().await;
    let (_, report) =
        doctor(&world.clone().with("INTERNAL_API_SECRET", "another internal secret"), Some(&server)).await;
    assert_statuses(&report, &[("internal_api", "fail"), ("metrics", "fail")]);
    let others = world.clone().with("DIALPAD_WEBHOOK_SECRET", "another webhook secret");
    let (code, report) = doctor(&others, Some(&server)).await;
    assert_eq!(code, Some(1));
    assert_statuses(&report, &[("test_webhook", "fail"), ("test_call", "fail"), ("test_app_deleted", "ok")]);
}

async fn a_server_that_nobody_monitors_is_found(world: World) {
    let server = world.start().await;
    for _ in 0..2 {
        assert_statuses(&doctor(&world, Some(&server)).await.1, &[("monitoring", "warn")]);
    }
    assert_eq!(server.get("/metrics").answer().await.status, 200);
    assert_statuses(&doctor(&world, Some(&server)).await.1, &[("monitoring", "ok")]);
}

async fn a_server_that_does_not_run_is_found(world: World) {
    let (code, report) = doctor(&world, None).await;
    assert_eq!(code, Some(1));
    assert_eq!(report["ok"], false);
    assert_statuses(&report, &[("server", "fail"), ("database", "fail")]);
    assert!(!world.folder().join("cti.db").exists(), "the doctor creates no database");
}

async fn faults_of_the_journal_are_found(world: World) {
    let server = world.start().await;
    let app = server.create_app("sales").await;
    for call in 1..=3 {
        server.webhook(&app, &Call::new(call).ring(0)).await;
    }
    drop(server);
    world.finish().await;
    for fault in [
        "status = 'failed'",
        "status = 'unrouted'",
        "status = 'pending', id = '018cc4db-fa40-7c21-9d3e-5b1f0a6c2e84'",
    ] {
        let one = "(SELECT id FROM webhook_events WHERE status = 'processed' ORDER BY id LIMIT 1)";
        world.execute(&format!("UPDATE webhook_events SET {fault} WHERE id = {one}")).await;
    }
    let (code, report) = doctor(&world, None).await;
    assert_eq!(code, Some(1));
    let expected = [("failed_webhooks", "warn"), ("unrouted_webhooks", "warn"), ("journal_lag", "fail")];
    assert_statuses(&report, &expected);
}

async fn faults_of_the_schema_are_found(world: World) {
    assert_eq!(world.run(&["migrate"]).await.code, Some(0));
    world.execute("DROP INDEX calls_live").await;
    assert_statuses(&doctor(&world, None).await.1, &[("migrations", "ok"), ("indexes", "fail")]);
    world.execute("DELETE FROM _sqlx_migrations WHERE version = 8").await;
    assert_statuses(&doctor(&world, None).await.1, &[("migrations", "fail")]);
}

async fn connections_that_ended_are_found(world: World) {
    let dialpad = Dialpad::start().await;
    let world = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false");
    let server = world.start().await;
    let app = server.create_app("sales").await;
    server.connect(&app).await;
    let expected = [("expired_connections", "ok"), ("unconnected_apps", "ok"), ("oauth_client", "ok")];
    assert_statuses(&doctor(&world, Some(&server)).await.1, &expected);
    server.create_app("support").await;
    world.execute("UPDATE dialpad_connections SET status = 'expired'").await;
    let (code, report) = doctor(&world, Some(&server)).await;
    assert_eq!(code, Some(1));
    assert_statuses(&report, &[("expired_connections", "fail"), ("unconnected_apps", "warn")]);
}

async fn webhooks_and_scopes_that_dialpad_refused_are_found(world: World) {
    let dialpad = Dialpad::start().await;
    let world = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false");
    let server = world.start().await;
    let app = server.create_app("the oldest app").await;
    server.connect(&app).await;
    // It is on the second page.
    for number in 0..100 {
        server.create_app(&format!("app {number}")).await;
    }
    let expected =
        [("confirmed_webhooks", "ok"), ("registered_webhooks", "warn"), ("granted_scopes", "warn")];
    assert_statuses(&doctor(&world, Some(&server)).await.1, &expected);

    let forbidden = json!([{"to": "api", "only": "POST /api/v2/subscriptions/call", "answer": "forbidden"}]);
    dialpad.switch(&json!({"next_answers": forbidden})).await;
    let create = server.post(&format!("/internal/webhooks/create?app_id={}", app.id));
    create.by_admin().answer().await.refuses(502, "DIALPAD_REFUSED");
    let (code, report) = doctor(&world, Some(&server)).await;
    assert_eq!(code, Some(1));
    assert_statuses(&report, &[("confirmed_webhooks", "fail"), ("registered_webhooks", "ok")]);
    let found = report["checks"].to_string();
    assert!(found.contains("the oldest app (") && found.contains("403"), "{report:#}");
}

async fn faults_of_the_server_of_the_database_are_found(world: World) {
    if !world.is_on_postgres() {
        return;
    }
    assert_eq!(world.run(&["migrate"]).await.code, Some(0));
    let name = world.setting("DATABASE_URL").rsplit('/').next().expect("a name").to_owned();
    let name = name.split('?').next().expect("a name").to_owned();
    world.execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    assert_statuses(&doctor(&world, None).await.1, &[("durability", "warn"), ("read_only", "ok")]);
    world.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let (code, report) = doctor(&world, None).await;
    assert_eq!(code, Some(1));
    let expected = [("read_only", "fail"), ("encoding", "ok"), ("postgres_version", "ok"), ("pooler", "ok")];
    assert_statuses(&report, &expected);
}
