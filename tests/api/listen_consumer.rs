//! `cti-server listen --consumer`: the server keeps the cursor.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::{
    consumers::{stands_at, view},
    listen::{ends_well, listen, prints},
    support::{
        App, Ask, Call, Process, Reply, ScriptedDialpad, TestServer, World, assert_contiguous, free_port,
        seqs,
    },
};

on_both_databases![
    the_next_run_goes_on_where_the_server_has_it,
    an_event_is_acknowledged_when_it_was_taken,
    whoever_is_taken_over_ends_at_once_and_says_so,
];

on_sqlite![it_survives_the_death_of_its_server, a_name_that_is_none_is_refused_by_the_server,];

const AS_CRM: [&str; 3] = ["--json", "--consumer", "crm"];

/// A `listen` as the consumer `crm`, once it is connected.
async fn listen_as_crm(world: World, server: &TestServer, app: &App, args: &[&str]) -> (World, Process) {
    let (world, mut listening) = listen(world, server, app, &[&AS_CRM, args].concat());
    listening.wait_for_line("that it is connected", |line| line.contains("connected").then_some(())).await;
    (world, listening)
}

async fn exits_with_3(mut listening: Process, sentence: &str) {
    let status = listening.exit(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(3), "{}", listening.log());
    assert!(listening.log().contains(sentence), "{}", listening.log());
}

async fn the_next_run_goes_on_where_the_server_has_it(world: World) {
    // There is no folder for a cursor, and none is needed.
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    server.wait_for_events(&app, 1).await;
    let (world, listening) = listen_as_crm(world, &server, &app, &[]).await;
    server.webhooks(&app, &Call::new(2).life()).await;
    let first = prints(&listening, 5).await;
    stands_at(&server, &app, 6).await;
    server.webhooks(&app, &Call::new(3).life()[..2]).await;
    let first = [first, prints(&listening, 7).await[5..].to_vec()].concat();
    // What was printed is acknowledged before it ends.
    ends_well(listening).await;
    stands_at(&server, &app, 8).await;

    server.webhooks(&app, &Call::new(3).life()[2..]).await;
    let (_, listening) = listen_as_crm(world, &server, &app, &[]).await;
    let second = prints(&listening, 3).await;
    ends_well(listening).await;
    assert_eq!([first, second].concat(), server.feed(&app).await[1..]);
}

async fn an_event_is_acknowledged_when_it_was_taken(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let refusing = ScriptedDialpad::start(|_| Reply::json(503, json!({}))).await;
    let (world, listening) =
        listen_as_crm(world, &server, &app, &["--forward-to", refusing.base_url()]).await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    refusing.wait_for_requests("POST /", 2).await;
    ends_well(listening).await;
    assert_eq!(view(&server, &app).await["acked_seq"], 0, "it was printed and not taken");

    let taking = ScriptedDialpad::start(|_| Reply::json(204, json!({}))).await;
    let (_, listening) =
        listen(world, &server, &app, &["--consumer", "crm", "--forward-to", taking.base_url()]);
    assert_eq!(taking.wait_for_requests("POST /", 1).await[0].body["seq"], 1);
    stands_at(&server, &app, 1).await;
    ends_well(listening).await;
}

async fn whoever_is_taken_over_ends_at_once_and_says_so(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    // The first one gets nowhere with the first event, and has more of them.
    let refusing = ScriptedDialpad::start(|_| Reply::json(503, json!({}))).await;
    let (world, first) = listen_as_crm(world, &server, &app, &["--forward-to", refusing.base_url()]).await;
    server.webhooks(&app, &Call::new(1).life()[..3]).await;
    refusing.wait_for_requests("POST /", 1).await;
    let (world, second) = listen_as_crm(world, &server, &app, &[]).await;
    exits_with_3(first, "the consumer belongs to another connection: a newer connection").await;
    let all = refusing.requests("POST /");
    assert!(all.iter().all(|asked| asked.body["seq"] == 1), "{all:?}");
    assert_contiguous(&prints(&second, 3).await, 0);
    server.webhook(&app, &Call::new(2).ring(0)).await;
    assert_eq!(seqs(&prints(&second, 4).await), [1, 2, 3, 4], "it goes on");
    stands_at(&server, &app, 4).await;

    let deleted = server.request(Method::DELETE, "/api/consumers/crm").by(&app).answer().await;
    assert_eq!(deleted.status, 204);
    exits_with_3(second, "the consumer belongs to another connection").await;
    drop(world);
}

async fn it_survives_the_death_of_its_server(world: World) {
    let world = world.with("PORT", &free_port());
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let (world, listening) = listen_as_crm(world, &server, &app, &[]).await;
    server.webhooks(&app, &Call::new(1).life()).await;
    prints(&listening, 5).await;
    server.process.kill();
    server = world.start().await;
    server.webhooks(&app, &Call::new(2).life()).await;
    assert_contiguous(&prints(&listening, 10).await, 0);
    stands_at(&server, &app, 10).await;
    ends_well(listening).await;
}

#[tokio::test]
async fn a_cursor_of_ones_own_does_not_go_together_with_a_consumer() {
    let world = World::on_sqlite().with("CTI_API_KEY", "raw_1");
    for (option, value) in [("--after", "0"), ("--after", "now"), ("--cursor-file", "crm.cursor")] {
        let refused = world.run(&["listen", "--consumer", "crm", option, value]).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("--consumer") && refused.stderr.contains(option), "{refused:?}");
    }
}

async fn a_name_that_is_none_is_refused_by_the_server(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let args = ["listen", "--url", &server.base_url, "--api-key", &app.key, "--consumer", "no name"];
    let refused = world.run(&args).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("consumer: must have"), "{refused:?}");
}
