//! `cti-server backup` and `restore`, and the lines of docs/operations.md that do the same.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, time::Duration};

use serde_json::json;

use crate::support::{App, Ask, Call, Shows, TestServer, World, run_to_end};

on_both_databases![
    what_was_backed_up_is_restored_with_another_epoch,
    a_backup_replaces_a_file_only_with_force,
    a_restore_refuses_while_a_server_runs,
    a_file_that_is_no_backup_is_refused_and_the_database_stays,
    a_backup_of_an_older_version_is_restored_and_migrated,
    the_documented_lines_make_a_backup_that_can_be_restored,
];

on_sqlite![
    a_backup_ends_while_webhooks_arrive_and_has_what_was_acknowledged_before,
    a_backup_is_restored_where_there_is_no_database,
    a_restore_refuses_while_another_process_has_the_lock,
];

const DOCUMENT: &str = include_str!("../../docs/operations.md");

async fn ring(server: &TestServer, app: &App, calls: std::ops::RangeInclusive<i64>) {
    for id in calls {
        server.webhook(app, &Call::new(id).ring(0)).await;
    }
}

/// Runs a command that must succeed, and returns its output.
async fn succeed(world: &World, args: &[&str]) -> String {
    let ended = world.run(args).await;
    assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
    ended.stdout
}

/// Runs a command that must be refused with a sentence that contains these words.
async fn refuse(world: &World, args: &[&str], words: &str) {
    let ended = world.run(args).await;
    assert_eq!(ended.code, Some(1), "{args:?}: {ended:?}");
    assert!(ended.stderr.contains(words), "{args:?}: {ended:?}");
}

async fn epoch(server: &TestServer, app: &App) -> String {
    let answer = server.get("/api/events").by(app).answer().await;
    answer.header("x-epoch").expect("a feed has an epoch").to_owned()
}

async fn stop(server: TestServer, world: &World) {
    drop(server);
    world.finish().await;
}

