//! Requests and frames that break the rules, on the wire: each gets a clear answer, and the server goes on as before.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{App, Ask, TestServer, WAIT_TIMEOUT, World, eventually};

on_sqlite![
    a_request_of_ambiguous_length_is_refused_and_ends_its_connection,
    a_malformed_head_is_refused,
    a_head_that_never_ends_is_not_waited_for,
    many_heads_that_never_end_delay_nobody,
    a_compressed_body_is_refused_and_not_unpacked,
    a_deeply_nested_body_is_refused,
    a_frame_that_breaks_the_rules_closes_its_socket,
    many_pings_are_answered_and_harm_nobody,
];

/// How long a connection without a whole head is kept, and a margin for a busy machine.
const HEAD_WITHIN: Duration = Duration::from_secs(12);

async fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.address()).await.expect("the server takes a connection")
}

/// Sends bytes, and returns all that comes back until the server hangs up.
async fn exchange(server: &TestServer, bytes: &[u8]) -> String {
    let mut wire = connect(server).await;
    // It may hang up before it has read everything.
    let _ = wire.write_all(bytes).await;
    read_to_end(&mut wire, WAIT_TIMEOUT).await
}

async fn read_to_end(wire: &mut TcpStream, limit: Duration) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is an end, too.
    let _ = timeout(limit, wire.read_to_end(&mut answer)).await.expect("the server hangs up");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The server must be as it was: it takes a webhook and emits its event.
async fn is_unharmed(server: &TestServer, app: &App, call: i64) {
    server.feed_once_processed(app, call).await;
    server.get("/health").answer().await.ok();
}

