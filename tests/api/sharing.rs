//! Named consumers whose connections share the work.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

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
on_postgres![
    connections_at_two_servers_share_the_work,
    any_server_takes_the_acknowledgement_of_a_connection_at_another_one,
    what_a_killed_server_has_left_goes_to_the_other_within_five_seconds,
    an_exclusive_connection_takes_over_from_those_who_share_at_another_server,
];

/// Five seconds are promised; a busy machine may need a little longer.
const TAKEOVER: Duration = Duration::from_secs(8);

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

/// What comes to two connections, until it is so much together.
async fn all_of_both(first: &mut Socket, second: &mut Socket, count: usize) -> (Vec<Value>, Vec<Value>) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    eventually("everything is delivered to one of two", async || {
        let (one, other) = tokio::join!(all_of(first), all_of(second));
        ours.extend(one);
        theirs.extend(other);
        (ours.len() + theirs.len() >= count).then_some(())
    })
    .await;
    assert_eq!(ours.len() + theirs.len(), count);
    (ours, theirs)
}

async fn acknowledge_last(socket: &mut Socket, heard: &[Value]) {
    if let Some(last) = heard.last() {
        socket.send_text(&json!({"type": "ack", "seq": last["seq"]}).to_string()).await;
    }
}

/// Emits events until each of two connections has got some. Returns how many: all of them are acknowledged.
async fn until_both_get_some(server: &TestServer, app: &App, first: &mut Socket, second: &mut Socket) -> i64 {
    let mut emitted = 0;
    let (mut has_first, mut has_second) = (false, false);
    while !(has_first && has_second) {
        assert!(emitted < 2000, "a connection gets nothing");
        for _ in 0..20 {
            emitted += 1;
            server.webhook(app, &Call::new(100_000 + emitted).ring(0)).await;
        }
        eventually("all of it is acknowledged", async || {
            let (ours, theirs) = tokio::join!(all_of(first), all_of(second));
            acknowledge_last(first, &ours).await;
            acknowledge_last(second, &theirs).await;
            has_first |= !ours.is_empty();
            has_second |= !theirs.is_empty();
            (view(server, app).await["acked_seq"] == emitted).then_some(())
        })
        .await;
    }
    emitted
}

async fn connections_at_two_servers_share_the_work(world: World) {
    let (here, there) = (world.start().await, world.start().await);
    let app = here.create_app("CRM").await;
    let (mut first, mut second) = (share(&here, &app).await, share(&there, &app).await);
    let before = until_both_get_some(&here, &app, &mut first, &mut second).await;
    for id in 1..=40 {
        let server = if id % 2 == 0 { &here } else { &there };
        server.webhooks(&app, &Call::new(id).life()).await;
    }
    let (ours, theirs) = all_of_both(&mut first, &mut second, 200).await;
    assert!(!ours.is_empty() && !theirs.is_empty(), "{} and {}", ours.len(), theirs.len());
    for id in 1..=40 {
        let (at_first, at_second) = (of_call(&ours, id), of_call(&theirs, id));
        assert!(at_first.is_empty() || at_second.is_empty(), "call {id} is at both");
        let seqs = seqs(&[at_first, at_second].concat());
        assert!(seqs.len() == 5 && seqs.is_sorted(), "call {id}: {seqs:?}");
    }
    acknowledge_last(&mut first, &ours).await;
    acknowledge_last(&mut second, &theirs).await;
    stands_at(&there, &app, before + 200).await;
    view(&here, &app).await.shows(json!({"mode": "share", "connections": 2, "behind": 0}));
}

async fn any_server_takes_the_acknowledgement_of_a_connection_at_another_one(world: World) {
    let (here, there) = (world.start().await, world.start().await);
    let app = here.create_app("CRM").await;
    let mut stream = here.open_stream(&app, "?consumer=crm&mode=share").await;
    let session = stream.expect("connected").await["session_id"].clone();
    here.webhooks(&app, &Call::new(1).life()).await;
    stream.events(5).await;
    let ack = |body: Value| there.post("/api/consumers/crm/ack").by(&app).json(&body).answer();
    ack(json!({"seq": 5})).await.refuses_naming("session_id");
    ack(json!({"seq": 5, "session_id": session})).await.ok().shows(json!({"acked_seq": 5}));
    drop(stream);
    eventually("the connection has left", async || {
        (view(&there, &app).await["connections"] == 0).then_some(())
    })
    .await;
    here.webhooks(&app, &Call::new(2).life()).await;
    ack(json!({"seq": 7})).await.ok().shows(json!({"acked_seq": 7}));
}

async fn what_a_killed_server_has_left_goes_to_the_other_within_five_seconds(world: World) {
    let (here, mut there) = (world.start().await, world.start().await);
    let app = here.create_app("CRM").await;
    let (mut first, mut second) = (share(&here, &app).await, share(&there, &app).await);
    let before = until_both_get_some(&here, &app, &mut first, &mut second).await;
    for id in 1..=40 {
        here.webhook(&app, &Call::new(id).ring(0)).await;
    }
    let (ours, theirs) = all_of_both(&mut first, &mut second, 40).await;
    // Half of what it has is acknowledged, and that is stored.
    let half = theirs.len() / 2;
    let (done, left) = theirs.split_at(half);
    acknowledge_last(&mut second, done).await;
    acknowledge_last(&mut first, &ours).await;
    let first_left = seqs(left).into_iter().min().expect("some");
    stands_at(&here, &app, first_left - 1).await;
    there.process.kill();
    let killed_at = Instant::now();
    let inherited = first.events(left.len()).await;
    assert!(killed_at.elapsed() < TAKEOVER, "{:?}", killed_at.elapsed());
    acknowledge_last(&mut first, &inherited).await;
    let sorted = |events: &[Value]| {
        let mut seqs = seqs(events);
        seqs.sort_unstable();
        seqs
    };
    assert_eq!(sorted(&inherited), sorted(left));
    stands_at(&here, &app, before + 40).await;
    first.expect_nothing_more(&here, &app).await;
}

async fn an_exclusive_connection_takes_over_from_those_who_share_at_another_server(world: World) {
    let (here, there) = (world.start().await, world.start().await);
    let app = here.create_app("CRM").await;
    let mut first = share(&here, &app).await;
    let (mut only, connected) = consume(&there, &app, "").await;
    connected.shows(json!({"mode": "exclusive"}));
    assert_eq!(first.close_code().await, Some(4409));
    here.webhooks(&app, &Call::new(1).life()).await;
    assert_eq!(only.events(5).await.len(), 5);
    // And back.
    let mut shares = share(&here, &app).await;
    assert_eq!(only.close_code().await, Some(4409));
    assert_eq!(shares.events(5).await.len(), 5);
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
    // Until the killed one is given up, its partitions wait.
    let mut events = Vec::new();
    eventually("all of it is delivered", async || {
        let (ours, theirs) = tokio::join!(all_of(&mut first), all_of(&mut second));
        events.extend([ours, theirs].concat());
        (events.len() >= 20).then_some(())
    })
    .await;
    let mut times: BTreeMap<i64, usize> = BTreeMap::new();
    seqs(&events).into_iter().for_each(|seq| *times.entry(seq).or_default() += 1);
    assert!(times.len() == 20 && times.values().all(|times| *times == 1), "{times:?}");
    assert!(!heard.is_empty());
}
