//! The database goes away and comes back.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    burst::{Burst, LIFE},
    support::{Ack, App, Ask, Call, Proxy, Shows, TestServer, World, assert_contiguous, eventually, kinds},
};

#[tokio::test]
async fn without_the_database_everybody_gets_an_honest_answer_in_time() {
    let Some((world, proxy)) = behind_a_proxy("without_the_database").await else { return };
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
    eventually("webhooks are taken again", async || {
        let answer = server.post_webhook(&path, &Call::new(1).started(3).to_string()).await;
        (answer.status == 200).then(|| Ack::of(&answer))
    })
    .await;
    assert_eq!(kinds(&server.wait_for_events(&app, 2).await), ["call.ring", "call.started"]);
    eventually("the server is healthy again", async || {
        (server.get("/health").answer().await.status == 200).then_some(())
    })
    .await;
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
    eventually("the log says why", async || {
        let log = server.process.log();
        let line = log.lines().find(|line| line.contains(request_id))?;
        assert!(line.contains("WARN") && line.contains("the database"), "{line}");
        Some(())
    })
    .await;
}

#[tokio::test]
async fn a_listener_goes_on_when_the_database_is_back() {
    let Some((world, proxy)) = behind_a_proxy("a_listener_goes_on").await else { return };
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let [ring, started, held, resumed, ended] = Call::new(1).life();
    server.webhooks(&app, [&ring, &started]).await;
    socket.events(2).await;
    proxy.cut();
    let path = format!("/webhooks/{}", app.id);
    server.post_webhook(&path, &held.to_string()).await.fails_with(503);
    proxy.mend();
    for step in [held, resumed, ended] {
        eventually("a webhook is taken again", async || {
            let answer = server.post_webhook(&path, &step.to_string()).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
    assert_eq!(kinds(&socket.events(3).await), ["call.held", "call.resumed", "call.ended"]);
}

/// Whoever loses the connection at a commit can't know whether it happened.
#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_a_burst_loses_nothing_and_doubles_nothing() {
    let Some((world, proxy)) = behind_a_proxy("a_connection_that_breaks").await else { return };
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let mut total = 0;
    for (round, cut_after) in (1_i64..).zip([120, 45, 260, 80]) {
        let burst = Burst::from_call(round * 1_000_000);
        let cutting = async {
            burst.until_acknowledged(cut_after).await;
            proxy.cut();
        };
        tokio::join!(burst.send_all(&server, &app, 24), cutting);
        proxy.mend();
        eventually("the server is healthy again", async || {
            (server.get("/health").answer().await.status == 200).then_some(())
        })
        .await;
        burst.finish(&server, &app).await;
        total += burst.journeys.borrow().len() * LIFE.len();
        let feed = server.wait_for_events(&app, total).await;
        assert_contiguous(&feed, 0);
        burst.journeys.borrow().iter().for_each(|journey| journey.assert_told(&feed));
    }
    assert_eq!(socket.events(total).await, server.feed(&app).await, "who listened all the time heard it all");
}

/// A world whose PostgreSQL can be taken away.
pub(crate) async fn behind_a_proxy(test: &str) -> Option<(World, Proxy)> {
    let world = World::on_postgres(test).await?;
    let mut url = reqwest::Url::parse(world.setting("DATABASE_URL")).expect("an address");
    let proxy = Proxy::to(url.port().expect("the cluster has a port of its own")).await;
    url.set_port(Some(proxy.port)).expect("a port can be set");
    Some((world.with("DATABASE_URL", url.as_str()), proxy))
}
