//! A client that stops reading costs nobody else anything, misses nothing if it goes on in time, and is cut in the end.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::support::{
    App, Call, Received, Socket, TestServer, With, World, assert_contiguous, eventually, within,
};

on_both_databases![
    a_client_that_never_reads_delays_nobody_and_is_cut,
    a_client_that_stopped_reading_for_too_long_is_told_so_and_misses_nothing,
    a_client_that_stopped_reading_for_a_while_catches_up_and_is_live_again,
    a_stream_that_nobody_reads_is_cut,
];

/// On PostgreSQL fewer: what is tested lies behind the database, and each event costs more there.
const EVENTS: (usize, usize) = (20_000, 8_000);
const SENDERS: usize = 32;
/// What each event weighs at least: more of it than the kernel will keep for a client that does not read.
const WEIGHT: usize = 700;
/// Fewer that weigh more: how many, and how much each.
const HEAVY: (usize, usize) = (700, 24_000);
/// How long the last events may be under way when the burst is over.
const PROMPTLY: Duration = Duration::from_secs(10);
/// How long a client may take nothing in these tests, in place of a minute.
const STUCK_AFTER: &str = "8s";
const CUT_WITHIN: Duration = Duration::from_secs(40);

async fn a_client_that_never_reads_delays_nobody_and_is_cut(world: World) {
    let events = if world.is_on_postgres() { EVENTS.1 } else { EVENTS.0 };
    let server = world.with("WS_STUCK_AFTER", STUCK_AFTER).start().await;
    let app = server.create_app("CRM").await;
    let _frozen = never_reading(&server, &app).await;
    let mut healthy = server.listen(&app).await;
    sessions_become(&server, 2.0).await;

    let (sent_at, (heard, heard_at)) =
        tokio::join!(pour(&server, &app, events, WEIGHT), hear_all(&mut healthy, events, WEIGHT));
    assert_contiguous(&heard, 0);
    let late = heard_at.saturating_duration_since(sent_at);
    assert!(late < PROMPTLY, "the last event came {late:?} after the last webhook");

    healthy.stays_idle_until(sessions_become(&server, 1.0)).await;
    let closed = server.metrics().await.sum("cti_ws_sessions_closed_total", &["reason=\"too_slow\""]);
    assert_eq!(closed, 1.0, "it was cut for being too slow");
    server.webhook(&app, &Call::new(9_000_001).ring(0)).await;
    healthy.expect("call.ring").await;
}

async fn a_client_that_stopped_reading_for_too_long_is_told_so_and_misses_nothing(world: World) {
    let mut server = world.with("WS_STUCK_AFTER", "2s").start().await;
    let app = server.create_app("CRM").await;
    let mut stuck = server.listen(&app).await;
    let mut healthy = server.listen(&app).await;
    let (events, weight) = HEAVY;
    let (sent_at, (whole, heard_at)) =
        tokio::join!(pour(&server, &app, events, weight), hear_all(&mut healthy, events, weight));
    let late = heard_at.saturating_duration_since(sent_at);
    assert!(late < PROMPTLY, "the last event came {late:?} after the last webhook");
    let given_up = server
        .process
        .wait_for_line("that it has given up", |line| line.contains("takes nothing").then_some(()));
    healthy.stays_idle_until(given_up).await;

    let (mut heard, mut code) = (Vec::new(), None);
    while code.is_none() {
        match stuck.receive().await {
            Received::Message(event) => heard.push(event.with("payload", ())),
            Received::Closed(reason) => code = Some(reason),
        }
    }
    assert_eq!(code, Some(Some(4408)), "after {} events", heard.len());
    assert!(heard.len() < events, "nothing was kept from it");
    eventually("its end is counted", async || {
        let metrics = server.metrics().await;
        (metrics.sum("cti_ws_sessions_closed_total", &["reason=\"too_slow\""]) == 1.0).then_some(())
    })
    .await;

    let mut resumed = server.subscribe(&app, &format!("?after={}", heard.len())).await;
    heard.extend(hear_all(&mut resumed, events - heard.len(), weight).await.0);
    assert_contiguous(&heard, 0);
    assert_eq!(heard, whole);
    tell(&server, &app, &Call::new(9_000_001).ring(0).to_string()).await;
    healthy.expect("call.ring").await;
    resumed.expect("call.ring").await;
}

