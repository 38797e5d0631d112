//! Named consumers that have one connection: the server keeps their cursor.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    App, Ask, Call, Received, Shows, Socket, TestServer, World, assert_contiguous, eventually, seqs,
};

on_both_databases![
    what_was_not_acknowledged_comes_again_and_what_was_does_not,
    a_consumer_begins_where_it_asks_to_and_goes_on_where_it_stands,
    an_acknowledgement_outlives_the_server,
    an_acknowledgement_outlives_a_planned_stop,
    the_newer_connection_takes_over,
    what_a_consumer_does_not_want_is_dealt_with_once_the_rest_is,
    consumers_are_listed_shown_and_deleted,
    a_stream_acknowledges_by_a_request,
    who_polls_acknowledges_by_a_request,
    an_acknowledgement_never_goes_back_nor_beyond_what_was_emitted,
    an_acknowledgement_is_a_whole_number_however_it_is_written,
    a_consumer_of_another_app_is_nobody,
    what_can_not_be_a_consumer_is_refused_and_named,
    a_consumer_that_retention_has_overtaken_learns_what_it_missed,
];

// Servers that share a database: on SQLite a second one is refused.
on_postgres![
    a_connection_at_another_server_takes_over,
    a_consumer_that_is_deleted_elsewhere_ends_its_connection
];

/// A session of this consumer, and its first message.
pub(crate) async fn consume(server: &TestServer, app: &App, query: &str) -> (Socket, Value) {
    let path = format!("/ws?consumer=crm{query}");
    let mut socket = server.open_socket(&path, &[("x-api-key", &app.key)]).await;
    let connected = socket.expect("connected").await;
    (socket, connected)
}

/// Says what is dealt with, and waits until the server has it.
pub(crate) async fn acknowledge(server: &TestServer, app: &App, socket: &mut Socket, seq: i64) {
    socket.send_text(&json!({"type": "ack", "seq": seq}).to_string()).await;
    stands_at(server, app, seq).await;
}

pub(crate) async fn stands_at(server: &TestServer, app: &App, seq: i64) {
    eventually(&format!("the consumer stands at {seq}"), async || {
        (view(server, app).await["acked_seq"] == seq).then_some(())
    })
    .await;
}

pub(crate) async fn view(server: &TestServer, app: &App) -> Value {
    server.get("/api/consumers/crm").by(app).answer().await.ok()
}

async fn ack_by_request(server: &TestServer, app: &App, seq: i64) -> Value {
    server.post("/api/consumers/crm/ack").by(app).json(&json!({"seq": seq})).answer().await.ok()
}

async fn emitted(server: &TestServer, app: &App, calls: std::ops::RangeInclusive<i64>) {
    let last = *calls.end();
    for id in calls {
        server.webhooks(app, &Call::new(id).life()).await;
    }
    server.feed_when(app, "all is emitted", |feed| feed.len() == 5 * last as usize).await;
}

