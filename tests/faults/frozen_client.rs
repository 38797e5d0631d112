//! A client that stops reading costs nobody else anything, and is cut in the end.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::support::{App, Call, Socket, TestServer, With, World, assert_contiguous, within};

on_both_databases![a_client_that_never_reads_delays_nobody_and_is_cut];

/// On PostgreSQL fewer: what is tested lies behind the database, and each event costs more there.
const EVENTS: (usize, usize) = (20_000, 8_000);
const SENDERS: usize = 32;
/// What each event weighs at least: more of it than the kernel will keep for a client that does not read.
const WEIGHT: usize = 700;
/// How long the last events may be under way when the burst is over.
const PROMPTLY: Duration = Duration::from_secs(10);
const CUT_WITHIN: Duration = Duration::from_secs(60);

async fn a_client_that_never_reads_delays_nobody_and_is_cut(world: World) {
    let events = if world.is_on_postgres() { EVENTS.1 } else { EVENTS.0 };
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let _frozen = never_reading(&server, &app).await;
    let mut healthy = server.listen(&app).await;
    sessions_become(&server, 2.0).await;

    let (sent_at, (heard, heard_at)) =
        tokio::join!(pour(&server, &app, events), hear_all(&mut healthy, events));
    assert_contiguous(&heard, 0);
    let late = heard_at.saturating_duration_since(sent_at);
    assert!(late < PROMPTLY, "the last event came {late:?} after the last webhook");

    healthy.idles_until(sessions_become(&server, 1.0)).await;
    server.webhook(&app, &Call::new(9_000_001).ring(0)).await;
    healthy.expect("call.ring").await;
}

async fn pour(server: &TestServer, app: &App, events: usize) -> Instant {
    let note = "x".repeat(WEIGHT);
    let sender = |first: usize| {
        let note = &note;
        async move {
            for number in (first..events).step_by(SENDERS) {
                let call = Call::new(i64::try_from(number).expect("a small number") + 1);
                server.webhook(app, &call.event("call.noted", 0).with("note", note.as_str())).await;
            }
        }
    };
    join_all((0..SENDERS).map(sender)).await;
    Instant::now()
}

async fn hear_all(socket: &mut Socket, events: usize) -> (Vec<serde_json::Value>, Instant) {
    let mut heard = Vec::with_capacity(events);
    while heard.len() < events {
        let event = socket.next_event().await;
        assert!(event["payload"]["note"].as_str().is_some_and(|note| note.len() == WEIGHT), "{event:#}");
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
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.set_recv_buffer_size(4 << 10).expect("a small buffer");
    let mut stream =
        socket.connect(server.address().parse().expect("an address")).await.expect("the server listens");
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nx-api-key: {}\r\n\r\n",
        server.address(),
        app.key
    );
    stream.write_all(handshake.as_bytes()).await.expect("the server reads a handshake");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("the server answers a handshake"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    stream
}
