//! Named consumers whose connections share the work.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::consumers::{acknowledge, consume, stands_at, view};
use crate::support::{App, Ask, Call, Shows, Socket, TestServer, World, eventually, of_call, seqs};

on_both_databases![
    two_share_the_work_and_each_call_stays_with_one,
    what_one_leaves_undone_goes_to_the_other,
    one_that_comes_later_gets_its_share,
    a_stream_shares_by_naming_its_session,
    an_exclusive_connection_takes_over_from_those_who_share,
    a_group_outlives_a_killed_server,
];

// Servers that share a database: on SQLite a second one is refused.
on_postgres![those_who_share_find_together_at_one_server];

async fn share(server: &TestServer, app: &App) -> Socket {
    let (socket, connected) = consume(server, app, "&mode=share").await;
    connected.shows(json!({"consumer": "crm", "mode": "share"}));
    socket
}

/// Everything that comes until nothing has come for a while.
async fn all_of(socket: &mut Socket) -> Vec<Value> {
    let mut heard = Vec::new();
    while let Ok(event) = timeout(Duration::from_millis(700), socket.next_event()).await {
        heard.push(event);
    }
    heard
}

async fn two_share_the_work_and_each_call_stays_with_one(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (mut first, mut second) = (share(&server, &app).await, share(&server, &app).await);
    for id in 1..=40 {
        server.webhooks(&app, &Call::new(id).life()).await;
    }
    let (ours, theirs) = tokio::join!(all_of(&mut first), all_of(&mut second));
    assert_eq!(ours.len() + theirs.len(), 200);
    assert!(!ours.is_empty() && !theirs.is_empty(), "{} and {}", ours.len(), theirs.len());
    for id in 1..=40 {
        let (at_first, at_second) = (of_call(&ours, id), of_call(&theirs, id));
        assert!(at_first.is_empty() || at_second.is_empty(), "call {id} is at both");
        let seqs = seqs(&[at_first, at_second].concat());
        assert!(seqs.len() == 5 && seqs.is_sorted(), "call {id}: {seqs:?}");
    }
    for (socket, heard) in [(&mut first, &ours), (&mut second, &theirs)] {
        let last = heard.last().expect("some")["seq"].clone();
        socket.send_text(&json!({"type": "ack", "seq": last}).to_string()).await;
    }
    stands_at(&server, &app, 200).await;
    view(&server, &app).await.shows(json!({"mode": "share", "connections": 2, "behind": 0}));
}

async fn what_one_leaves_undone_goes_to_the_other(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (mut first, mut second) = (share(&server, &app).await, share(&server, &app).await);
    for id in 1..=40 {
        server.webhook(&app, &Call::new(id).ring(0)).await;
    }
    let (ours, theirs) = tokio::join!(all_of(&mut first), all_of(&mut second));
    let half = ours.len() / 2;
    let done = ours[half - 1]["seq"].clone();
    first.send_text(&json!({"type": "ack", "seq": done}).to_string()).await;
    first.ping(b"heard").await;
    drop(first);
    let inherited = second.events(ours.len() - half).await;
    assert_eq!(seqs(&inherited), seqs(&ours[half..]));
    // An acknowledgement counts in the order in which things were given, which here is not that of `seq`.
    let last = inherited.last().expect("some")["seq"].as_i64().expect("a seq");
    second.send_text(&json!({"type": "ack", "seq": last}).to_string()).await;
    stands_at(&server, &app, 40).await;
    assert_eq!(theirs.len() + ours.len(), 40);
    second.expect_nothing_more(&server, &app).await;
}

async fn one_that_comes_later_gets_its_share(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut first = share(&server, &app).await;
    for id in 1..=40 {
        server.webhook(&app, &Call::new(id).ring(0)).await;
    }
    let before = first.events(40).await;
    let mut second = share(&server, &app).await;
    for id in 1..=40 {
        server.webhook(&app, &Call::new(id).started(3)).await;
    }
    // What the first one has not dealt with keeps its calls with it.
    assert_eq!(all_of(&mut second).await, [] as [Value; 0]);
    acknowledge(&server, &app, &mut first, before[39]["seq"].as_i64().expect("a seq")).await;
    let (ours, theirs) = tokio::join!(all_of(&mut first), all_of(&mut second));
    assert!(!theirs.is_empty());
    let mut all = seqs(&[ours, theirs].concat());
    all.sort_unstable();
    assert_eq!(all, (41..=80).collect::<Vec<_>>());
}

async fn a_stream_shares_by_naming_its_session(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut stream = server.open_stream(&app, "?consumer=crm&mode=share").await;
    let session = stream.expect("connected").await["session_id"].clone();
    server.webhooks(&app, &Call::new(1).life()).await;
    stream.events(5).await;
    let ack = |body: Value| server.post("/api/consumers/crm/ack").by(&app).json(&body).answer();
    ack(json!({"seq": 5})).await.refuses_naming("session_id");
    ack(json!({"seq": 5, "session_id": session})).await.ok().shows(json!({"acked_seq": 5}));
}

async fn an_exclusive_connection_takes_over_from_those_who_share(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (mut first, mut second) = (share(&server, &app).await, share(&server, &app).await);
    let (mut only, connected) = consume(&server, &app, "").await;
    connected.shows(json!({"mode": "exclusive"}));
    assert_eq!((first.close_code().await, second.close_code().await), (Some(4409), Some(4409)));
    server.webhooks(&app, &Call::new(1).life()).await;
    assert_eq!(only.events(5).await.len(), 5);
}

async fn those_who_share_find_together_at_one_server(world: World) {
    let (here, there) = (world.start().await, world.start().await);
    let app = here.create_app("CRM").await;
    let first = share(&here, &app).await;
    eventually("the connection is known", async || {
        (view(&there, &app).await["connections"] == 1).then_some(())
    })
    .await;
    let mut elsewhere = there.open_socket("/ws?consumer=crm&mode=share", &[("x-api-key", &app.key)]).await;
    assert_eq!(elsewhere.close_code().await, Some(1013));
    let refused = there.get("/api/events/stream?consumer=crm&mode=share").by(&app).answer().await;
    refused.refuses(503, "CONSUMER_ELSEWHERE");
    assert!(refused.header("retry-after").is_some());
    let ack = there.post("/api/consumers/crm/ack").by(&app).json(&json!({"seq": 0})).answer().await;
    ack.refuses(503, "CONSUMER_ELSEWHERE");
    drop(first);
    let _second = share(&there, &app).await;
}

async fn a_group_outlives_a_killed_server(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let (mut first, second) = (share(&server, &app).await, share(&server, &app).await);
    for id in 1..=20 {
        server.webhook(&app, &Call::new(id).ring(0)).await;
    }
    server.wait_for_events(&app, 20).await;
    let heard = all_of(&mut first).await;
    server.process.kill();
    drop(second);
    let server = world.start().await;
    let (mut first, mut second) = tokio::join!(share(&server, &app), share(&server, &app));
    let (ours, theirs) = tokio::join!(all_of(&mut first), all_of(&mut second));
    let mut times: BTreeMap<i64, usize> = BTreeMap::new();
    seqs(&[ours, theirs].concat()).into_iter().for_each(|seq| *times.entry(seq).or_default() += 1);
    assert!(times.len() == 20 && times.values().all(|times| *times == 1), "{times:?}");
    assert!(!heard.is_empty());
}
