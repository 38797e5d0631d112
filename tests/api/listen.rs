//! `cti-server listen` and `trigger`, as a developer uses them on a terminal.

use std::{collections::BTreeSet, fs, sync::Mutex, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    App, Call, Process, Reply, ScriptedDialpad, Shows, TestServer, World, assert_contiguous, eventually,
    free_port, kinds, seqs,
};

on_both_databases![what_is_emitted_is_printed_and_the_next_run_goes_on_behind_it];

on_sqlite![
    without_a_cursor_it_begins_with_what_comes,
    lines_for_people_have_no_colours_where_there_is_no_terminal,
    it_survives_the_death_of_its_server,
    after_a_restore_it_says_so_and_continues,
    events_are_passed_on_in_order_until_each_is_taken,
    an_event_that_nobody_took_comes_again_with_the_next_run,
    a_wrong_key_ends_it_at_once_and_is_not_shown,
    a_trigger_for_programs_prints_json,
];

/// A world with a folder for the state of its user.
fn at_home(world: World) -> World {
    let state = world.folder().join("state").display().to_string();
    world.with("XDG_STATE_HOME", &state)
}

/// A `listen` that knows its key from the environment, as it should.
pub(crate) fn listen(world: World, server: &TestServer, app: &App, args: &[&str]) -> (World, Process) {
    let world = world.with("CTI_API_KEY", &app.key);
    let args = [&["listen", "--url", &server.base_url], args].concat();
    let process = Process::spawn("cti-server listen", &mut world.command(&args));
    (world, process)
}

