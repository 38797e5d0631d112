//! `/ws`: getting in, being turned away, and hearing only what was asked for.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{App, Ask, Call, Received, Shows, TestServer, WAIT_TIMEOUT, World, kinds};

on_both_databases![
    the_first_message_says_connected,
    a_key_may_come_in_any_of_the_headers,
    a_key_may_come_in_the_query,
    a_key_may_come_in_the_first_message,
    a_wrong_key_is_refused_before_the_upgrade,
    a_wrong_key_in_the_first_message_closes_the_socket,
    what_is_no_message_closes_the_socket,
    a_message_that_is_too_big_closes_the_socket,
    types_narrow_what_is_emitted,
    one_dialpad_user_can_be_followed,
    unknown_parameters_are_refused_before_the_upgrade,
    all_sockets_of_an_app_hear_the_same,
    an_app_may_have_only_so_many_sockets,
    a_ping_is_answered,
    a_watermark_says_that_silence_is_health,
    no_watermark_comes_unasked_or_where_it_would_mean_nothing,
    a_closed_socket_ends_its_connection_at_once,
];

/// Opens a WebSocket, closes it with this payload, and returns what came after the close frame was sent until the server
/// closed the connection, and how long that took.
async fn close(server: &TestServer, app: &App, payload: &[u8]) -> (Vec<u8>, Duration) {
    let mut wire = TcpStream::connect(server.address()).await.expect("the server takes a connection");
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\nx-api-key: {}\r\n\r\n",
        app.key
    );
    wire.write_all(handshake.as_bytes()).await.expect("it is sent");
    let mut received = Vec::new();
    while !String::from_utf8_lossy(&received).contains("\"connected\"") {
        let read = timeout(WAIT_TIMEOUT, wire.read_buf(&mut received)).await.expect("it is answered in time");
        assert!(read.expect("it can be read") > 0, "closed: {}", String::from_utf8_lossy(&received));
    }
    let begun_at = Instant::now();
    // Masked with zeros.
    let length = u8::try_from(payload.len()).expect("a short payload");
    let frame = [&[0x88, 0x80 | length, 0, 0, 0, 0], payload].concat();
    wire.write_all(&frame).await.expect("it is sent");
    let mut rest = Vec::new();
    timeout(WAIT_TIMEOUT, wire.read_to_end(&mut rest))
        .await
        .expect("it is closed in time")
        .expect("it is closed");
    (rest, begun_at.elapsed())
}

async fn a_watermark_says_that_silence_is_health(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.subscribe(&app, "?watermark=true").await;
    let mut filtered = server.subscribe(&app, "?watermark=true&types=message.*").await;
    let mut stream = server.stream(&app, "?watermark=true").await;
    let first = socket.expect("watermark").await;
    assert_eq!(first["seq"], 0, "{first:#}");
    stream.expect("watermark").await;
    assert_eq!(stream.last_id, Some(0));
    server.webhooks(&app, &Call::new(1).life()).await;
    assert_eq!(socket.events(5).await.len(), 5);
    let second = socket.expect("watermark").await;
    assert_eq!(second["seq"], 5, "{second:#}");
    let at = |watermark: &serde_json::Value| {
        chrono::DateTime::parse_from_rfc3339(watermark["at"].as_str().expect("a time")).expect("RFC 3339")
    };
    assert!((4..9).contains(&(at(&second) - at(&first)).num_seconds()), "{first:#}, {second:#}");
    while filtered.expect("watermark").await["seq"] != 5 {}
}

async fn no_watermark_comes_unasked_or_where_it_would_mean_nothing(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut asked = server.subscribe(&app, "?watermark=true").await;
    let mut unasked = server.listen(&app).await;
    asked.expect("watermark").await;
    asked.expect("watermark").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    unasked.expect("call.ring").await;
    for query in ["watermark=5s", "watermark=true&consumer=crm&mode=share"] {
        server.get(&format!("/ws?{query}")).by(&app).answer().await.refuses_naming("watermark");
    }
    server.get("/api/events?watermark=true").by(&app).answer().await.refuses_naming("watermark");
}

async fn a_closed_socket_ends_its_connection_at_once(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut took = Vec::new();
    for payload in [&[0x03, 0xe8][..], &[], &[0x03, 0xe9], &[0x03, 0xe8], &[]] {
        let (rest, elapsed) = close(&server, &app, payload).await;
        assert!(
            rest.ends_with(&[&[0x88, u8::try_from(payload.len()).expect("short")], payload].concat()),
            "{rest:?}"
        );
        took.push(elapsed);
    }
    // On a busy machine some take longer. Without the fix each took more than 0.5 s.
    assert!(took.iter().any(|elapsed| *elapsed < Duration::from_millis(250)), "{took:?}");
}

async fn the_first_message_says_connected(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.wait_for_events(&app, 5).await;
    let mut socket = server.open_socket("/ws", &[("x-api-key", &app.key)]).await;
    let connected = socket.expect("connected").await;
    connected.shows(json!({"app_id": app.id, "seq": 5, "oldest_seq": 1}));
    assert!(connected["session_id"].is_string(), "{connected:#}");
    socket.expect_nothing_more(&server, &app).await;
}

async fn a_key_may_come_in_any_of_the_headers(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let bearer = format!("Bearer {}", app.key);
    for header in [("x-api-key", app.key.as_str()), ("x-app-api-key", &app.key), ("authorization", &bearer)] {
        server.open_socket("/ws", &[header]).await.expect("connected").await;
    }
}

async fn a_key_may_come_in_the_query(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.open_socket(&format!("/ws?api_key={}", app.key), &[]).await;
    socket.expect("connected").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    socket.expect("call.ring").await;
    assert!(!server.process.log().contains(&app.key[10..]), "a key was logged");
}

