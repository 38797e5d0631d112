//! `GET /api/events/stream`: the feed as server-sent events.

use std::time::Duration;

use serde_json::json;

use crate::support::{Ask, Call, EventStream, Shows, World, assert_contiguous, eventually, kinds};

on_both_databases![
    a_stream_tells_what_a_socket_tells,
    a_broken_stream_goes_on_from_its_last_id,
    a_stream_that_broke_before_its_first_event_misses_none,
    what_is_wrong_with_a_request_is_a_status,
    a_cursor_that_can_not_be_served_is_a_status,
    the_last_id_goes_before_the_address,
    what_is_skipped_moves_the_id,
    a_planned_stop_ends_a_stream_politely,
    a_stream_ends_with_its_key,
    streams_count_as_sessions_and_are_gone_when_their_client_is,
];

const STOP_WITHIN: Duration = Duration::from_secs(12);

async fn a_stream_tells_what_a_socket_tells(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let mut live = server.open_stream(&app, "").await;
    let connected = live.expect("connected").await;
    connected.shows(json!({"app_id": app.id, "seq": 0, "oldest_seq": 1}));
    assert!(connected["session_id"].is_string(), "{connected:#}");
    server.webhooks(&app, &Call::new(1).life()).await;
    let heard = live.events(5).await;
    assert_eq!(heard, socket.events(5).await);
    let mut past = server.stream(&app, "?after=0&ids=string&types=call.ended").await;
    past.expect("call.ended").await.shows(json!({"seq": 5, "call_id": "1", "dialpad_user_id": "555"}));
}

async fn a_broken_stream_goes_on_from_its_last_id(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut stream = server.stream(&app, "").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    let mut heard = stream.events(2).await;
    let last = stream.last_id.expect("events have ids");
    drop(stream);
    server.webhooks(&app, &Call::new(2).life()).await;
    let again = server.get("/api/events/stream").by(&app).header("last-event-id", last);
    let mut stream = EventStream::open(again).await;
    stream.expect("connected").await;
    heard.extend(stream.events(8).await);
    assert_contiguous(&heard, 0);
    assert_eq!(heard, server.feed(&app).await);
}

async fn a_stream_that_broke_before_its_first_event_misses_none(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.wait_for_events(&app, 5).await;
    let mut stream = server.stream(&app, "").await;
    let last = stream.last_id.take().expect("being connected has an id: where to resume");
    drop(stream);
    server.webhook(&app, &Call::new(2).ring(0)).await;
    let again = server.get("/api/events/stream").by(&app).header("last-event-id", last);
    let mut stream = EventStream::open(again).await;
    stream.expect("connected").await;
    stream.expect("call.ring").await.shows(json!({"seq": 6}));
}

async fn what_is_wrong_with_a_request_is_a_status(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.get("/api/events/stream").answer().await.refuses(401, "MISSING_API_KEY");
    let wrong = server.get("/api/events/stream?api_key=raw_wrong").answer().await;
    wrong.refuses(401, "INVALID_API_KEY");
    for (name, value) in [("colour", "red"), ("after", "-1"), ("types", "call.rings"), ("limit", "5")] {
        let path = format!("/api/events/stream?{name}={value}");
        server.get(&path).by(&app).answer().await.refuses_naming(name);
    }
    let nonsense = server.get("/api/events/stream").by(&app).header("last-event-id", "first");
    nonsense.answer().await.refuses_naming("Last-Event-ID");
    let by_query = server.get(&format!("/api/events/stream?api_key={}", app.key));
    EventStream::open(by_query).await.expect("connected").await;
}

async fn a_cursor_that_can_not_be_served_is_a_status(world: World) {
    let world = world.with("RETENTION_EVENTS", "1s").with("RETENTION_INTERVAL", "1s");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    let ahead = server.get("/api/events/stream?after=9").by(&app).answer().await;
    ahead.refuses(409, "CURSOR_AHEAD");
    eventually("a cursor has expired", async || {
        let list = server.get("/api/events?after=2").by(&app).answer().await;
        (list.status == 410).then_some(())
    })
    .await;
    let expired = server.get("/api/events/stream?after=2").by(&app).answer().await;
    let details = &expired.refuses(410, "CURSOR_EXPIRED")["details"];
    let oldest = details["oldest_seq"].as_i64().expect("the oldest event is named");
    server.stream(&app, &format!("?after={}", oldest - 1)).await;
    server.stream(&app, "?after=0").await;
}

async fn the_last_id_goes_before_the_address(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.wait_for_events(&app, 5).await;
    let again = server.get("/api/events/stream?after=0").by(&app).header("last-event-id", 3);
    let mut stream = EventStream::open(again).await;
    stream.expect("connected").await;
    assert_eq!(kinds(&stream.events(2).await), ["call.resumed", "call.ended"]);
}

async fn what_is_skipped_moves_the_id(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut stream = server.stream(&app, "?types=message.*").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.wait_for_events(&app, 5).await;
    eventually("the id moves", async || {
        let part = stream.part().await.expect("the stream goes on");
        assert_eq!((part.kind, part.data), (None, None), "nothing here is wanted");
        (part.id == Some(5)).then_some(())
    })
    .await;
}

async fn a_planned_stop_ends_a_stream_politely(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut streams = [server.stream(&app, "").await, server.stream(&app, "").await];
    server.process.terminate();
    for stream in &mut streams {
        let words = stream.remaining_messages().await;
        assert_eq!(kinds(&words), ["reconnect", "closed"]);
        assert!(words[0]["after_ms"].as_u64().is_some(), "{words:?}");
        words[1].shows(json!({"code": 1001}));
    }
    server.process.exit_cleanly(STOP_WITHIN).await;
}

async fn a_stream_ends_with_its_key(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut stream = server.stream(&app, "").await;
    server.rotate_key(&app, None).await;
    let words = stream.remaining_messages().await;
    assert_eq!(kinds(&words), ["closed"]);
    words[0].shows(json!({"code": 4403}));
    server.get("/api/events/stream").by(&app).answer().await.refuses(401, "INVALID_API_KEY");
}

async fn streams_count_as_sessions_and_are_gone_when_their_client_is(world: World) {
    let server = world.with("WS_MAX_SESSIONS_PER_APP", "2").start().await;
    let app = server.create_app("CRM").await;
    let first = server.stream(&app, "").await;
    let _second = server.listen(&app).await;
    let third = server.get("/api/events/stream").by(&app).answer().await;
    third.refuses(429, "TOO_MANY_CONNECTIONS");
    assert!(third.header("retry-after").is_some(), "{third}");
    drop(first);
    eventually("a place is free again", async || {
        let mut socket = server.open_socket("/ws", &[("x-api-key", &app.key)]).await;
        (socket.close_code_or_message().await.is_none()).then_some(())
    })
    .await;
}
