//! The binary at the command line.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use crate::support::{Ask, Dialpad, WEBHOOK_SECRET, World, kinds, of_call};

on_both_databases![
    a_triggered_flow_is_emitted,
    a_triggered_transfer_is_one_interaction_in_either_family,
    a_triggered_recording_can_be_played,
    one_triggered_event_is_emitted,
    migrations_can_be_applied_beforehand,
    a_server_that_may_not_migrate_does_not_start_without_its_tables
];

on_sqlite![
    a_short_secret_is_a_warning_in_the_sandbox,
    a_token_key_is_made_beside_the_sqlite_file_for_its_owner_only,
    a_file_sets_what_the_environment_does_not,
    the_default_database_is_made_where_there_is_nothing,
    a_port_that_is_taken_is_named,
    a_log_for_machines_is_json_line_by_line,
];

#[tokio::test]
async fn help_names_every_command() {
    let help = World::on_sqlite().run(&["--help"]).await;
    assert_eq!(help.code, Some(0), "{help:?}");
    for command in [
        "serve",
        "demo",
        "migrate",
        "simulate",
        "trigger",
        "doctor",
        "completions",
        "verify",
        "rebuild",
        "backup",
        "restore",
        "import",
    ] {
        assert!(help.stdout.contains(command), "{command} is missing in {}", help.stdout);
    }
}

#[tokio::test]
async fn a_shell_can_complete_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = World::on_sqlite().run(&["completions", shell]).await;
        assert_eq!(script.code, Some(0), "{script:?}");
        assert!(script.stdout.contains("simulate") && script.stdout.contains("organization-id"), "{shell}");
    }
}

#[tokio::test]
async fn each_command_has_a_manual_page() {
    let world = World::on_sqlite();
    let written = world.run(&["man", "."]).await;
    assert_eq!(written.code, Some(0), "{written:?}");
    for command in ["serve", "demo", "migrate", "simulate", "trigger", "listen"] {
        let page = fs::read_to_string(world.folder().join(format!("cti-server-{command}.1")));
        assert!(page.is_ok_and(|page| page.starts_with(".ie")), "{command}");
    }
}

