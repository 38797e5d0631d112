//! A client that vanishes without closing its connection is detected within 25 s: on a quiet WebSocket by pings, on a
//! quiet event stream by the kernel.
//!
//! A process that dies on this machine still gets its connections closed. So the test runs in a network namespace in
//! which an address can be removed.

use std::{
    env,
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use tokio::net::{TcpSocket, TcpStream};

use super::frozen_client::{UPGRADE, shake_hands};
use crate::support::{App, TestServer, World, within};

const THIS: &str = "half_open::a_vanished_client_is_detected_in_25_s";
const INSIDE_NAMESPACE: &str = "CTI_TEST_NETWORK_NAMESPACE";
/// 25 s, plus time to observe it on a busy machine.
const DETECTION_TIMEOUT: Duration = Duration::from_secs(27);
/// The address of the clients that vanish.
const LOST_ADDRESS: &str = "10.99.99.99";
/// A pair of interfaces into which packets disappear.
const PREPARE: &str = "ip link set lo up && ip link add v0 type veth peer name v1 && ip link set v0 arp off up \
     && ip link set v1 up && echo 1 > /proc/sys/net/ipv4/conf/v0/route_localnet && ip address add 10.99.99.99/32 dev lo";
const VANISH: &str = "ip address del 10.99.99.99/32 dev lo && ip route add 10.99.99.99/32 dev v0";

fn shell(command: &str) -> bool {
    Command::new("sh").args(["-c", command]).stderr(Stdio::null()).status().is_ok_and(|exit| exit.success())
}

#[tokio::test]
async fn a_vanished_client_is_detected_in_25_s() {
    if env::var_os(INSIDE_NAMESPACE).is_some() {
        assert!(shell(PREPARE), "the network can't be laid out");
        return Box::pin(vanish()).await;
    }
    if !shell(&format!("unshare --user --map-root-user --net sh -c '{PREPARE}'")) {
        // Not eprintln: the test harness would capture it.
        let _ = writeln!(std::io::stderr(), "SKIPPED: a network namespace needs unshare and ip: {THIS}");
        return;
    }
    let inside = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(env::current_exe().expect("this binary has a path"))
        .args(["--exact", THIS, "--nocapture"])
        .env(INSIDE_NAMESPACE, "1")
        .output()
        .expect("unshare can be started");
    let output =
        [inside.stdout, inside.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(inside.status.success() && output.contains("1 passed"), "{output}");
}

async fn vanish() {
    let world = World::on_sqlite();
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let stream = server.stream(&app, "").await;
    let _lost_socket = connect_from_lost(&server, &app, "/ws", UPGRADE).await;
    let _lost_stream = connect_from_lost(&server, &app, "/api/events/stream", "").await;
    listeners_become(&server, 2.0, 2.0).await;

    assert!(shell(VANISH), "the address can be lost");
    socket.stays_idle_until(listeners_become(&server, 1.0, 1.0)).await;
    let closed = server.metrics().await.sum("cti_ws_sessions_closed_total", &["reason=\"silent\""]);
    assert_eq!(closed, 1.0, "the WebSocket was detected by its pings");
    drop((stream, socket, server));
    world.finish().await;
}

async fn connect_from_lost(server: &TestServer, app: &App, path: &str, headers: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.bind(format!("{LOST_ADDRESS}:0").parse().expect("an address")).expect("the address is ours");
    shake_hands(socket, server, app, path, headers).await
}

async fn listeners_become(server: &TestServer, sockets: f64, streams: f64) {
    within(DETECTION_TIMEOUT, &format!("{sockets} sockets and {streams} streams"), async || {
        let metrics = server.metrics().await;
        let count =
            |transport: &str| metrics.sum("cti_feed_listeners", &[&format!("transport=\"{transport}\"")]);
        (count("websocket") == sockets && count("stream") == streams).then_some(())
    })
    .await;
}
