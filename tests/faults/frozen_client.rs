//! A client that stops reading affects no other client, misses nothing if it resumes in time, and is closed in the end.

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
    a_client_that_never_reads_delays_no_other_and_is_closed,
    a_client_that_stopped_reading_for_too_long_gets_4408_and_misses_nothing,
    a_client_that_stopped_reading_for_a_while_catches_up_and_is_live_again,
    a_stream_that_is_never_read_is_closed,
];

/// On SQLite and on PostgreSQL, where each event costs more; what is tested does not depend on the database.
const EVENT_COUNTS: (usize, usize) = (20_000, 8_000);
const SENDERS: usize = 32;
/// Minimum size of each event: in total more than the kernel buffers for a client that does not read.
const EVENT_SIZE: usize = 700;
/// Fewer, larger events: their number and the size of each.
const LARGE_EVENTS: (usize, usize) = (700, 24_000);
/// How long after the last webhook the last event may arrive.
const MAX_DELAY: Duration = Duration::from_secs(10);
/// How long a client may leave its socket unread in these tests, instead of one minute.
const STUCK_TIMEOUT: &str = "8s";
const CLOSE_TIMEOUT: Duration = Duration::from_secs(40);

async fn a_client_that_never_reads_delays_no_other_and_is_closed(world: World) {
    let events = if world.is_on_postgres() { EVENT_COUNTS.1 } else { EVENT_COUNTS.0 };
    let server = world.with("WS_STUCK_AFTER", STUCK_TIMEOUT).start().await;
    let app = server.create_app("CRM").await;
    let _frozen = never_reading(&server, &app).await;
    let mut healthy = server.listen(&app).await;
    sessions_become(&server, 2.0).await;

    let (sent_at, (received, received_at)) = tokio::join!(
        send_events(&server, &app, events, EVENT_SIZE),
        receive_all(&mut healthy, events, EVENT_SIZE)
    );
    assert_contiguous(&received, 0);
    let delay = received_at.saturating_duration_since(sent_at);
    assert!(delay < MAX_DELAY, "the last event came {delay:?} after the last webhook");

    healthy.stays_idle_until(sessions_become(&server, 1.0)).await;
    let closed = server.metrics().await.sum("cti_ws_sessions_closed_total", &["reason=\"too_slow\""]);
    assert_eq!(closed, 1.0, "it was closed for being too slow");
    server.webhook(&app, &Call::new(9_000_001).ring(0)).await;
    healthy.expect("call.ring").await;
}

async fn a_client_that_stopped_reading_for_too_long_gets_4408_and_misses_nothing(world: World) {
    let mut server = world.with("WS_STUCK_AFTER", "2s").start().await;
    let app = server.create_app("CRM").await;
    let mut stuck = server.listen(&app).await;
    let mut healthy = server.listen(&app).await;
    let (events, size) = LARGE_EVENTS;
    let (sent_at, (all, received_at)) =
        tokio::join!(send_events(&server, &app, events, size), receive_all(&mut healthy, events, size));
    let delay = received_at.saturating_duration_since(sent_at);
    assert!(delay < MAX_DELAY, "the last event came {delay:?} after the last webhook");
    let session_closed = server
        .process
        .wait_for_line("a line about the stuck session", |line| line.contains("takes nothing").then_some(()));
    healthy.stays_idle_until(session_closed).await;

    let (mut received, mut code) = (Vec::new(), None);
    while code.is_none() {
        match stuck.receive().await {
            Received::Message(event) => received.push(event.with("payload", ())),
            Received::Closed(reason) => code = Some(reason),
        }
    }
    assert_eq!(code, Some(Some(4408)), "after {} events", received.len());
    assert!(received.len() < events, "the session was closed too delay");
    eventually("the close is counted", async || {
        let metrics = server.metrics().await;
        (metrics.sum("cti_ws_sessions_closed_total", &["reason=\"too_slow\""]) == 1.0).then_some(())
    })
    .await;

    let mut resumed = server.subscribe(&app, &format!("?after={}", received.len())).await;
    received.extend(receive_all(&mut resumed, events - received.len(), size).await.0);
    assert_contiguous(&received, 0);
    assert_eq!(received, all);
    send_webhook(&server, &app, &Call::new(9_000_001).ring(0).to_string()).await;
    healthy.expect("call.ring").await;
    resumed.expect("call.ring").await;
}

