//! A client that vanishes without closing its connection is detected within 25 s: on a quiet WebSocket by pings, on a
//! quiet event stream by the kernel.

use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

use super::frozen_client::{UPGRADE, shake_hands};
use crate::{
    network::{self, Address},
    support::{App, TestServer, World, within},
};

const THIS: &str = "half_open::a_vanished_client_is_detected_in_25_s";
/// 25 s, plus time to observe it on a busy machine.
const DETECTION_TIMEOUT: Duration = Duration::from_secs(27);
/// The address of the clients that vanish.
const LOST: Address = Address("10.99.99.99");

#[tokio::test]
async fn a_vanished_client_is_detected_in_25_s() {
    if network::is_own(THIS, false) {
        LOST.take();
        Box::pin(vanish()).await;
    }
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

    LOST.lose();
    socket.stays_idle_until(listeners_become(&server, 1.0, 1.0)).await;
    let closed = server.metrics().await.sum("cti_ws_sessions_closed_total", &["reason=\"silent\""]);
    assert_eq!(closed, 1.0, "the WebSocket was detected by its pings");
    drop((stream, socket, server));
    world.finish().await;
}

async fn connect_from_lost(server: &TestServer, app: &App, path: &str, headers: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.bind(format!("{}:0", LOST.0).parse().expect("an address")).expect("the address is ours");
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
