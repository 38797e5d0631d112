//! Versions of the server that follow each other on one database.

use std::{env, process::Stdio, time::Duration};

use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use crate::{
    cluster::{Cluster, Load},
    support::{Process, World, eventually},
};

on_both_databases![a_database_that_a_newer_version_has_migrated_is_refused_with_a_clear_line];
on_postgres![a_migration_that_waits_for_a_table_lets_the_others_use_it];

/// The binary of the version before: `tests/upgrade/run` builds it.
const PREVIOUS: &str = "CTI_PREVIOUS_SERVER";

async fn a_database_that_a_newer_version_has_migrated_is_refused_with_a_clear_line(world: World) {
    assert_eq!(world.run(&["migrate"]).await.code, Some(0));
    let checksum = if world.is_on_postgres() { "'\\x00'" } else { "x'00'" };
    let columns = "version, description, success, checksum, execution_time";
    let newer =
        format!("INSERT INTO _sqlx_migrations ({columns}) VALUES (9999, 'later', TRUE, {checksum}, 0)");
    world.execute(&newer).await;
    for settings in [world.clone(), world.with("AUTO_MIGRATE", "false")] {
        let refused = settings.run(&["serve"]).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        for part in ["a newer version of cti-server", "9999"] {
            assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        }
    }
}

async fn a_migration_that_waits_for_a_table_lets_the_others_use_it(world: World) {
    assert_eq!(world.run(&["migrate"]).await.code, Some(0));
    let older = "DROP TABLE feed_epoch; ALTER TABLE consumers DROP COLUMN epoch;
        DELETE FROM _sqlx_migrations WHERE version = 9";
    world.execute(older).await;
    let url = world.setting("DATABASE_URL");
    let mut reader = PgConnection::connect(url).await.expect("the database can be reached");
    let read = "SELECT COUNT(*) FROM consumers";
    sqlx::raw_sql("BEGIN").execute(&mut reader).await.expect("a transaction");
    sqlx::raw_sql(read).execute(&mut reader).await.expect("it is read");

    let mut command = world.command(&["migrate"]);
    let mut migration = Process::spawn("cti-server migrate", command.stdin(Stdio::null()));
    let waiting = "SELECT COUNT(*) FROM pg_locks WHERE relation = 'consumers'::regclass AND NOT granted";
    eventually("the migration waits", async || (world.count(waiting).await > 0).then_some(())).await;
    for _ in 0..3 {
        let others = timeout(Duration::from_secs(2), world.count(read)).await;
        assert!(others.is_ok(), "others wait behind the migration");
    }
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.expect("it ends");
    let ended = migration.exit(Duration::from_secs(15)).await;
    assert_eq!(ended.code(), Some(0), "{}", migration.log());
    assert!(migration.log().contains("applied 0009"), "{}", migration.log());
}

/// What a later version may do to the tables while this version runs: see "Add a migration" in `CONTRIBUTING.md`.
const EXPANSION: [&str; 6] = [
    "ALTER TABLE calls ADD COLUMN later TEXT",
    "ALTER TABLE events ADD COLUMN later BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE webhook_events ADD COLUMN later JSONB",
    "ALTER TABLE apps ADD COLUMN later TEXT",
    "CREATE TABLE later (app_id UUID PRIMARY KEY)",
    "CREATE INDEX CONCURRENTLY calls_later ON calls (app_id, later)",
];

#[tokio::test]
async fn the_tables_are_extended_while_servers_of_this_version_work() {
    let Some(cluster) = Cluster::start("extended_tables", 2, &[("SPOOL", "off")]).await else { return };
    cluster
        .through(4, Load::new(60, 420), async |cluster, load| {
            load.acknowledged(100).await;
            for change in EXPANSION {
                cluster.world.execute(change).await;
            }
        })
        .await;
}

/// The version before and this one run side by side: the servers are replaced one after the other.
#[tokio::test]
#[ignore = "needs the binary of the version before: tests/upgrade/run"]
async fn servers_of_the_version_before_are_replaced_under_traffic() {
    let previous = env::var_os(PREVIOUS).unwrap_or_else(|| panic!("{PREVIOUS} names no binary"));
    let Some(cluster) = Cluster::start_version("upgrade", 2, previous.into()).await else { return };
    let sent = cluster
        .through(6, Load::new(60, 1050), async |cluster, load| {
            for (number, acknowledged) in [(0, 200), (1, 600)] {
                load.acknowledged(acknowledged).await;
                cluster.members[number].restart().await;
            }
        })
        .await;
    assert!(sent.iter().all(|(sent, _)| sent.failures.is_empty()), "a webhook had to be repeated");
}