async fn a_client_that_stopped_reading_for_a_while_catches_up_and_is_live_again(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut paused = server.listen(&app).await;
    // More than the kernel buffers for the client, and more than the ring keeps; sent before the silence of the client
    // counts as its end.
    let (events, size) = LARGE_EVENTS;
    send_events(&server, &app, events, size).await;
    let (received, _) = receive_all(&mut paused, events, size).await;
    assert_contiguous(&received, 0);
    server.webhook(&app, &Call::new(9_000_001).ring(0)).await;
    paused.expect("call.ring").await;
}

async fn a_stream_that_is_never_read_is_closed(world: World) {
    let server = world.with("WS_STUCK_AFTER", STUCK_TIMEOUT).start().await;
    let app = server.create_app("CRM").await;
    let _frozen = never_reading_at(&server, &app, "/api/events/stream", "").await;
    listeners_become(&server, 1.0).await;
    let (events, size) = LARGE_EVENTS;
    send_events(&server, &app, events, size).await;
    listeners_become(&server, 0.0).await;
}

async fn listeners_become(server: &TestServer, count: f64) {
    within(CLOSE_TIMEOUT, &format!("{count} open streams"), async || {
        let listening = server.metrics().await.sum("cti_feed_listeners", &["transport=\"stream\""]);
        (listening == count).then_some(())
    })
    .await;
}

async fn send_events(server: &TestServer, app: &App, events: usize, size: usize) -> Instant {
    let note = "x".repeat(size);
    let sender = |first: usize| {
        let note = &note;
        async move {
            for number in (first..events).step_by(SENDERS) {
                let call = Call::new(i64::try_from(number).expect("a small number") + 1);
                send_webhook(
                    server,
                    app,
                    &call.event("call.noted", 0).with("note", note.as_str()).to_string(),
                )
                .await;
            }
        }
    };
    join_all((0..SENDERS).map(sender)).await;
    Instant::now()
}

/// Sends a webhook and retries on 503 as Dialpad does: a large one may not be stored at the first attempt.
async fn send_webhook(server: &TestServer, app: &App, body: &str) {
    let path = format!("/webhooks/{}", app.id);
    while server.post_webhook(&path, body).await.status == 503 {}
}

async fn receive_all(socket: &mut Socket, events: usize, size: usize) -> (Vec<serde_json::Value>, Instant) {
    let mut received = Vec::with_capacity(events);
    while received.len() < events {
        let event = socket.next_event().await;
        assert!(event["payload"]["note"].as_str().is_some_and(|note| note.len() == size), "{event:#}");
        received.push(event.with("payload", ()));
    }
    (received, Instant::now())
}

async fn sessions_become(server: &TestServer, count: f64) {
    within(CLOSE_TIMEOUT, &format!("{count} sessions are open"), async || {
        (server.metrics().await.sum("cti_ws_sessions", &[]) == count).then_some(())
    })
    .await;
}

/// Opens a WebSocket whose receive buffer is small and which is never read.
pub(crate) async fn never_reading(server: &TestServer, app: &App) -> TcpStream {
    never_reading_at(server, app, "/ws", UPGRADE).await
}

async fn never_reading_at(server: &TestServer, app: &App, path: &str, headers: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.set_recv_buffer_size(4 << 10).expect("a small buffer");
    shake_hands(socket, server, app, path, headers).await
}

/// The headers of a WebSocket upgrade.
pub(crate) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends a handshake and reads only the head of the response.
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