async fn a_key_may_come_in_the_first_message(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.wait_for_events(&app, 5).await;
    let mut live = server.open_socket("/ws", &[]).await;
    live.send_subscribe(&app.key).await;
    live.expect("connected").await.shows(json!({"app_id": app.id, "seq": 5}));
    live.expect_nothing_more(&server, &app).await;

    let mut resumed = server.open_socket("/ws", &[]).await;
    let subscribe =
        json!({"type": "subscribe", "api_key": app.key, "after": 3, "types": "call.ended,call.resumed"});
    resumed.send_text(&subscribe.to_string()).await;
    resumed.expect("connected").await;
    assert_eq!(kinds(&resumed.events(2).await), ["call.resumed", "call.ended"]);
}

async fn a_wrong_key_is_refused_before_the_upgrade(world: World) {
    let server = world.start().await;
    server.handshake("/ws?api_key=raw_wrong").answer().await.refuses(401, "INVALID_API_KEY");
    let error = server.handshake("/ws").header("x-api-key", "raw_wrong").answer().await;
    assert_eq!(error.refuses(401, "INVALID_API_KEY")["error"], "Invalid API key");
}

async fn a_wrong_key_in_the_first_message_closes_the_socket(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut wrong = server.open_socket("/ws", &[]).await;
    wrong.send_subscribe("raw_wrong").await;
    assert_eq!(wrong.receive().await, Received::Closed(Some(4401)));
    let mut old = server.open_socket("/ws", &[]).await;
    server.rotate_key(&app, None).await;
    old.send_subscribe(&app.key).await;
    assert_eq!(old.receive().await, Received::Closed(Some(4401)));
}

async fn what_is_no_message_closes_the_socket(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for message in
        ["hello", "{\"type\":\"dance\"}", "{\"seq\":1}", "[]", "{\"type\":\"ack\",\"seq\":\"all\"}"]
    {
        let mut socket = server.listen(&app).await;
        socket.send_text(message).await;
        assert_eq!(socket.close_code().await, Some(4400), "{message}");
        let mut stranger = server.open_socket("/ws", &[]).await;
        stranger.send_text(message).await;
        assert_eq!(stranger.receive().await, Received::Closed(Some(4400)), "{message}");
    }
    let mut polite = server.listen(&app).await;
    polite.send_text("{\"type\":\"ack\",\"seq\":0}").await;
    polite.expect_nothing_more(&server, &app).await;
}

async fn a_message_that_is_too_big_closes_the_socket(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    socket
        .send_text_lossy(&json!({"type": "ack", "seq": 1, "padding": "x".repeat(512 << 10)}).to_string())
        .await;
    assert_eq!(socket.close_code().await, Some(1009));
}

async fn types_narrow_what_is_emitted(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut ends = server.subscribe(&app, "?types=call.ended,voicemail.*").await;
    let mut calls = server.subscribe(&app, "?types=call.*&after=0").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.webhook(&app, &Call::new(2).voicemail(60)).await;
    server.webhook(&app, &Call::new(3).ring(60)).await;
    ends.expect("call.ended").await.shows(json!({"seq": 5}));
    ends.expect("call.ended").await.shows(json!({"seq": 6}));
    ends.expect("voicemail.received").await.shows(json!({"seq": 7}));
    let emitted = calls.events(7).await;
    assert_eq!(kinds(&emitted)[4..], ["call.ended", "call.ended", "call.ring"]);
    server.handshake("/ws?types=call.rings").by(&app).answer().await.refuses_naming("types");
}

async fn one_dialpad_user_can_be_followed(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.subscribe(&app, "?dialpad_user_id=777").await;
    server.webhook(&app, &Call::new(1).of_user(555).ring(0)).await;
    server.webhook(&app, &Call::new(2).of_user(777).ring(0)).await;
    server.webhook(&app, &Call::new(1).of_user(555).ended(5)).await;
    server.webhook(&app, &Call::new(2).of_user(777).ended(9)).await;
    for event in socket.events(2).await {
        event.shows(json!({"dialpad_call_id": 2, "dialpad_user_id": 777}));
    }
}

async fn unknown_parameters_are_refused_before_the_upgrade(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (name, value) in [("colour", "red"), ("after", "-1"), ("after", "last"), ("dialpad_user_id", "Ada")] {
        let handshake = server.handshake(&format!("/ws?{name}={value}")).by(&app);
        handshake.answer().await.refuses_naming(name);
    }
}

async fn all_sockets_of_an_app_hear_the_same(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(server.listen(&app).await);
    }
    server.webhooks(&app, &Call::new(1).life()).await;
    let whole = server.wait_for_events(&app, 5).await;
    for socket in &mut sockets {
        assert_eq!(socket.events(5).await, whole);
    }
}

async fn an_app_may_have_only_so_many_sockets(world: World) {
    let server = world.with("WS_MAX_SESSIONS_PER_APP", "2").start().await;
    let (app, other) = (server.create_app("CRM").await, server.create_app("another").await);
    let first = server.listen(&app).await;
    let _second = server.listen(&app).await;
    let mut third = server.open_socket("/ws", &[("x-api-key", &app.key)]).await;
    assert_eq!(third.receive().await, Received::Closed(Some(4429)));
    let _unaffected = server.listen(&other).await;

    drop(first);
    crate::support::eventually("a place is free again", async || {
        let mut socket = server.open_socket("/ws", &[("x-api-key", &app.key)]).await;
        matches!(socket.receive().await, Received::Message(_)).then_some(())
    })
    .await;
}

async fn a_ping_is_answered(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    assert_eq!(socket.ping(b"are you there").await, b"are you there");
}