async fn what_was_backed_up_is_restored_with_another_epoch(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    ring(&server, &app, 1..=3).await;
    server.wait_for_events(&app, 3).await;
    let before = epoch(&server, &app).await;
    let written = succeed(&world, &["backup", "cti.backup"]).await;
    assert!(written.contains("cti.backup"), "{written}");
    let mode = fs::metadata(world.folder().join("cti.backup")).expect("it is written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    ring(&server, &app, 4..=5).await;
    server.wait_for_events(&app, 5).await;
    stop(server, &world).await;

    refuse(&world, &["restore", "cti.backup"], "--force").await;
    let restored = succeed(&world, &["restore", "cti.backup", "--force", "--verify"]).await;
    assert!(restored.contains("1 apps, 3 calls, 3 events, 3 webhooks"), "{restored}");
    let server = world.start().await;
    let after = epoch(&server, &app).await;
    assert!(after != before && restored.contains(&after), "{restored}");
    assert_eq!(server.feed(&app).await.len(), 3);
    let mut socket = server.subscribe(&app, &format!("?after={before}:5")).await;
    socket.expect("gap").await.shows(json!({"reason": "epoch_changed", "epoch": after, "to_seq": 3}));
    ring(&server, &app, 4..=4).await;
    socket.expect("call.ring").await.shows(json!({"seq": 4, "dialpad_call_id": 4}));
}

async fn a_backup_replaces_a_file_only_with_force(world: World) {
    stop(world.start().await, &world).await;
    let file = world.folder().join("cti.backup");
    fs::write(&file, "mine").expect("written");
    refuse(&world, &["backup", "cti.backup"], "--force").await;
    assert_eq!(fs::read(&file).expect("it is there"), b"mine");
    succeed(&world, &["backup", "cti.backup", "--force"]).await;
    assert_ne!(fs::read(&file).expect("it is there"), b"mine");
    let left: Vec<PathBuf> = fs::read_dir(world.folder())
        .expect("a folder")
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.to_string_lossy().contains("partial"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

async fn a_restore_refuses_while_a_server_runs(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    succeed(&world, &["backup", "cti.backup"]).await;
    refuse(&world, &["restore", "cti.backup", "--force"], "stop it first").await;
    ring(&server, &app, 1..=1).await;
    server.wait_for_events(&app, 1).await;
}

async fn a_file_that_is_no_backup_is_refused_and_the_database_stays(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    ring(&server, &app, 1..=2).await;
    server.wait_for_events(&app, 2).await;
    succeed(&world, &["backup", "cti.backup"]).await;
    stop(server, &world).await;
    let whole = fs::read(world.folder().join("cti.backup")).expect("it is written");
    fs::write(world.folder().join("half"), &whole[..whole.len() / 2]).expect("written");
    fs::write(world.folder().join("text"), "a shopping list\n".repeat(1000)).expect("written");
    fs::write(world.folder().join("empty"), "").expect("written");
    for file in ["half", "text", "empty", "missing"] {
        let ended = world.run(&["restore", file, "--force"]).await;
        assert_eq!(ended.code, Some(1), "{file}: {ended:?}");
    }
    let server = world.start().await;
    assert_eq!(server.feed(&app).await.len(), 2);
}

async fn a_backup_of_an_older_version_is_restored_and_migrated(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    ring(&server, &app, 1..=2).await;
    server.wait_for_events(&app, 2).await;
    stop(server, &world).await;
    let older = "DROP TABLE feed_epoch; ALTER TABLE consumers DROP COLUMN epoch;
        DELETE FROM _sqlx_migrations WHERE version = 9";
    world.execute(older).await;
    succeed(&world, &["backup", "cti.backup"]).await;
    let server = world.start().await;
    ring(&server, &app, 3..=3).await;
    server.wait_for_events(&app, 3).await;
    stop(server, &world).await;
    let restored = succeed(&world, &["restore", "cti.backup", "--force"]).await;
    assert!(restored.contains("applied 0009 epoch"), "{restored}");
    let server = world.start().await;
    assert_eq!(server.feed(&app).await.len(), 2);
    epoch(&server, &app).await;
}

/// Runs each block of the section, as it stands there.
async fn the_documented_lines_make_a_backup_that_can_be_restored(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    ring(&server, &app, 1..=2).await;
    server.wait_for_events(&app, 2).await;
    let section = DOCUMENT.split("\n## Backup\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let blocks: Vec<&str> = section
        .expect("the section on backups")
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let [backup, postgres_backup, restore] = blocks[..] else { panic!("three blocks: {blocks:?}") };
    fs::create_dir(world.folder().join("data")).expect("a folder");
    fs::write(world.folder().join("data/cti.key"), "key").expect("written");
    run_block(&world, backup).await;
    if world.is_on_postgres() {
        run_block(&world, postgres_backup).await;
    }
    stop(server, &world).await;
    run_block(&world, restore).await;
    let server = world.start().await;
    assert_eq!(server.feed(&app).await.len(), 2);
}

async fn run_block(world: &World, block: &str) {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_cti-server"));
    let folder = binary.parent().expect("it is in a folder").display().to_string();
    // The environment of the binary, with the binary itself on the path.
    let mut command = Command::new("bash");
    let server = world.command(&[]);
    for (name, value) in server.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(["-euc", block]).current_dir(world.folder()).env("PATH", format!("{folder}:{path}"));
    let output = run_to_end(command, Duration::from_secs(60)).await;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{block}\n{text}");
}

async fn a_backup_ends_while_webhooks_arrive_and_has_what_was_acknowledged_before(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    // A database of a size at which a copy that begins again after each write never ends.
    let filler = "CREATE TABLE filler (content BLOB);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 7000)
        INSERT INTO filler SELECT randomblob(10000) FROM n";
    world.execute(filler).await;
    ring(&server, &app, 1..=20).await;
    let mut acknowledged = 20;
    let mut backup = std::pin::pin!(world.run(&["backup", "cti.backup"]));
    let ended = loop {
        tokio::select! {
            ended = &mut backup => break ended,
            () = ring(&server, &app, acknowledged + 1..=acknowledged + 1) => acknowledged += 1,
        }
    };
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(acknowledged > 20, "no webhook arrived meanwhile");
    stop(server, &world).await;
    let restored = succeed(&world, &["restore", "cti.backup", "--force", "--verify"]).await;
    let counted = |what: &str| {
        let line = restored.lines().find(|line| line.starts_with("verified")).expect("it is verified");
        let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let at = words.iter().position(|word| *word == what).expect("it is counted");
        words[at - 1].parse::<i64>().expect("a number")
    };
    assert!((20..=acknowledged).contains(&counted("webhooks")), "{restored}");
    assert_eq!(counted("webhooks"), counted("events"), "one snapshot");
}

async fn a_backup_is_restored_where_there_is_no_database(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    ring(&server, &app, 1..=2).await;
    succeed(&world, &["backup", "cti.backup"]).await;
    stop(server, &world).await;
    let url = format!("sqlite://{}", world.folder().join("new/place/cti.db").display());
    let elsewhere = world.clone().with("DATABASE_URL", &url);
    succeed(&elsewhere, &["restore", "cti.backup", "--verify"]).await;
    let server = elsewhere.start().await;
    assert_eq!(server.wait_for_events(&app, 2).await.len(), 2);
}

async fn a_restore_refuses_while_another_process_has_the_lock(world: World) {
    let server = world.start().await;
    succeed(&world, &["backup", "cti.backup"]).await;
    stop(server, &world).await;
    let lock = fs::File::create(world.folder().join("cti.db-lock")).expect("a lock file");
    lock.lock().expect("nobody else has it");
    refuse(&world, &["restore", "cti.backup", "--force"], "stop it first").await;
    drop(lock);
    succeed(&world, &["restore", "cti.backup", "--force"]).await;
}

#[tokio::test]
async fn without_pg_dump_the_line_to_run_is_printed() {
    let Some(world) = World::on_postgres("without_pg_dump_the_line_to_run_is_printed").await else { return };
    for (args, words) in
        [(["backup", "cti.backup"], "pg_dump --format=custom"), (["restore", "file"], "pg_restore")]
    {
        fs::write(world.folder().join("file"), "").expect("written");
        let mut command = world.command(&args);
        command.env("PATH", "/nowhere");
        let output = run_to_end(command, Duration::from_secs(60)).await;
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(words) && !text.contains("postgres://"), "{text}");
    }
    assert!(!world.folder().join("cti.backup").exists());
}