async fn what_was_not_acknowledged_comes_again_and_what_was_does_not(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (mut socket, connected) = consume(&server, &app, "").await;
    connected.shows(json!({"consumer": "crm", "mode": "exclusive", "acked_seq": 0, "seq": 0}));
    server.webhooks(&app, &Call::new(1).life()).await;
    assert_contiguous(&socket.events(5).await, 0);
    acknowledge(&server, &app, &mut socket, 3).await;
    drop(socket);

    let (mut socket, connected) = consume(&server, &app, "").await;
    connected.shows(json!({"acked_seq": 3, "seq": 5}));
    assert_eq!(seqs(&socket.events(2).await), [4, 5]);
    socket.send_text(r#"{"type":"ack","seq":5}"#).await;
    // Answered in order: the acknowledgement was heard before it.
    socket.ping(b"heard").await;
    drop(socket);
    stands_at(&server, &app, 5).await;

    let (mut socket, connected) = consume(&server, &app, "").await;
    connected.shows(json!({"acked_seq": 5}));
    socket.expect_nothing_more(&server, &app).await;
}

async fn a_consumer_begins_where_it_asks_to_and_goes_on_where_it_stands(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    emitted(&server, &app, 1..=1).await;
    let (mut socket, connected) = consume(&server, &app, "&after=2").await;
    connected.shows(json!({"acked_seq": 2}));
    assert_eq!(seqs(&socket.events(3).await), [3, 4, 5]);
    acknowledge(&server, &app, &mut socket, 4).await;
    drop(socket);
    let (mut socket, connected) = consume(&server, &app, "&after=0").await;
    connected.shows(json!({"acked_seq": 4}));
    assert_eq!(seqs(&socket.events(1).await), [5]);

    let mut other = server.subscribe(&app, "?consumer=other").await;
    other.expect_nothing_more(&server, &app).await;
}

async fn an_acknowledgement_outlives_the_server(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let (mut socket, _) = consume(&server, &app, "").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    socket.events(5).await;
    acknowledge(&server, &app, &mut socket, 4).await;
    server.process.kill();
    let server = world.start().await;
    let (mut socket, connected) = consume(&server, &app, "").await;
    connected.shows(json!({"acked_seq": 4}));
    assert_eq!(seqs(&socket.events(1).await), [5]);
}

async fn an_acknowledgement_outlives_a_planned_stop(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let (mut socket, _) = consume(&server, &app, "").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    socket.events(5).await;
    socket.send_text(r#"{"type":"ack","seq":5}"#).await;
    socket.ping(b"heard").await;
    server.process.terminate();
    assert_eq!(socket.close_code().await, Some(1001));
    assert!(server.process.exit(std::time::Duration::from_secs(20)).await.success());
    let server = world.start().await;
    view(&server, &app).await.shows(json!({"acked_seq": 5, "connections": 0}));
}

async fn the_newer_connection_takes_over(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (mut older, _) = consume(&server, &app, "").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    older.events(5).await;
    let (mut newer, connected) = consume(&server, &app, "").await;
    assert_eq!(older.close_code().await, Some(4409));
    connected.shows(json!({"acked_seq": 0}));
    assert_contiguous(&newer.events(5).await, 0);
    server.webhook(&app, &Call::new(2).ring(0)).await;
    assert_eq!(seqs(&newer.events(1).await), [6]);
    let closed = server.metrics().await.sum("cti_ws_sessions_closed_total", &["reason=\"taken_over\""]);
    assert_eq!(closed, 1.0);
}

async fn a_connection_at_another_server_takes_over(world: World) {
    let (here, there) = (world.start().await, world.start().await);
    let app = here.create_app("CRM").await;
    let (mut older, _) = consume(&here, &app, "").await;
    here.webhooks(&app, &Call::new(1).life()).await;
    older.events(5).await;
    acknowledge(&here, &app, &mut older, 2).await;
    let (mut newer, connected) = consume(&there, &app, "").await;
    connected.shows(json!({"acked_seq": 2}));
    assert_eq!(seqs(&newer.events(3).await), [3, 4, 5]);
    // Whether or not the first server has heard of it already.
    ack_by_request(&here, &app, 3).await.shows(json!({"acked_seq": 3}));
    assert_eq!(older.close_code().await, Some(4409));
    acknowledge(&there, &app, &mut newer, 5).await;
    view(&here, &app).await.shows(json!({"acked_seq": 5, "connections": 1}));
}

async fn what_a_consumer_does_not_want_is_dealt_with_once_the_rest_is(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (mut socket, _) = consume(&server, &app, "&types=call.started").await;
    let call = Call::new(1);
    // Alone: what is read together with an event that it wants counts when that is dealt with.
    server.webhook(&app, &call.ring(0)).await;
    stands_at(&server, &app, 1).await;
    server.webhooks(&app, &call.life()[1..]).await;
    socket.expect("call.started").await.shows(json!({"seq": 2}));
    socket.expect_cursor(5).await;
    stands_at(&server, &app, 1).await;
    acknowledge(&server, &app, &mut socket, 5).await;
    server.webhook(&app, &Call::new(2).ring(0)).await;
    stands_at(&server, &app, 6).await;
}

async fn consumers_are_listed_shown_and_deleted(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    emitted(&server, &app, 1..=1).await;
    let mut sockets = Vec::new();
    for name in ["b", "a", "crm"] {
        sockets.push(server.subscribe(&app, &format!("?consumer={name}&after=2")).await);
    }
    let listed = eventually("all are connected", async || {
        let listed = server.get("/api/consumers").by(&app).answer().await.list();
        listed.iter().all(|consumer| consumer["connections"] == 1).then_some(listed)
    })
    .await;
    let names: Vec<&Value> = listed.iter().map(|consumer| &consumer["name"]).collect();
    assert_eq!(names, ["a", "b", "crm"]);
    let keys: Vec<&String> = listed[0].as_object().expect("an object").keys().collect();
    let fields = ["acked_seq", "behind", "connections", "created_at", "mode", "name", "updated_at"];
    assert_eq!(keys, fields);
    listed[2].shows(json!({"mode": "exclusive", "acked_seq": 2, "behind": 3}));

    let page = server.get("/api/consumers?limit=2").by(&app).answer().await;
    assert_eq!(page.list().len(), 2);
    let rest = server.get(&page.next_page().expect("a next page")).by(&app).answer().await;
    assert_eq!(rest.list()[0]["name"], "crm");
    assert_eq!(rest.next_page(), None);
    server.get("/api/consumers?cursor=%20").by(&app).answer().await.refuses_naming("cursor");

    let delete = || server.request(Method::DELETE, "/api/consumers/crm").by(&app).answer();
    assert_eq!(delete().await.status, 204);
    assert_eq!(sockets[2].close_code().await, Some(4409));
    delete().await.refuses(404, "CONSUMER_NOT_FOUND");
    server.get("/api/consumers/crm").by(&app).answer().await.refuses(404, "CONSUMER_NOT_FOUND");
    let (mut socket, connected) = consume(&server, &app, "&after=0").await;
    connected.shows(json!({"acked_seq": 0}));
    assert_contiguous(&socket.events(5).await, 0);
}

async fn a_consumer_that_is_deleted_elsewhere_ends_its_connection(world: World) {
    let (here, there) = (world.start().await, world.start().await);
    let app = here.create_app("CRM").await;
    let (mut socket, _) = consume(&here, &app, "").await;
    let deleted = there.request(Method::DELETE, "/api/consumers/crm").by(&app).answer().await;
    assert_eq!(deleted.status, 204);
    assert_eq!(socket.close_code().await, Some(4409));
}

async fn a_stream_acknowledges_by_a_request(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut stream = server.open_stream(&app, "?consumer=crm").await;
    stream.expect("connected").await.shows(json!({"consumer": "crm", "acked_seq": 0}));
    server.webhooks(&app, &Call::new(1).life()).await;
    stream.events(5).await;
    ack_by_request(&server, &app, 3).await.shows(json!({"name": "crm", "acked_seq": 3, "behind": 2}));
    drop(stream);
    // A browser that comes back says how far it got; what the server knows goes before that.
    let again = server.get("/api/events/stream?consumer=crm").by(&app).header("last-event-id", 5);
    let mut stream = crate::support::EventStream::open(again).await;
    stream.expect("connected").await;
    assert_eq!(seqs(&stream.events(2).await), [4, 5]);
    let (_socket, _) = consume(&server, &app, "").await;
    stream
        .remaining_messages()
        .await
        .last()
        .expect("last words")
        .shows(json!({"type": "closed", "code": 4409}));
}

async fn who_polls_acknowledges_by_a_request(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    emitted(&server, &app, 1..=1).await;
    let poll = |query: &str| server.get(&format!("/api/events?consumer=crm{query}")).by(&app).answer();
    let page = poll("&limit=2").await;
    assert_eq!(seqs(&page.list()), [1, 2]);
    assert_eq!((page.header("x-cursor"), page.next_page()), (Some("2"), None));
    assert_eq!(seqs(&poll("&limit=2").await.list()), [1, 2], "nothing was acknowledged");
    ack_by_request(&server, &app, 2).await;
    assert_eq!(seqs(&poll("").await.list()), [3, 4, 5]);
    ack_by_request(&server, &app, 5).await;
    let (waited, ()) = tokio::join!(poll("&wait=20"), async {
        server.webhook(&app, &Call::new(2).ring(0)).await;
    });
    assert_eq!(seqs(&waited.list()), [6]);
    view(&server, &app).await.shows(json!({"acked_seq": 5, "connections": 0}));

    let (mut socket, connected) = consume(&server, &app, "").await;
    connected.shows(json!({"acked_seq": 5}));
    assert_eq!(seqs(&socket.events(1).await), [6]);
}

async fn an_acknowledgement_never_goes_back_nor_beyond_what_was_emitted(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    emitted(&server, &app, 1..=1).await;
    let path = "/api/consumers/crm/ack";
    let nobody = server.post(path).by(&app).json(&json!({"seq": 1})).answer().await;
    nobody.refuses(404, "CONSUMER_NOT_FOUND");
    let (mut socket, _) = consume(&server, &app, "&after=0").await;
    socket.events(5).await;
    ack_by_request(&server, &app, 4).await.shows(json!({"acked_seq": 4}));
    ack_by_request(&server, &app, 1).await.shows(json!({"acked_seq": 4}));
    let ahead = server.post(path).by(&app).json(&json!({"seq": 6})).answer().await;
    ahead.refuses(409, "CURSOR_AHEAD");
    socket.send_text(r#"{"type":"ack","seq":99}"#).await;
    stands_at(&server, &app, 5).await;
    socket.send_text(r#"{"type":"ack","seq":-1}"#).await;
    assert_eq!(socket.close_code().await, Some(4400));
}

async fn an_acknowledgement_is_a_whole_number_however_it_is_written(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    emitted(&server, &app, 1..=1).await;
    let (mut socket, _) = consume(&server, &app, "&after=0").await;
    socket.events(5).await;
    let ack = async |body: &str| {
        let request = server.post("/api/consumers/crm/ack").by(&app);
        request.header("content-type", "application/json").body(body.to_owned()).answer().await
    };
    for (seq, acked) in [("-0.0", 0), ("3.0", 3), ("4e0", 4), ("5", 5)] {
        ack(&format!(r#"{{"seq":{seq}}}"#)).await.ok().shows(json!({"acked_seq": acked}));
    }
    for seq in ["5.5", r#""5""#, "-1", "-1.0", "null", "[5]", "1e300", "9223372036854775808"] {
        ack(&format!(r#"{{"seq":{seq}}}"#)).await.refuses_naming("seq");
    }
    ack(r#"{"seq":1e400}"#).await.refuses(400, "INVALID_REQUEST");
    ack("{}").await.refuses_naming("seq");
    ack(r#"{"seq":9223372036854775807}"#).await.refuses(409, "CURSOR_AHEAD");
    ack(r#"{"seq":1,"session_id":7}"#).await.refuses_naming("session_id");
}

async fn a_consumer_of_another_app_is_nobody(world: World) {
    let server = world.start().await;
    let (app, other) = (server.create_app("CRM").await, server.create_app("Other").await);
    let (_socket, _) = consume(&server, &app, "").await;
    assert_eq!(server.get("/api/consumers").by(&other).answer().await.list(), [] as [Value; 0]);
    for (method, path) in
        [(Method::GET, "crm"), (Method::DELETE, "crm"), (Method::POST, "crm/ack"), (Method::GET, "%00")]
    {
        let request = server.request(method, &format!("/api/consumers/{path}")).by(&other);
        request.json(&json!({"seq": 0})).answer().await.refuses(404, "CONSUMER_NOT_FOUND");
    }
}

async fn what_can_not_be_a_consumer_is_refused_and_named(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let long = format!("consumer={}", "x".repeat(101));
    for (query, name) in [
        ("consumer=", "consumer"),
        ("consumer=a/b", "consumer"),
        ("consumer=..", "consumer"),
        (long.as_str(), "consumer"),
        ("consumer=a&mode=both", "mode"),
        ("mode=share", "mode"),
    ] {
        for way in ["/ws", "/api/events", "/api/events/stream"] {
            server.get(&format!("{way}?{query}")).by(&app).answer().await.refuses_naming(name);
        }
    }
    let sharing = server.get("/api/events?consumer=a&mode=share").by(&app).answer().await;
    sharing.refuses_naming("mode");
    let mut socket = server.open_socket("/ws", &[]).await;
    socket.send_text(&json!({"type": "subscribe", "api_key": app.key, "consumer": "a b"}).to_string()).await;
    assert_eq!(socket.receive().await, Received::Closed(Some(4400)));
    let mut socket = server.open_socket("/ws", &[]).await;
    socket.send_text(&json!({"type": "subscribe", "api_key": app.key, "consumer": "ab"}).to_string()).await;
    socket.expect("connected").await.shows(json!({"consumer": "ab"}));
}

async fn a_consumer_that_retention_has_overtaken_learns_what_it_missed(world: World) {
    let world = world.with("RETENTION_EVENTS", "1s").with("RETENTION_INTERVAL", "1s");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    drop(consume(&server, &app, "").await);
    server.webhooks(&app, &Call::new(1).life()).await;
    eventually("all events are gone", async || {
        let page = server.get("/api/events").by(&app).answer().await;
        (page.list().is_empty() && page.header("x-cursor") == Some("5")).then_some(())
    })
    .await;
    let polled = server.get("/api/events?consumer=crm").by(&app).answer().await;
    polled.refuses(410, "CURSOR_EXPIRED");
    let mut stream = server.open_stream(&app, "?consumer=crm").await;
    stream.expect("connected").await;
    stream.expect("gap").await.shows(json!({"reason": "expired", "from_seq": 1, "to_seq": 5}));
    drop(stream);
    stands_at(&server, &app, 5).await;
    let (mut socket, connected) = consume(&server, &app, "").await;
    connected.shows(json!({"acked_seq": 5}));
    server.webhook(&app, &Call::new(2).ring(0)).await;
    socket.expect("call.ring").await.shows(json!({"seq": 6}));
}