/// The events that were printed as JSON.
fn printed(listening: &Process) -> Vec<Value> {
    listening.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

pub(crate) async fn prints(listening: &Process, count: usize) -> Vec<Value> {
    eventually(&format!("{count} events are printed"), async || {
        Some(printed(listening)).filter(|events| events.len() >= count)
    })
    .await
}

pub(crate) async fn ends_well(mut listening: Process) -> String {
    listening.terminate();
    let status = listening.exit(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(0), "{}", listening.log());
    listening.log()
}

async fn what_is_emitted_is_printed_and_the_next_run_goes_on_behind_it(world: World) {
    let world = at_home(world);
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    let (world, listening) = listen(world, &server, &app, &["--json", "--after", "0"]);
    let first = prints(&listening, 5).await;
    let log = ends_well(listening).await;
    assert!(!log.contains(&app.key), "the key is shown in:\n{log}");

    // What is emitted meanwhile is not lost, and nothing comes twice.
    server.webhooks(&app, &Call::new(2).life()).await;
    let (_, listening) = listen(world, &server, &app, &["--json"]);
    let second = prints(&listening, 5).await;
    ends_well(listening).await;
    let all = [first, second].concat();
    assert_eq!(all, server.feed(&app).await);
}

async fn without_a_cursor_it_begins_with_what_comes(world: World) {
    let world = at_home(world);
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.wait_for_events(&app, 5).await;
    let (world, mut listening) = listen(world, &server, &app, &["--json", "--types", "call.ring,call.ended"]);
    listening.wait_for_line("that it is connected", |line| line.contains("connected").then_some(())).await;
    server.webhooks(&app, &Call::new(2).life()).await;
    let events = prints(&listening, 2).await;
    assert_eq!((kinds(&events), seqs(&events)), (vec!["call.ring", "call.ended"], vec![6, 10]));
    ends_well(listening).await;
    // `now` goes before the cursor that is kept.
    server.webhooks(&app, &Call::new(3).life()).await;
    server.wait_for_events(&app, 15).await;
    let (_, mut listening) = listen(world, &server, &app, &["--json", "--after", "now"]);
    listening.wait_for_line("that it is connected", |line| line.contains("connected").then_some(())).await;
    server.webhook(&app, &Call::new(4).ring(0)).await;
    assert_eq!(seqs(&prints(&listening, 1).await), [16]);
}

async fn lines_for_people_have_no_colours_where_there_is_no_terminal(world: World) {
    let world = at_home(world.without("NO_COLOR"));
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    let (_, mut listening) = listen(world, &server, &app, &["--after", "0"]);
    let line = listening
        .wait_for_line("the event", |line| line.contains("call.ring").then(|| line.to_owned()))
        .await;
    assert!(line.contains("+14155551234 → +14155555678") && line.ends_with("#1"), "{line}");
    assert!(!listening.log().contains('\u{1b}'), "{}", listening.log());
}

async fn it_survives_the_death_of_its_server(world: World) {
    let world = at_home(world).with("PORT", &free_port());
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    let (world, listening) = listen(world, &server, &app, &["--json", "--after", "0"]);
    prints(&listening, 5).await;
    server.process.kill();
    server = world.start().await;
    server.webhooks(&app, &Call::new(2).life()).await;
    let events = prints(&listening, 10).await;
    assert_contiguous(&events, 0);
    let log = ends_well(listening).await;
    assert!(log.contains("retrying in"), "{log}");
}

async fn after_a_restore_it_says_so_and_continues(world: World) {
    let world = at_home(world);
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    let (world, listening) = listen(world, &server, &app, &["--json", "--after", "0"]);
    prints(&listening, 1).await;
    ends_well(listening).await;
    let epoch = "018cc4e0-7d2b-4c55-9f21-6a7b8c9d0e1f";
    world.execute(&format!("UPDATE feed_epoch SET epoch = '{epoch}'")).await;
    let (_, listening) = listen(world, &server, &app, &["--json"]);
    let gap = prints(&listening, 1).await.remove(0);
    gap.shows(json!({"type": "gap", "reason": "epoch_changed", "epoch": epoch, "to_seq": 1}));
    server.webhook(&app, &Call::new(1).started(2)).await;
    prints(&listening, 2).await[1].shows(json!({"type": "call.started", "seq": 2}));
    assert!(ends_well(listening).await.contains("was restored"));
}

async fn events_are_passed_on_in_order_until_each_is_taken(world: World) {
    let world = at_home(world);
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    // Every event is refused once, one way or another, before it is taken.
    let tries = Mutex::new(BTreeSet::new());
    let crm = ScriptedDialpad::start(move |asked| {
        let seq = asked.body["seq"].as_i64().expect("an event");
        let is_first = tries.lock().expect("nobody panics").insert(seq);
        match (is_first, seq % 2) {
            (true, 0) => Reply::json(500, json!({})),
            (true, _) => Reply::none(),
            (false, _) => Reply::json(204, json!({})),
        }
    })
    .await;
    let hook = format!("{}/hook?token=secret", crm.base_url());
    server.webhooks(&app, &Call::new(1).life()[..3]).await;
    let cursor = world.folder().join("own.cursor");
    let file = cursor.display().to_string();
    let args = ["--json", "--after", "0", "--cursor-file", &file, "--forward-to", &hook];
    let (_, listening) = listen(world, &server, &app, &args);
    crm.wait_for_requests("POST /hook", 6).await;
    eventually("the cursor is behind the last event", async || {
        fs::read_to_string(&cursor).is_ok_and(|kept| kept.trim().ends_with(":3")).then_some(())
    })
    .await;
    let posted: Vec<Value> = crm.requests("POST /hook").into_iter().map(|asked| asked.body).collect();
    assert_eq!(seqs(&posted), [1, 1, 2, 2, 3, 3]);
    assert_eq!(posted.into_iter().step_by(2).collect::<Vec<_>>(), server.feed(&app).await);
    let log = ends_well(listening).await;
    assert!(log.contains("answered 500") && !log.contains("secret"), "{log}");
}

async fn an_event_that_nobody_took_comes_again_with_the_next_run(world: World) {
    let world = at_home(world);
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let refusing = ScriptedDialpad::start(|_| Reply::json(503, json!({}))).await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    let (world, listening) =
        listen(world, &server, &app, &["--after", "0", "--forward-to", refusing.base_url()]);
    refusing.wait_for_requests("POST /", 1).await;
    ends_well(listening).await;
    let taking = ScriptedDialpad::start(|_| Reply::json(200, json!({}))).await;
    let (_, listening) = listen(world, &server, &app, &["--forward-to", taking.base_url()]);
    assert_eq!(taking.wait_for_requests("POST /", 1).await[0].body["seq"], 1);
    ends_well(listening).await;
}

async fn a_wrong_key_ends_it_at_once_and_is_not_shown(world: World) {
    let world = at_home(world);
    let server = world.start().await;
    let refused = world.run(&["listen", "--url", &server.base_url, "--api-key", "raw_wrong"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("Invalid API key"), "{refused:?}");
    assert!(!format!("{refused:?}").contains("raw_wrong"), "{refused:?}");
}

#[tokio::test]
async fn a_command_line_that_is_wrong_is_named() {
    let world = World::on_sqlite().with("CTI_API_KEY", "raw_1");
    for (args, named, code) in [
        (&["--after", "soon"][..], "--after", 2),
        (&["--forward-to", "ftp://localhost"], "--forward-to", 2),
        (&["--url", "somewhere"], "--url", 2),
        (&[], "--cursor-file", 1),
    ] {
        let refused = world.run(&[&["listen"], args].concat()).await;
        assert_eq!(refused.code, Some(code), "{refused:?}");
        assert!(refused.stderr.contains(named), "{refused:?}");
    }
    let refused = World::on_sqlite().run(&["listen"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--api-key"), "{refused:?}");
}

async fn a_trigger_for_programs_prints_json(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let triggered =
        world.run(&["trigger", "missed", "--url", &server.base_url, "--app-id", &app.id, "--json"]).await;
    assert_eq!(triggered.code, Some(0), "{triggered:?}");
    let lines: Vec<Value> =
        triggered.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.len() > 1, "{triggered:?}");
    for line in lines {
        assert_eq!((&line["acknowledged"], &line["status"]), (&json!(true), &json!(200)), "{line}");
        assert_eq!(line["answer"]["success"], true, "{line}");
    }
}
