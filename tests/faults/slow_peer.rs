//! Peers that send slowly, close one side only, or read nothing, and the log that nobody reads.

use std::{
    io::Read,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::frozen_client::{UPGRADE, shake_hands};
use crate::support::{Call, TestServer, WEBHOOK_SECRET, World, eventually, free_port, hmac_hex, within};

on_both_databases![
    a_webhook_of_a_client_that_closes_its_side_is_answered,
    a_stream_whose_client_closes_its_side_ends,
    a_websocket_that_is_cut_in_a_frame_is_lost,
];

on_sqlite![
    a_body_that_takes_too_long_is_answered_408,
    slow_bodies_leave_room_for_webhooks,
    an_address_with_too_many_connections_gets_no_more,
    a_log_that_nobody_reads_blocks_nothing,
];

async fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.address()).await.expect("the server listens")
}

/// Sends a request whose body never comes whole.
async fn send_slowly(server: &TestServer, path: &str) -> TcpStream {
    let mut stream = connect(server).await;
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\n{{", server.address());
    stream.write_all(head.as_bytes()).await.expect("the server reads a head");
    stream
}

async fn read_all(stream: &mut TcpStream, limit: Duration) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is an end, too.
    let _ = timeout(limit, stream.read_to_end(&mut answer)).await.expect("the connection is closed in time");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn a_webhook_of_a_client_that_closes_its_side_is_answered(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let body = Call::new(1).ring(0).to_string();
    let signature = hmac_hex(WEBHOOK_SECRET, body.as_bytes());
    let mut answered = 0;
    while answered < 10 {
        let mut stream = connect(&server).await;
        let request = format!(
            "POST /webhooks/{} HTTP/1.1\r\nHost: {}\r\nx-dialpad-signature: {signature}\r\nContent-Length: {}\r\n\r\n\
             {body}",
            app.id,
            server.address(),
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("the server reads a request");
        stream.shutdown().await.expect("one side can be closed");
        let answer = read_all(&mut stream, Duration::from_secs(10)).await;
        // A busy machine may take too long for one.
        if answer.starts_with("HTTP/1.1 503 ") {
            continue;
        }
        answered += 1;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("event_id"), "{answer}");
    }
}

async fn a_stream_whose_client_closes_its_side_ends(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    let mut stream = shake_hands(socket, &server, &app, "/api/events/stream", "").await;
    listening(&server, "stream", 1.0).await;
    stream.shutdown().await.expect("one side can be closed");
    // Well before the next heartbeat.
    within(Duration::from_secs(5), "the stream has ended", async || {
        (listeners(&server, "stream").await == 0.0).then_some(())
    })
    .await;
    read_all(&mut stream, Duration::from_secs(5)).await;
}

async fn listeners(server: &TestServer, transport: &str) -> f64 {
    server.metrics().await.sum("cti_feed_listeners", &[&format!("transport=\"{transport}\"")])
}

async fn listening(server: &TestServer, transport: &str, count: f64) {
    eventually(&format!("{count} listeners"), async || {
        (listeners(server, transport).await == count).then_some(())
    })
    .await;
}

async fn a_websocket_that_is_cut_in_a_frame_is_lost(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for sent in [&[0x81_u8, 0x85, 1, 2, 3, 4, 5][..], &[0x81], &[]] {
        let before = lost(&server).await;
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        let mut stream = shake_hands(socket, &server, &app, "/ws", UPGRADE).await;
        stream.write_all(sent).await.expect("the server reads");
        drop(stream);
        eventually("the WebSocket is lost", async || (lost(&server).await == before + 1.0).then_some(()))
            .await;
    }
}

async fn lost(server: &TestServer) -> f64 {
    server.metrics().await.sum("cti_ws_sessions_closed_total", &["reason=\"lost\""])
}

async fn a_body_that_takes_too_long_is_answered_408(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let began = Instant::now();
    let paths = ["/webhooks".to_owned(), format!("/webhooks/{}", app.id), "/internal/apps".to_owned()];
    for path in &paths {
        let mut stream = send_slowly(&server, path).await;
        if path == "/internal/apps" {
            // It is refused before the body is read.
            assert!(read_all(&mut stream, Duration::from_secs(30)).await.starts_with("HTTP/1.1 401 "));
            continue;
        }
        let answer = read_all(&mut stream, Duration::from_secs(30)).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("REQUEST_TIMEOUT"), "{answer}");
        assert!(answer.contains("request_id"), "{answer}");
    }
    assert!(began.elapsed() >= Duration::from_secs(15), "{:?}", began.elapsed());
}

/// Starts a server that may have so many open files.
async fn start_with_files(world: &World, files: u32) -> (std::process::Child, String) {
    let port = free_port();
    let command = world.clone().with("PORT", &port).command(&["serve"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n {files}; exec \"$0\" serve")]).arg(command.get_program());
    limited.current_dir(world.folder()).env_clear().stdout(Stdio::null()).stderr(Stdio::null());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            limited.env(name, value);
        }
    }
    let child = limited.spawn().expect("a shell");
    let address = format!("127.0.0.1:{port}");
    eventually("it listens", async || TcpStream::connect(&address).await.ok()).await;
    (child, address)
}

