//! PostgreSQL answers, but not as it should: a lock outlasts a timeout, it is read-only, its settings are wrong.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::support::{Ack, Ask, Call, World, eventually, kinds};

/// Sets a default of the database for connections that are opened from now on.
async fn set(world: &World, setting: &str) {
    let set = format!("EXECUTE format('ALTER DATABASE %I {setting}', current_database())");
    world.execute(&format!("BEGIN READ WRITE; DO $$ BEGIN {set}; END $$; COMMIT")).await;
}

/// Ends the connections of the server.
async fn end_connections(world: &World) {
    let others = "datname = current_database() AND pid <> pg_backend_pid()";
    world.execute(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")).await;
}

#[tokio::test]
async fn no_webhook_is_given_up_because_of_a_lock_that_outlasts_the_statement_timeout() {
    let Some(world) = World::on_postgres("a_lock_and_a_timeout").await else { return };
    set(&world, "SET statement_timeout = ''200ms''").await;
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let [ring, started, ..] = Call::new(1).life();
    server.webhook(&app, &ring).await;
    server.wait_for_events(&app, 1).await;

    let mut other = PgConnection::connect(world.setting("DATABASE_URL")).await.expect("it can be reached");
    let mut lock = other.begin().await.expect("a transaction begins");
    sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut *lock).await.expect("it is set");
    sqlx::query("LOCK TABLE calls IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.expect("it is locked");
    // The journal takes it, and the call can't be written: at least as often as a webhook is tried that is bad.
    server.webhook(&app, &started).await;
    eventually("the webhook is tried several times", async || {
        let tries = server.process.log().matches("will be tried again").count();
        (tries > 4).then_some(())
    })
    .await;
    lock.rollback().await.expect("the lock ends");
    assert_eq!(kinds(&server.wait_for_events(&app, 2).await), ["call.ring", "call.started"]);
    assert_eq!(world.count("SELECT COUNT(*) FROM webhook_events WHERE status = 'failed'").await, 0);
    drop(server);
    world.finish().await;
}

#[tokio::test]
async fn the_server_writes_again_as_soon_as_postgresql_is_no_longer_read_only() {
    let Some(world) = World::on_postgres("read_only_for_a_while").await else { return };
    let world = world.with("SPOOL", "off");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let [ring, started, ..] = Call::new(1).life();
    server.webhook(&app, &ring).await;
    let health = async |status: u16, reason: &str| {
        eventually("the health changes", async || {
            let health = server.get("/health").answer().await;
            (health.status == status && health.body.contains(reason)).then_some(())
        })
        .await;
    };

    set(&world, "SET default_transaction_read_only = on").await;
    end_connections(&world).await;
    health(503, "read-only").await;
    server.get("/health/ready").answer().await.refuses(503, "DATABASE_UNAVAILABLE");
    let path = format!("/webhooks/{}", app.id);
    server.post_webhook(&path, &started.to_string()).await.fails_with(503);
    let mapping = json!({"dialpad_user_id": 555, "crm_user_id": "ann"});
    let mappings = format!("/internal/apps/{}/users/map", app.id);
    let map = || server.post(&mappings).by_admin().json(&mapping).answer();
    // At the same time, so that several connections are open that began while it was read-only.
    for refused in join_all((0..8).map(|_| map())).await {
        refused.refuses(503, "DATABASE_UNAVAILABLE");
        assert!(refused.header("retry-after").is_some(), "{refused}");
    }
    assert_eq!(server.get("/api/calls").by(&app).answer().await.list().len(), 1, "it can be read");

    set(&world, "RESET default_transaction_read_only").await;
    health(200, "ok").await;
    let answer = server.post_webhook(&path, &started.to_string()).await;
    assert!(!Ack::of(&answer).duplicate, "{answer}");
    for mapped in join_all((0..8).map(|_| map())).await {
        mapped.ok();
    }
    assert_eq!(kinds(&server.wait_for_events(&app, 2).await), ["call.ring", "call.started"]);
    drop(server);
    world.finish().await;
}

#[tokio::test]
async fn a_database_that_does_not_store_unicode_is_refused() {
    let Some(world) = World::on_postgres("latin1").await else { return };
    let mut url = reqwest::Url::parse(world.setting("DATABASE_URL")).expect("an address");
    let name = format!("{}_latin1", url.path().trim_start_matches('/'));
    world
        .execute(&format!(
            "CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        ))
        .await;
    url.set_path(&name);
    let ended = world.clone().with("DATABASE_URL", url.as_str()).run(&["serve"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("LATIN1") && ended.stderr.contains("UTF8"), "{ended:?}");
}

#[tokio::test]
async fn production_refuses_a_database_that_forgets_commits_in_a_crash() {
    // The private PostgreSQL does not sync.
    let Some(world) = World::on_postgres("no_fsync").await else { return };
    let production =
        world.clone().with("CTI_ENV", "production").with("PUBLIC_URL", "https://cti.example.com");
    let ended = production.clone().without("ALLOW_UNSAFE_DATABASE").run(&["serve"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in ["fsync is off", "fsync = on", "ALLOW_UNSAFE_DATABASE"] {
        assert!(ended.stderr.contains(part), "{part}: {ended:?}");
    }
    for allowed in [production, world.without("ALLOW_UNSAFE_DATABASE")] {
        let server = allowed.start().await;
        assert!(server.process.log().contains("fsync is off"), "{}", server.process.log());
        drop(server);
        allowed.finish().await;
    }
}

#[tokio::test]
async fn a_commit_is_durable_whatever_the_default_of_the_database_is() {
    let Some(world) = World::on_postgres("synchronous_commit").await else { return };
    set(&world, "SET synchronous_commit = off").await;
    let server = world.start().await;
    assert!(!server.process.log().contains("synchronous_commit"), "{}", server.process.log());
    drop(server);
    world.finish().await;
}

#[tokio::test]
async fn a_wrong_password_or_database_ends_the_start_at_once() {
    let Some(world) = World::on_postgres("no_such_database").await else { return };
    let mut url = reqwest::Url::parse(world.setting("DATABASE_URL")).expect("an address");
    url.set_path("nowhere");
    let run = world.clone().with("DATABASE_URL", url.as_str());
    let ended = tokio::time::timeout(Duration::from_secs(10), run.run(&["serve"])).await.expect("it ends");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("nowhere"), "{ended:?}");
}
