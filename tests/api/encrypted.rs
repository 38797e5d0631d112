//! The feed over `wss`, as the Rust client hears it that `cti-server listen` is made of.

use serde_json::Value;

use crate::support::{
    App, Call, Process, TestServer, TlsProxy, World, assert_contiguous, eventually, free_port, kinds,
};

on_both_databases![an_encrypted_feed_goes_on_when_its_server_comes_back];

on_sqlite![whom_nobody_vouches_for_is_not_given_the_key,];

/// Listens through the proxy, from the beginning.
fn listen(world: &World, app: &App, proxy: &TlsProxy) -> Process {
    let state = world.folder().join("state").display().to_string();
    let world = world.clone().with("CTI_API_KEY", &app.key).with("XDG_STATE_HOME", &state);
    let args = ["listen", "--url", &proxy.base_url, "--json", "--after", "0"];
    Process::spawn("cti-server listen", &mut world.command(&args))
}

async fn prints(listening: &Process, count: usize) -> Vec<Value> {
    eventually(&format!("{count} events are printed"), async || {
        let events: Vec<Value> =
            listening.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (events.len() >= count).then_some(events)
    })
    .await
}

async fn an_encrypted_feed_goes_on_when_its_server_comes_back(world: World) {
    let world = world.with("PORT", &free_port());
    let mut server: TestServer = world.start().await;
    let app = server.create_app("CRM").await;
    let proxy = TlsProxy::before(&server, world.folder()).await;
    let trusting = world.clone().with("SSL_CERT_FILE", &proxy.certificate.display().to_string());
    let listening = listen(&trusting, &app, &proxy);
    server.webhooks(&app, &Call::new(1).life()).await;
    prints(&listening, 5).await;

    server.process.kill();
    let server = world.start().await;
    server.webhooks(&app, &Call::new(2).life()).await;
    let heard = prints(&listening, 10).await;
    assert_contiguous(&heard, 0);
    assert_eq!(kinds(&heard)[5..], ["call.ring", "call.started", "call.held", "call.resumed", "call.ended"]);
}

async fn whom_nobody_vouches_for_is_not_given_the_key(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let proxy = TlsProxy::before(&server, world.folder()).await;
    let mut listening = listen(&world, &app, &proxy);
    let refused = |line: &str| (line.contains("can't connect") && line.contains("certificate")).then_some(());
    listening.wait_for_line("that the certificate is not trusted", refused).await;
    assert_eq!(server.metrics().await.sum("cti_ws_sessions_closed_total", &[]), 0.0);
}
