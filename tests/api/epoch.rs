//! The epoch of a feed: after a restore the same numbers are other events, and clients learn it.

use serde_json::{Value, json};

use crate::support::{App, Ask, Call, EventStream, Shows, TestServer, World, eventually, kinds};

on_both_databases![
    the_epoch_stands_where_a_cursor_is_and_outlives_the_server,
    a_cursor_with_the_epoch_of_the_feed_resumes_as_one_without,
    a_cursor_of_another_epoch_is_refused_over_rest,
    a_cursor_of_another_epoch_is_a_gap_on_a_socket,
    a_stream_with_an_epoch_has_ids_with_it,
    a_cursor_of_another_epoch_is_a_gap_in_a_stream,
    a_consumer_of_another_epoch_gets_a_gap_until_it_acknowledges,
    a_consumer_beyond_the_head_gets_a_gap,
    a_consumer_that_polls_is_refused_until_it_acknowledges,
    open_sessions_learn_that_the_feed_went_back_at_the_next_event,
    open_sessions_learn_that_the_feed_went_back_without_an_event,
    open_sessions_learn_of_another_epoch,
    a_waiting_request_learns_of_another_epoch,
    webhooks_of_calls_that_the_restored_database_lacks_are_processed,
];

/// Another epoch.
const OTHER: &str = "018cc4e0-7d2b-4c55-9f21-6a7b8c9d0e1f";

async fn epoch(server: &TestServer, app: &App) -> String {
    let answer = server.get("/api/events").by(app).answer().await;
    answer.header("x-epoch").expect("a feed has an epoch").to_owned()
}

/// Gives the database another epoch, as a restore does.
async fn begin_epoch(world: &World) {
    world.execute(&format!("UPDATE feed_epoch SET epoch = '{OTHER}'")).await;
}

/// Takes all events after the first ones away, as a failover to a replica that lags does.
async fn go_back_to(world: &World, seq: i64) {
    world
        .execute(&format!("DELETE FROM events WHERE seq > {seq}; UPDATE event_feeds SET last_seq = {seq}"))
        .await;
}

/// Starts a server with an app that has these many events, each of a call of its own.
async fn with_events(world: &World, count: usize) -> (TestServer, App) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let rings: Vec<Value> = (1..).take(count).map(|id| Call::new(id).ring(0)).collect();
    server.webhooks(&app, &rings).await;
    server.wait_for_events(&app, count).await;
    (server, app)
}

async fn the_epoch_stands_where_a_cursor_is_and_outlives_the_server(world: World) {
    let (mut server, app) = with_events(&world, 1).await;
    let epoch = epoch(&server, &app).await;
    assert_eq!(epoch.len(), 36, "{epoch}");
    for _ in 0..2 {
        let mut socket = server.open_socket("/ws", &[("x-api-key", &app.key)]).await;
        socket.expect("connected").await.shows(json!({"epoch": epoch}));
        for path in ["/api/events", "/api/events?after=1&wait=1", "/api/calls/active"] {
            let answer = server.get(path).by(&app).answer().await;
            assert_eq!((answer.status, answer.header("x-epoch")), (200, Some(&*epoch)), "{answer}");
        }
        let mut stream = server.open_stream(&app, "").await;
        assert_eq!(stream.epoch, epoch);
        stream.expect("connected").await.shows(json!({"epoch": epoch}));
        drop((socket, stream, server));
        server = world.start().await;
    }
}