async fn slow_bodies_leave_room_for_webhooks(world: World) {
    let (mut child, address) = start_with_files(&world, 200).await;
    let mut slow = Vec::new();
    for _ in 0..110 {
        let mut stream = TcpStream::connect(&address).await.expect("the kernel accepts it");
        let head = format!("POST /webhooks HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000\r\n\r\n{{");
        let _ = stream.write_all(head.as_bytes()).await;
        slow.push(stream);
    }
    let http =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().expect("a client");
    let body = "{}";
    let signature = hmac_hex(WEBHOOK_SECRET, body.as_bytes());
    within(Duration::from_secs(12), "a webhook is answered", async || {
        let sent = http.post(format!("http://{address}/webhooks")).header("x-dialpad-signature", &signature);
        sent.body(body).send().await.ok().filter(|answer| answer.status() == 200).map(drop)
    })
    .await;
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

async fn an_address_with_too_many_connections_gets_no_more(world: World) {
    let server = world.with("MAX_CONNECTIONS_PER_ADDRESS", "5").start().await;
    let refused = "cti_connections_refused_total";
    // The client of this test has one.
    assert_eq!(server.metrics().await.sum(refused, &[]), 0.0);
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(&server).await;
        // It is counted once it was accepted.
        let request = format!("GET /health/live HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        stream.read_u8().await.expect("the server answers");
        open.push(stream);
    }
    let mut one_too_many = connect(&server).await;
    assert_eq!(read_all(&mut one_too_many, Duration::from_secs(10)).await, "");
    drop(open);
    eventually("it is counted", async || (server.metrics().await.sum(refused, &[]) >= 1.0).then_some(()))
        .await;
    within(Duration::from_secs(10), "there is room again", async || {
        let mut stream = connect(&server).await;
        let request =
            format!("GET /health/live HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address());
        let _ = stream.write_all(request.as_bytes()).await;
        read_all(&mut stream, Duration::from_secs(3)).await.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
}

async fn a_log_that_nobody_reads_blocks_nothing(world: World) {
    let port = free_port();
    let mut command = world.clone().with("PORT", &port).with("RUST_LOG", "trace").command(&["serve"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut unread = child.stderr.take().expect("stderr is piped");
    let base_url = format!("http://127.0.0.1:{port}");
    let http =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().expect("a client");
    eventually("it listens", async || http.get(format!("{base_url}/health")).send().await.ok()).await;
    let dropped = async || {
        let text = http.get(format!("{base_url}/metrics")).send().await.expect("an answer").text().await;
        let text = text.expect("a body");
        let line = text.lines().find(|line| line.starts_with("cti_log_lines_dropped_total "));
        line.and_then(|line| line.split(' ').nth(1)?.parse::<f64>().ok()).expect("the metric")
    };
    // Each refused webhook is a line of the log, at least.
    within(Duration::from_secs(60), "lines are dropped", async || {
        let requests = (0..10).map(|_| http.post(format!("{base_url}/webhooks")).body("x").send());
        for answer in futures_util::future::join_all(requests).await {
            assert_eq!(answer.expect("an answer").status(), 401);
        }
        (dropped().await > 0.0).then_some(())
    })
    .await;
    let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    within(Duration::from_secs(10), "it ends", async || child.try_wait().expect("it can be asked")).await;
    let mut log = String::new();
    unread.read_to_string(&mut log).expect("it is text");
    assert!(log.contains("listening"), "the first lines are in the pipe");
}
