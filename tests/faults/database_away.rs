//! PostgreSQL becomes unreachable and comes back.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    burst::{Burst, CALL_EVENTS},
    support::{Ack, App, Ask, Call, Proxy, Shows, TestServer, World, assert_contiguous, eventually, kinds},
};

#[tokio::test]
async fn without_a_spool_requests_and_webhooks_get_a_503_in_time_while_the_database_is_unreachable() {
    let Some((world, proxy)) = behind_a_proxy("without_the_database").await else { return };
    let world = world.with("SPOOL", "off");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    server.wait_for_events(&app, 1).await;

    proxy.cut();
    for attempt in 0..3 {
        unavailable(&server, &app, attempt).await;
    }
    assert_eq!(server.get("/health/live").answer().await.status, 200);
    let health = server.get("/health").answer().await;
    assert_eq!(health.status, 503, "{health}");
    health.json().shows(json!({"status": "unhealthy"}));
    assert_eq!(server.get("/health/ready").answer().await.status, 503);

    proxy.mend();
    let path = format!("/webhooks/{}", app.id);
    eventually("webhooks are accepted again", async || {
        let answer = server.post_webhook(&path, &Call::new(1).started(3).to_string()).await;
        (answer.status == 200).then(|| Ack::of(&answer))
    })
    .await;
    assert_eq!(kinds(&server.wait_for_events(&app, 2).await), ["call.ring", "call.started"]);
    eventually("the server is healthy again", async || {
        (server.get("/health").answer().await.status == 200).then_some(())
    })
    .await;
    // While the proxy is there: the server needs its database to be asked.
    drop(server);
    world.finish().await;
}

async fn unavailable(server: &TestServer, app: &App, attempt: i64) {
    let began = Instant::now();
    let calls = server.get("/api/calls").by(app).answer().await;
    calls.refuses(503, "DATABASE_UNAVAILABLE");
    assert!(calls.header("retry-after").is_some(), "{calls}");
    assert!(began.elapsed() < Duration::from_secs(3), "a CRM waited {:?}", began.elapsed());

    let began = Instant::now();
    let body = Call::new(100 + attempt).ring(0).to_string();
    let webhook = server.post_webhook(&format!("/webhooks/{}", app.id), &body).await;
    let refused = webhook.fails_with(503);
    assert!(webhook.header("retry-after").is_some(), "{webhook}");
    assert!(began.elapsed() < Duration::from_secs(1), "Dialpad waited {:?}", began.elapsed());
    let request_id = refused["request_id"].as_str().expect("every error has one");
    eventually("the cause is logged", async || {
        let log = server.process.log();
        let mut lines = log.lines().filter(|line| line.contains(request_id));
        lines.any(|line| line.contains("WARN") && line.contains("the database")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_websocket_continues_when_the_database_is_back() {
    let Some((world, proxy)) = behind_a_proxy("a_websocket_continues").await else { return };
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let [ring, started, held, resumed, ended] = Call::new(1).life();
    server.webhooks(&app, [&ring, &started]).await;
    socket.events(2).await;
    proxy.cut();
    let path = format!("/webhooks/{}", app.id);
    server.post_webhook(&path, &held.to_string()).await.ok().shows(json!({"status": "spooled"}));
    proxy.mend();
    for step in [resumed, ended] {
        server.post_webhook(&path, &step.to_string()).await.ok();
    }
    assert_eq!(kinds(&socket.events(3).await), ["call.held", "call.resumed", "call.ended"]);
    // While the proxy is there: the server needs its database to be asked.
    drop((socket, server));
    world.finish().await;
}

/// After a connection breaks at a commit, the outcome of the commit is unknown.
#[tokio::test]
async fn a_connection_broken_in_the_middle_of_a_burst_neither_loses_nor_duplicates() {
    let Some((world, proxy)) = behind_a_proxy("a_connection_that_breaks").await else { return };
    // The senders end when they are refused.
    let world = world.with("SPOOL", "off");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let mut received = Vec::new();
    for (round, cut_after) in (1_i64..).zip([120, 45, 260, 80]) {
        let burst = Burst::from_call(round * 1_000_000);
        let cutting = async {
            burst.wait_for_acknowledged(cut_after).await;
            proxy.cut();
        };
        tokio::join!(burst.send_all(&server, &app, 24), cutting);
        proxy.mend();
        eventually("the server is healthy again", async || {
            (server.get("/health").answer().await.status == 200).then_some(())
        })
        .await;
        burst.finish(&server, &app).await;
        let sent = burst.calls.borrow().len() * CALL_EVENTS.len();
        let feed = server.wait_for_events(&app, received.len() + sent).await;
        received.extend(socket.events(sent).await);
        assert_contiguous(&feed, 0);
        burst.calls.borrow().iter().for_each(|progress| progress.assert_delivered(&feed));
    }
    assert_eq!(received, server.feed(&app).await, "the open WebSocket received everything");
    // The server needs its database to stop, so it stops before the proxy does.
    drop((socket, server));
    world.finish().await;
}

/// Returns a world whose PostgreSQL is reached through a proxy that can be cut.
pub(crate) async fn behind_a_proxy(test: &str) -> Option<(World, Proxy)> {
    Some(World::on_postgres(test).await?.behind_a_proxy().await)
}