async fn a_cursor_with_the_epoch_of_the_feed_resumes_as_one_without(world: World) {
    let (server, app) = with_events(&world, 3).await;
    let epoch = epoch(&server, &app).await;
    let page = server.get(&format!("/api/events?after={epoch}:1&limit=1")).by(&app).answer().await;
    assert_eq!(page.list()[0]["seq"], 2);
    let next = page.next_page().expect("there is more");
    assert!(next.contains(&format!("{epoch}%3A2")) || next.contains(&format!("{epoch}:2")), "{next}");
    assert_eq!(server.get(&next).by(&app).answer().await.list()[0]["seq"], 3);
    let mut socket = server.subscribe(&app, &format!("?after={epoch}:2")).await;
    socket.expect("call.ring").await.shows(json!({"seq": 3}));
    let mut first_message = server.open_socket("/ws", &[]).await;
    let subscribe = json!({"type": "subscribe", "api_key": app.key, "after": format!("{epoch}:2")});
    first_message.send_text(&subscribe.to_string()).await;
    first_message.expect("connected").await;
    first_message.expect("call.ring").await.shows(json!({"seq": 3}));

    let ahead = server.get(&format!("/api/events?after={epoch}:9")).by(&app).answer().await;
    ahead.refuses(409, "CURSOR_AHEAD");
    for bad in [":1", "1:1", "x:1", &format!("{epoch}:"), &format!("{epoch}:-1"), &format!("{epoch}:1:1")] {
        server.get(&format!("/api/events?after={bad}")).by(&app).answer().await.refuses_naming("after");
    }
}

async fn a_cursor_of_another_epoch_is_refused_over_rest(world: World) {
    let (server, app) = with_events(&world, 3).await;
    let epoch = epoch(&server, &app).await;
    let call = server.call(&app, 1).await["id"].as_str().expect("an id").to_owned();
    let timeline = format!("/api/calls/{call}/events");
    for seq in [0, 2, 3, 99] {
        for path in ["/api/events?wait=5&", "/api/events?", &format!("{timeline}?")] {
            let answer = server.get(&format!("{path}after={OTHER}:{seq}")).by(&app).answer().await;
            let error = answer.refuses(409, "EPOCH_CHANGED");
            error["details"].shows(json!({"epoch": epoch, "seq": 3, "oldest_seq": 1}));
        }
    }
    let own = server.get(&format!("{timeline}?after={epoch}:0")).by(&app).answer().await;
    assert_eq!(own.list().len(), 1);
}

async fn a_cursor_of_another_epoch_is_a_gap_on_a_socket(world: World) {
    let (server, app) = with_events(&world, 3).await;
    let epoch = epoch(&server, &app).await;
    let mut sockets = Vec::new();
    for seq in [0, 2, 3, 99] {
        let mut socket = server.subscribe(&app, &format!("?after={OTHER}:{seq}")).await;
        let gap = socket.expect("gap").await;
        gap.shows(json!({"reason": "epoch_changed", "epoch": epoch, "to_seq": 3, "oldest_seq": 1, "seq": 3}));
        sockets.push(socket);
    }
    server.webhook(&app, &Call::new(4).ring(0)).await;
    for socket in &mut sockets {
        socket.expect("call.ring").await.shows(json!({"seq": 4}));
    }
}

async fn a_stream_with_an_epoch_has_ids_with_it(world: World) {
    let (server, app) = with_events(&world, 3).await;
    let epoch = epoch(&server, &app).await;
    let mut stream = server.stream(&app, &format!("?after={epoch}:2")).await;
    stream.expect("call.ring").await.shows(json!({"seq": 3}));
    assert_eq!((stream.last_id, stream.last_epoch.as_deref()), (Some(3), Some(&*epoch)));
    let mut without = server.stream(&app, "?after=2").await;
    without.expect("call.ring").await;
    assert_eq!((without.last_id, without.last_epoch), (Some(3), None));
    let ahead = server.get(&format!("/api/events/stream?after={epoch}:9")).by(&app).answer().await;
    ahead.refuses(409, "CURSOR_AHEAD");
}

async fn a_cursor_of_another_epoch_is_a_gap_in_a_stream(world: World) {
    let (server, app) = with_events(&world, 3).await;
    let epoch = epoch(&server, &app).await;
    let request =
        server.get("/api/events/stream?after=1").by(&app).header("last-event-id", format!("{OTHER}:2"));
    let mut stream = EventStream::open(request).await;
    stream.expect("connected").await;
    stream.expect("gap").await.shows(json!({"reason": "epoch_changed", "epoch": epoch, "to_seq": 3}));
    assert_eq!((stream.last_id, stream.last_epoch.as_deref()), (Some(3), Some(&*epoch)));
    server.webhook(&app, &Call::new(4).ring(0)).await;
    stream.expect("call.ring").await.shows(json!({"seq": 4}));
    assert_eq!((stream.last_id, stream.last_epoch.as_deref()), (Some(4), Some(&*epoch)));
}