async fn a_client_that_stopped_reading_for_a_while_catches_up_and_is_live_again(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut paused = server.listen(&app).await;
    // More than the kernel keeps for it, and more than what is kept in memory for those who come a little late; sent
    // before its silence can be taken for its end.
    let (events, weight) = HEAVY;
    pour(&server, &app, events, weight).await;
    let (heard, _) = hear_all(&mut paused, events, weight).await;
    assert_contiguous(&heard, 0);
    server.webhook(&app, &Call::new(9_000_001).ring(0)).await;
    paused.expect("call.ring").await;
}

async fn a_stream_that_nobody_reads_is_cut(world: World) {
    let server = world.with("WS_STUCK_AFTER", STUCK_AFTER).start().await;
    let app = server.create_app("CRM").await;
    let _frozen = never_reading_at(&server, &app, "/api/events/stream", "").await;
    listeners_become(&server, 1.0).await;
    let (events, weight) = HEAVY;
    pour(&server, &app, events, weight).await;
    listeners_become(&server, 0.0).await;
}

async fn listeners_become(server: &TestServer, count: f64) {
    within(CUT_WITHIN, &format!("{count} listen to a stream"), async || {
        let listening = server.metrics().await.sum("cti_feed_listeners", &["transport=\"stream\""]);
        (listening == count).then_some(())
    })
    .await;
}

async fn pour(server: &TestServer, app: &App, events: usize, weight: usize) -> Instant {
    let note = "x".repeat(weight);
    let sender = |first: usize| {
        let note = &note;
        async move {
            for number in (first..events).step_by(SENDERS) {
                let call = Call::new(i64::try_from(number).expect("a small number") + 1);
                tell(server, app, &call.event("call.noted", 0).with("note", note.as_str()).to_string()).await;
            }
        }
    };
    join_all((0..SENDERS).map(sender)).await;
    Instant::now()
}

/// As patiently as Dialpad: heavy webhooks may find no durable place at once.
async fn tell(server: &TestServer, app: &App, body: &str) {
    let path = format!("/webhooks/{}", app.id);
    while server.post_webhook(&path, body).await.status == 503 {}
}

async fn hear_all(socket: &mut Socket, events: usize, weight: usize) -> (Vec<serde_json::Value>, Instant) {
    let mut heard = Vec::with_capacity(events);
    while heard.len() < events {
        let event = socket.next_event().await;
        assert!(event["payload"]["note"].as_str().is_some_and(|note| note.len() == weight), "{event:#}");
        heard.push(event.with("payload", ()));
    }
    (heard, Instant::now())
}

async fn sessions_become(server: &TestServer, count: f64) {
    within(CUT_WITHIN, &format!("{count} sessions are open"), async || {
        (server.metrics().await.sum("cti_ws_sessions", &[]) == count).then_some(())
    })
    .await;
}

/// A handshake by hand, on a socket that takes little and is never read again.
pub(crate) async fn never_reading(server: &TestServer, app: &App) -> TcpStream {
    never_reading_at(server, app, "/ws", UPGRADE).await
}

async fn never_reading_at(server: &TestServer, app: &App, path: &str, headers: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.set_recv_buffer_size(4 << 10).expect("a small buffer");
    shake_hands(socket, server, app, path, headers).await
}

/// What makes a WebSocket of a request.
pub(crate) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Reads no further than the head of the answer.
pub(crate) async fn shake_hands(
    socket: TcpSocket,
    server: &TestServer,
    app: &App,
    path: &str,
    headers: &str,
) -> TcpStream {
    let mut stream =
        socket.connect(server.address().parse().expect("an address")).await.expect("the server listens");
    let handshake = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}x-api-key: {}\r\n\r\n",
        server.address(),
        app.key
    );
    stream.write_all(handshake.as_bytes()).await.expect("the server reads a handshake");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("the server answers a handshake"));
    }
    let taken = [&b"HTTP/1.1 101 "[..], b"HTTP/1.1 200 "].iter().any(|status| answer.starts_with(status));
    assert!(taken, "{}", String::from_utf8_lossy(&answer));
    stream
}