/// RFC 9112, section 6.3: where the end of a message is not certain, what follows must not be read as a request.
async fn a_request_of_ambiguous_length_is_refused_and_ends_its_connection(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (version, headers) in [
        ("1.1", "content-length: 2\r\ncontent-length: 3\r\n"),
        ("1.1", "content-length: 2\r\ncontent-length: 2\r\n"),
        ("1.1", "content-length: 2, 2\r\n"),
        ("1.1", "content-length: +2\r\n"),
        ("1.1", "content-length: -2\r\n"),
        ("1.1", "content-length: 0x2\r\n"),
        ("1.1", "content-length: 99999999999999999999\r\n"),
        ("1.1", "content-length: 5\r\ntransfer-encoding: chunked\r\n"),
        ("1.1", "transfer-encoding: chunked\r\ncontent-length: 5\r\n"),
        ("1.1", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        ("1.1", "transfer-encoding: chunked, identity\r\n"),
        ("1.1", "transfer-encoding: gzip\r\n"),
        ("1.0", "transfer-encoding: chunked\r\n"),
    ] {
        let request = format!(
            "POST /webhooks HTTP/{version}\r\nhost: a\r\n{headers}\r\n0\r\n\r\n\
             GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let answer = exchange(&server, request.as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["400", "413", "501"].contains(&status), "{headers:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{headers:?}: {answer}");
    }
    is_unharmed(&server, &app, 1).await;
}

async fn a_malformed_head_is_refused(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for head in [
        // RFC 9112, section 3.2: exactly one Host.
        "GET /health HTTP/1.1\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        // Section 5.1: no space before the colon; section 5.2: no folded line.
        "GET /health HTTP/1.1\r\nhost: a\r\nx-test : 1\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: a\r\nx-test: 1\r\n 2\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: a\r\nx-test: 1\0\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: a\r\n: 1\r\n\r\n",
        "GET /hea lth HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET\t/health\tHTTP/1.1\r\nhost: a\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}",
    ] {
        let answer =
            exchange(&server, format!("{head}GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?}: {answer}");
    }
    let long = format!("GET /health HTTP/1.1\r\nhost: a\r\nx-test: {}\r\n\r\n", "x".repeat(150 << 10));
    let answer = exchange(&server, long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    is_unharmed(&server, &app, 1).await;
}

async fn a_head_that_never_ends_is_not_waited_for(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut wire = connect(&server).await;
    wire.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\nx-first: 1\r\n").await.expect("it is sent");
    let answer = read_to_end(&mut wire, HEAD_WITHIN).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    is_unharmed(&server, &app, 1).await;
}

async fn many_heads_that_never_end_delay_nobody(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut wires = Vec::new();
    for number in 0..300 {
        let mut wire = connect(&server).await;
        let head = format!("POST /webhooks HTTP/1.1\r\nhost: a\r\nx-{number}: ");
        wire.write_all(head.as_bytes()).await.expect("it is sent");
        wires.push(wire);
    }
    for call in 1..=20 {
        is_unharmed(&server, &app, call).await;
    }
    // More and more of a header, for ever: a head has an end.
    let mut wire = connect(&server).await;
    let mut head = b"GET /health HTTP/1.1\r\nhost: a\r\nx-long: ".to_vec();
    head.extend(vec![b'x'; 1 << 20]);
    let _ = wire.write_all(&head).await;
    let answer = read_to_end(&mut wire, HEAD_WITHIN).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

async fn a_compressed_body_is_refused_and_not_unpacked(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    // An empty gzip member: unpacked it would be an empty body.
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for encoding in ["gzip", "deflate", "br", "zstd", "gzip, gzip"] {
        let send = |path: &str| server.post(path).header("content-encoding", encoding).body(gzip.to_vec());
        send("/webhooks").answer().await.refuses(415, "UNSUPPORTED_MEDIA_TYPE");
        send(&format!("/webhooks/{}", app.id)).answer().await.refuses(415, "UNSUPPORTED_MEDIA_TYPE");
        send("/api/calls").by(&app).answer().await.fails_with(400);
        send("/internal/apps").by_admin().answer().await.fails_with(400);
    }
    is_unharmed(&server, &app, 1).await;
}

async fn a_deeply_nested_body_is_refused(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = format!("{{\"name\":{}1{}}}", open.repeat(20_000), close.repeat(20_000));
        let body = || nested.clone();
        server.post("/internal/apps").by_admin().body(body()).answer().await.refuses(400, "INVALID_REQUEST");
        server.post("/api/calls").by(&app).body(body()).answer().await.fails_with(400);
        let map = format!("/internal/apps/{}/users/batch-map", app.id);
        server.post(&map).by_admin().body(body()).answer().await.fails_with(400);
        let mut socket = server.open_socket("/ws", &[]).await;
        socket.send_text_lossy(&nested).await;
        let code = socket.close_code().await;
        assert!([Some(4400), Some(1009)].contains(&code), "{code:?}");
    }
    is_unharmed(&server, &app, 1).await;
}

/// Opens a WebSocket and returns its connection once the server has said `connected`.
async fn upgrade(server: &TestServer, app: &App) -> TcpStream {
    let mut wire = connect(server).await;
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\nx-api-key: {}\r\n\r\n",
        app.key
    );
    wire.write_all(handshake.as_bytes()).await.expect("it is sent");
    let mut received = Vec::new();
    // Until the message is whole: it ends with a brace.
    while !String::from_utf8_lossy(&received).contains("\"connected\"") || received.last() != Some(&b'}') {
        let read = timeout(WAIT_TIMEOUT, wire.read_buf(&mut received)).await.expect("it is answered in time");
        assert!(read.expect("it can be read") > 0, "closed: {}", String::from_utf8_lossy(&received));
    }
    wire
}

/// Returns a frame that is masked with zeros; `length` is what its header claims.
fn frame(first: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match length {
        0..=125 => frame.push(0x80 | length as u8),
        126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend_from_slice(payload);
    frame
}

async fn a_frame_that_breaks_the_rules_closes_its_socket(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let fragments =
        [frame(0x01, 40 << 10, &vec![b' '; 40 << 10]), frame(0x80, 40 << 10, &vec![b' '; 40 << 10])];
    for (what, bytes) in [
        ("no mask", vec![0x81, 2, b'{', b'}']),
        ("a reserved opcode", frame(0x83, 0, b"")),
        ("a reserved bit", frame(0xC1, 2, b"{}")),
        ("a ping of 126 bytes", frame(0x89, 126, &[0; 126])),
        ("a fragmented ping", frame(0x09, 0, b"")),
        ("a continuation of nothing", frame(0x80, 2, b"{}")),
        ("a length of 2^63", frame(0x81, 1 << 63, b"{}")),
        ("a gigabyte that is announced", frame(0x82, 1 << 30, b"{}")),
        ("64 KiB and a byte", frame(0x81, (64 << 10) + 1, &vec![b' '; (64 << 10) + 1])),
        ("fragments that are too long together", fragments.concat()),
        ("bytes that are no UTF-8", frame(0x81, 2, &[0xff, 0xfe])),
    ] {
        let mut wire = upgrade(&server, &app).await;
        let _ = wire.write_all(&bytes).await;
        let mut rest = Vec::new();
        let ended = timeout(WAIT_TIMEOUT, wire.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{what}: the connection stays open: {rest:?}");
        // A close frame with a code, unless the server could not send any more.
        let code = rest.windows(4).find(|part| part[0] == 0x88 && part[1] >= 2);
        let code = code.map(|part| u16::from_be_bytes([part[2], part[3]]));
        assert!(code.is_none_or(|code| [1002, 1007, 1009, 4400].contains(&code)), "{what}: {code:?}");
    }
    eventually("no socket is left", async || {
        let engine = server.get("/internal/engine").by_admin().answer().await.ok();
        (engine["sessions"] == 0).then_some(())
    })
    .await;
    is_unharmed(&server, &app, 1).await;
}

async fn many_pings_are_answered_and_harm_nobody(world: World) {
    const PINGS: usize = 20_000;
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let wire = upgrade(&server, &app).await;
    let (mut reader, mut writer) = wire.into_split();
    let ping = frame(0x89, 20, b"twenty bytes of ping");
    let sending = tokio::spawn(async move {
        for _ in 0..PINGS {
            writer.write_all(&ping).await.expect("it is sent");
        }
        writer
    });
    let pong = b"\x8a\x14twenty bytes of ping";
    let mut received = Vec::new();
    while received.len() < PINGS * pong.len() {
        let read = timeout(WAIT_TIMEOUT, reader.read_buf(&mut received)).await.expect("pings are answered");
        assert!(read.expect("it can be read") > 0, "closed after {} bytes", received.len());
    }
    assert!(received.chunks(pong.len()).take(PINGS).all(|chunk| chunk == pong));
    let mut writer = sending.await.expect("all are sent");

    // Pings whose answers nobody reads: the socket fills up, and the others don't notice.
    let ping = frame(0x89, 100, &[b'p'; 100]);
    while timeout(Duration::from_millis(500), writer.write_all(&ping)).await.is_ok_and(|sent| sent.is_ok()) {}
    for call in 1..=5 {
        is_unharmed(&server, &app, call).await;
    }
    let engine = server.get("/internal/engine").by_admin().answer().await.ok();
    assert_eq!(engine["sessions"], json!(1));
    drop((reader, writer));
}