async fn a_consumer_of_another_epoch_gets_a_gap_until_it_acknowledges(world: World) {
    let (server, app) = with_events(&world, 3).await;
    let mut socket = server.subscribe(&app, "?consumer=crm&after=0").await;
    socket.events(3).await;
    socket.send_text(r#"{"type":"ack","seq":2}"#).await;
    let acked = async |seq: i64| {
        eventually("the cursor is stored", async || {
            let consumer = server.get("/api/consumers/crm").by(&app).answer().await.ok();
            (consumer["acked_seq"] == seq).then_some(())
        })
        .await;
    };
    acked(2).await;
    drop(socket);
    begin_epoch(&world).await;
    for _ in 0..2 {
        let mut socket = server.subscribe(&app, "?consumer=crm").await;
        let gap = socket.expect("gap").await;
        gap.shows(json!({"reason": "epoch_changed", "epoch": OTHER, "to_seq": 2, "seq": 3}));
        // What it has not acknowledged came back with the feed.
        socket.expect("call.ring").await.shows(json!({"seq": 3}));
    }
    let mut socket = server.subscribe(&app, "?consumer=crm").await;
    socket.expect("gap").await;
    socket.expect("call.ring").await;
    socket.send_text(r#"{"type":"ack","seq":3}"#).await;
    acked(3).await;
    drop(socket);
    let mut socket = server.subscribe(&app, "?consumer=crm").await;
    socket.expect_nothing_more(&server, &app).await;
}

async fn a_consumer_beyond_the_head_gets_a_gap(world: World) {
    let (server, app) = with_events(&world, 5).await;
    drop(server.subscribe(&app, "?consumer=crm").await);
    drop(server);
    world.finish().await;
    go_back_to(&world, 3).await;
    let server = world.start().await;
    let mut socket = server.subscribe(&app, "?consumer=crm").await;
    socket.expect("gap").await.shows(json!({"reason": "epoch_changed", "to_seq": 3, "seq": 3}));
    server.webhook(&app, &Call::new(9).ring(0)).await;
    socket.expect("call.ring").await.shows(json!({"seq": 4}));
}

async fn a_consumer_that_polls_is_refused_until_it_acknowledges(world: World) {
    let (server, app) = with_events(&world, 3).await;
    let poll = async || server.get("/api/events?consumer=crm&after=0").by(&app).answer().await;
    let ack = async |body: Value| server.post("/api/consumers/crm/ack").by(&app).json(&body).answer().await;
    assert_eq!(poll().await.list().len(), 3);
    let before = epoch(&server, &app).await;
    assert_eq!(ack(json!({"seq": 1, "epoch": before})).await.ok()["acked_seq"], 1);
    begin_epoch(&world).await;
    poll().await.refuses(409, "EPOCH_CHANGED")["details"].shows(json!({"epoch": OTHER, "seq": 3}));
    ack(json!({"seq": 3, "epoch": before})).await.refuses(409, "EPOCH_CHANGED");
    poll().await.refuses(409, "EPOCH_CHANGED");
    ack(json!({"seq": 2, "epoch": OTHER})).await.ok();
    assert_eq!(poll().await.list()[0]["seq"], 3);
}

async fn open_sessions_learn_that_the_feed_went_back_at_the_next_event(world: World) {
    let (server, app) = with_events(&world, 5).await;
    let before = epoch(&server, &app).await;
    let mut socket = server.subscribe(&app, "?after=4").await;
    socket.expect("call.ring").await.shows(json!({"seq": 5}));
    let mut stream = server.stream(&app, &format!("?after={before}:4")).await;
    stream.expect("call.ring").await;
    go_back_to(&world, 3).await;
    server.webhook(&app, &Call::new(6).ring(0)).await;
    let gap = socket.expect("gap").await;
    gap.shows(json!({"reason": "epoch_changed", "to_seq": 3, "oldest_seq": 1}));
    socket.expect("call.ring").await.shows(json!({"seq": 4, "dialpad_call_id": 6}));
    assert_eq!(stream.expect("gap").await["epoch"], gap["epoch"]);
    stream.expect("call.ring").await.shows(json!({"seq": 4, "dialpad_call_id": 6}));
    assert_ne!(gap["epoch"], before);
    assert_eq!((stream.last_id, stream.last_epoch.as_deref()), (Some(4), gap["epoch"].as_str()));
    assert_eq!(epoch(&server, &app).await, gap["epoch"].as_str().expect("an epoch"));
    let cursor = server.get(&format!("/api/events?after={before}:5")).by(&app).answer().await;
    cursor.refuses(409, "EPOCH_CHANGED");
    assert_eq!(server.metrics().await.sum("cti_feed_resets_total", &[]), 1.0);
}

async fn open_sessions_learn_that_the_feed_went_back_without_an_event(world: World) {
    let (server, app) = with_events(&world, 5).await;
    let mut socket = server.listen(&app).await;
    let mut consumer = server.subscribe(&app, "?consumer=crm").await;
    go_back_to(&world, 3).await;
    socket.expect("gap").await.shows(json!({"reason": "epoch_changed", "to_seq": 3, "seq": 3}));
    // The store says where a named consumer goes on: it has to come again.
    assert_eq!(consumer.close_code().await, Some(1001));
    let mut consumer = server.subscribe(&app, "?consumer=crm").await;
    consumer.expect("gap").await.shows(json!({"reason": "epoch_changed", "to_seq": 3}));
    server.webhook(&app, &Call::new(6).ring(0)).await;
    for socket in [&mut socket, &mut consumer] {
        socket.expect("call.ring").await.shows(json!({"seq": 4, "dialpad_call_id": 6}));
    }
}

async fn open_sessions_learn_of_another_epoch(world: World) {
    let (server, app) = with_events(&world, 3).await;
    let mut socket = server.listen(&app).await;
    begin_epoch(&world).await;
    socket.expect("gap").await.shows(json!({"reason": "epoch_changed", "epoch": OTHER, "to_seq": 3}));
    server.webhook(&app, &Call::new(6).ring(0)).await;
    socket.expect("call.ring").await.shows(json!({"seq": 4}));
}

async fn a_waiting_request_learns_of_another_epoch(world: World) {
    let (server, app) = with_events(&world, 3).await;
    let waiting = server.get("/api/events?after=3&wait=15").by(&app).answer();
    let restoring = async {
        let waits = async || {
            let waiting = server.metrics().await.sum("cti_feed_listeners", &["transport=\"poll\""]);
            (waiting == 1.0).then_some(())
        };
        eventually("the request waits", waits).await;
        begin_epoch(&world).await;
    };
    let (answer, ()) = tokio::join!(waiting, restoring);
    answer.refuses(409, "EPOCH_CHANGED");
}

async fn webhooks_of_calls_that_the_restored_database_lacks_are_processed(world: World) {
    let (server, app) = with_events(&world, 2).await;
    let mut socket = server.listen(&app).await;
    let ack = server.webhook(&app, &Call::new(3).ring(0)).await;
    socket.expect("call.ring").await;
    // The database is as it was before that call.
    let forget = format!(
        "DELETE FROM webhook_events WHERE id = '{}'; DELETE FROM calls WHERE dialpad_call_id = 3",
        ack.event_id
    );
    world.execute(&forget).await;
    go_back_to(&world, 2).await;
    socket.expect("gap").await;
    // Neither what this process remembers of the webhook nor of the call counts.
    assert!(!server.webhook(&app, &Call::new(3).ring(0)).await.duplicate);
    socket.expect("call.ring").await.shows(json!({"seq": 3, "dialpad_call_id": 3}));
    server.webhook(&app, &Call::new(3).started(2)).await;
    socket.expect("call.started").await.shows(json!({"seq": 4}));
    assert_eq!(kinds(&server.feed(&app).await), ["call.ring", "call.ring", "call.ring", "call.started"]);
}