#[tokio::test]
async fn an_unknown_command_is_refused() {
    let refused = World::on_sqlite().run(&["dance"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("dance"), "{refused:?}");
}

#[tokio::test]
async fn bad_configuration_is_refused_with_one_line_for_each_wrong_key() {
    let wrong = [
        ("PORT", "ninety"),
        ("DATABASE_URL", "mysql://localhost/cti"),
        ("TOKEN_ENCRYPTION_KEY", "c2hvcnQ="),
        ("CTI_ENV", "moon"),
        ("LOG_FORMAT", "xml"),
        ("WS_MAX_SESSIONS_PER_APP", "-5"),
        ("HOST", "not a host"),
        ("SPOOL_MAX_BYTES", "plenty"),
        ("DIALPAD_PROD_BASE_URL", "ftp://dialpad.com"),
    ];
    let missing = ["INTERNAL_API_SECRET", "DIALPAD_WEBHOOK_SECRET"];
    let world = wrong.iter().fold(World::on_sqlite(), |world, (name, value)| world.with(name, value));
    let world = missing.iter().fold(world, |world, name| world.without(name));
    let refused = world.run(&["serve"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let lines_about = |key: &str| refused.stderr.lines().filter(|line| line.contains(key)).count();
    for key in wrong.iter().map(|(name, _)| *name).chain(missing) {
        assert_eq!(lines_about(key), 1, "lines about {key} in:\n{}", refused.stderr);
    }
    assert!(!refused.stderr.contains("c2hvcnQ="), "a secret is shown:\n{}", refused.stderr);
}

#[tokio::test]
async fn a_secret_that_can_be_guessed_stops_the_start() {
    for environment in ["sandbox", "production"] {
        for placeholder in ["…", "changeme", "secret"] {
            let world =
                World::on_sqlite().with("CTI_ENV", environment).with("PUBLIC_URL", "https://x.example");
            let world = world.with("INTERNAL_API_SECRET", placeholder);
            let world = world.with("DIALPAD_WEBHOOK_SECRET", &format!("{WEBHOOK_SECRET},{placeholder}"));
            let refused = world.run(&["serve"]).await;
            assert_eq!(refused.code, Some(2), "{placeholder}: {refused:?}");
            let lines: Vec<&str> = refused.stderr.lines().collect();
            assert_eq!(lines.len(), 2, "{refused:?}");
            assert!(lines.iter().all(|line| line.contains("openssl rand -hex 32")), "{refused:?}");
        }
    }
    let short = World::on_sqlite().with("CTI_ENV", "production").with("PUBLIC_URL", "https://x.example");
    let short = short.with("DIALPAD_WEBHOOK_SECRET", "fifteen-bytes-x");
    let refused = short.run(&["serve"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.starts_with("DIALPAD_WEBHOOK_SECRET: "), "{refused:?}");
    assert!(!refused.stderr.contains("fifteen"), "a secret is shown: {refused:?}");
}

async fn a_short_secret_is_a_warning_in_the_sandbox(world: World) {
    let server = world.with("INTERNAL_API_SECRET", "short").start().await;
    server.get("/internal/apps").bearer_auth("short").answer().await.ok();
    let log = server.process.log();
    assert!(log.contains("INTERNAL_API_SECRET: is shorter than 16 bytes"), "{log}");
}

#[tokio::test]
async fn production_insists_on_https_and_its_own_key() {
    let world = World::on_sqlite().with("CTI_ENV", "production").with("PUBLIC_URL", "http://cti.example.com");
    let refused = world.without("TOKEN_ENCRYPTION_KEY").run(&["serve"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    for key in ["PUBLIC_URL", "TOKEN_ENCRYPTION_KEY"] {
        assert!(refused.stderr.contains(key), "{key} is not named in:\n{}", refused.stderr);
    }
}

async fn a_token_key_is_made_beside_the_sqlite_file_for_its_owner_only(world: World) {
    let world = world.without("TOKEN_ENCRYPTION_KEY");
    world.start().await.get("/health").answer().await.ok();
    let of_the_database = ["cti.db", "cti.db-wal", "cti.db-shm", "cti.db-lock"];
    let made: Vec<(String, u32)> = fs::read_dir(world.folder())
        .expect("the folder is there")
        .flatten()
        .map(|file| {
            let mode = file.metadata().expect("the file is there").permissions().mode() & 0o777;
            (file.file_name().to_string_lossy().into_owned(), mode)
        })
        .filter(|(name, _)| !of_the_database.contains(&name.as_str()) && name != "spool")
        .collect();
    assert!(matches!(made.as_slice(), [(_, 0o600)]), "{made:?}");
    world.start().await.get("/health").answer().await.ok();
}

async fn a_file_sets_what_the_environment_does_not(world: World) {
    let world = world.without("DATABASE_URL").without("PORT");
    let file = world.folder().join("office.toml");
    let settings =
        "port = 0\ndatabase_url = \"sqlite://from-the-file.db\"\ninternal_api_secret = \"from the file\"\n";
    fs::write(&file, settings).expect("a file can be written");
    let file = file.to_str().expect("a readable name");
    let server = world.start_with(&["serve", "--config", file]).await;
    server.create_app("the environment goes before the file").await;
    assert!(world.folder().join("from-the-file.db").is_file(), "the file's database is not used");

    fs::write(file, "prot = 1\n").expect("a file can be written");
    let refused = world.run(&["serve", "--config", file]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("prot"), "{refused:?}");
    let refused = world.run(&["serve", "--config", "nowhere.toml"]).await;
    assert!(refused.code == Some(2) && refused.stderr.contains("nowhere.toml"), "{refused:?}");
}

async fn the_default_database_is_made_where_there_is_nothing(world: World) {
    let world = world.without("DATABASE_URL");
    let server = world.start().await;
    server.create_app("CRM").await;
    assert!(world.folder().join("data/cti.db").is_file());
}

async fn a_port_that_is_taken_is_named(world: World) {
    let server = world.start().await;
    let port = server.address().rsplit(':').next().expect("an address has a port");
    let refused = World::on_sqlite().with("PORT", port).run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains(port), "{refused:?}");
}

#[tokio::test]
async fn a_host_that_is_not_here_is_a_wrong_setting() {
    for host in ["999.1.1.1", "192.0.2.1", "nowhere.invalid"] {
        let refused = World::on_sqlite().with("HOST", host).run(&["serve"]).await;
        assert_eq!(refused.code, Some(2), "{host}: {refused:?}");
        assert!(refused.stderr.starts_with("HOST: "), "{host}: {refused:?}");
    }
}

async fn a_server_that_may_not_migrate_does_not_start_without_its_tables(world: World) {
    let world = world.with("AUTO_MIGRATE", "false");
    let refused = world.run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("cti-server migrate"), "{refused:?}");
    assert_eq!(world.run(&["migrate"]).await.code, Some(0));
    world.start().await.get("/health").answer().await.ok();
}

async fn a_log_for_machines_is_json_line_by_line(world: World) {
    let server = world.with("LOG_FORMAT", "json").start().await;
    server.create_app("CRM").await;
    for line in server.process.log().lines() {
        let json: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(json.is_ok(), "{line}");
    }
}

#[tokio::test]
async fn the_demo_shows_live_calls_with_nothing_set_up() {
    let nowhere = World::on_sqlite();
    let settings = [
        "HOST",
        "PORT",
        "DATABASE_URL",
        "INTERNAL_API_SECRET",
        "DIALPAD_WEBHOOK_SECRET",
        "TOKEN_ENCRYPTION_KEY",
    ];
    let demo = settings
        .iter()
        .fold(nowhere, |world, name| world.without(name))
        .run(&["demo", "--calls", "1", "--flow", "answered"])
        .await;
    assert_eq!(demo.code, Some(0), "{demo:?}");
    for shown in ["raw_", "call.ring", "call.ended"] {
        assert!(demo.stdout.contains(shown), "{shown} is missing in:\n{}", demo.stdout);
    }
}

async fn a_triggered_flow_is_emitted(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (call, family) in [("41", "workflow"), ("42", "dialpad")] {
        let triggered = world
            .run(&[
                "trigger",
                "answered",
                "--url",
                &server.base_url,
                "--app-id",
                &app.id,
                "--call-id",
                call,
                "--family",
                family,
            ])
            .await;
        assert_eq!(triggered.code, Some(0), "{triggered:?}");
    }
    let feed = server.feed_once_processed(&app, 1).await;
    for call in [41, 42] {
        let mut emitted = of_call(&feed, call);
        emitted.retain(|event| event["type"] != "call.updated");
        assert_eq!(kinds(&emitted), ["call.ring", "call.started", "call.ended"], "call {call}");
    }
}

async fn a_triggered_transfer_is_one_interaction_in_either_family(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (flow, call, family) in [("transfer", "51", "workflow"), ("transfer", "52", "dialpad")] {
        let line = ["trigger", flow, "--url", &server.base_url, "--app-id", &app.id, "--call-id", call];
        let triggered = world.run(&[&line[..], &["--family", family]].concat()).await;
        assert_eq!(triggered.code, Some(0), "{triggered:?}");
        let first = call.parse::<i64>().expect("a number");
        server
            .feed_when(&app, "both legs are over and in one interaction", |feed| {
                let interaction = of_call(feed, first).last().map(|event| event["interaction_id"].clone());
                let ended = feed.iter().filter(|event| event["type"] == "call.ended");
                interaction
                    .is_some_and(|own| ended.filter(|event| event["interaction_id"] == own).count() == 2)
            })
            .await;
    }
}

async fn a_triggered_recording_can_be_played(world: World) {
    let dialpad = Dialpad::start().await;
    let world = world.with_dialpad(&dialpad);
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let organization = Dialpad::COMPANY.to_string();
    for (flow, family) in [("answered", "workflow"), ("answered", "dialpad"), ("voicemail", "workflow")] {
        let triggered = world
            .run(&[
                "trigger",
                flow,
                "--url",
                &server.base_url,
                "--organization-id",
                &organization,
                "--family",
                family,
                "--simulator",
                &dialpad.base_url,
            ])
            .await;
        assert_eq!(triggered.code, Some(0), "{triggered:?}");
    }
    let feed = server
        .feed_when(&app, "two recordings and a voicemail", |feed| {
            let with_recording = |event: &&Value| event["recording_url"].is_string();
            let calls: BTreeSet<i64> =
                feed.iter().filter(with_recording).filter_map(|event| event["call_id"].as_i64()).collect();
            calls.len() == 3
        })
        .await;
    for event in feed.iter().filter(|event| event["recording_url"].is_string()) {
        let path = match event["voicemail_id"].as_str() {
            Some(id) => format!("/api/voicemails/{id}/recording"),
            None => format!("/api/calls/{}/recording", event["call_id"]),
        };
        let audio = server.get(&path).by(&app).send().await.expect("an answer");
        let content_type = audio.headers().get("content-type").and_then(|value| value.to_str().ok());
        assert_eq!((audio.status().as_u16(), content_type), (200, Some("audio/wav")), "{path}");
    }
}

async fn one_triggered_event_is_emitted(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let trigger = async |event: &str, secret: &str| {
        world
            .run(&["trigger", event, "--url", &server.base_url, "--app-id", &app.id, "--secret", secret])
            .await
    };
    let refused = trigger("call.ring", "not-the-secret").await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let taken = trigger("call.ring", world.setting("DIALPAD_WEBHOOK_SECRET")).await;
    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert_eq!(kinds(&server.wait_for_events(&app, 1).await), ["call.ring"]);
}

async fn migrations_can_be_applied_beforehand(world: World) {
    let migrated = world.run(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    assert!(migrated.stdout.contains("0001"), "{migrated:?}");
    let again = world.run(&["migrate"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    let server = world.start().await;
    server.create_app("CRM").await;
}
