//! A service manager such as systemd opens the socket, and learns when the server is ready.

use std::{
    net::{TcpListener, TcpStream},
    os::unix::net::{UnixDatagram, UnixListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::support::{World, eventually};

const STOP_WITHIN: Duration = Duration::from_secs(12);

#[tokio::test]
async fn a_restart_refuses_no_connection_where_the_service_manager_opened_the_socket() {
    let world = World::on_sqlite();
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let mut server = world.start_on(&socket).await;
    let port = socket.local_addr().expect("it is bound").port();
    assert_eq!(server.base_url, format!("http://127.0.0.1:{port}"));

    // A client that makes a new connection for each request, one after the other, across the whole restart.
    let ended = Arc::new(AtomicBool::new(false));
    let client = tokio::spawn(requests(server.base_url.clone(), Arc::clone(&ended)));
    server.process.stop(STOP_WITHIN).await;
    TcpStream::connect(("127.0.0.1", port)).expect("the socket is open while no server runs");
    server = world.start_on(&socket).await;
    let answered = server.get("/health/live").send().await.expect("the new server answers");
    assert_eq!(answered.status(), 200);
    ended.store(true, Ordering::Relaxed);
    assert!(client.await.expect("every request is answered") > 0);
    drop(server);
    world.finish().await;
}

/// Sends requests until it is stopped. Returns how many were answered.
async fn requests(base_url: String, ended: Arc<AtomicBool>) -> usize {
    let http = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy().build().expect("a client");
    let mut answered = 0;
    while !ended.load(Ordering::Relaxed) {
        let answer = http.get(format!("{base_url}/health/live")).timeout(STOP_WITHIN).send().await;
        assert_eq!(answer.expect("no connection is refused or cut").status(), 200);
        answered += 1;
    }
    answered
}

#[tokio::test]
async fn a_passed_file_that_is_no_tcp_socket_stops_the_start() {
    let world = World::on_sqlite();
    let socket = UnixListener::bind(world.folder().join("socket")).expect("a socket can be bound");
    let mut process = world.spawn_on(socket.into());
    assert_eq!(process.exit(STOP_WITHIN).await.code(), Some(1), "{}", process.log());
    eventually("it says why", async || process.log().contains("LISTEN_FDS: fd 3 is not").then_some(())).await;
    world.finish().await;
}

#[tokio::test]
async fn the_service_manager_learns_when_the_server_accepts_requests() {
    let world = World::on_sqlite();
    let path = world.folder().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket can be bound");
    manager.set_read_timeout(Some(STOP_WITHIN)).expect("a timeout can be set");
    let world = world.with("NOTIFY_SOCKET", path.to_str().expect("a path in UTF-8"));
    let server = world.start().await;
    let mut message = [0; 64];
    let length = manager.recv(&mut message).expect("a message comes");
    assert_eq!(std::str::from_utf8(&message[..length]).expect("text").trim_end(), "READY=1");
    drop(server);
    world.finish().await;
}
