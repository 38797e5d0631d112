//! What processes on one PostgreSQL announce to each other: each delivers what the other has emitted, at once and not only when
//! it looks.

use serde_json::json;

use crate::support::{Ask, Call, TestServer, World, are_announced, assert_contiguous, eventually, seqs};

// Servers that share a database: on SQLite a second one is refused.
on_postgres![
    an_event_reaches_subscribers_at_another_server_at_once,
    a_webhook_at_any_server_is_processed_at_once,
    a_server_that_is_alone_announces_nothing,
    a_listener_whose_connection_was_cut_listens_again_and_nothing_is_missed,
];

on_both_databases![a_server_alone_says_whether_it_hears_others];

/// Waits until two servers know of each other.
async fn hear_each_other(servers: [&TestServer; 2]) {
    for server in servers {
        eventually("the servers hear each other", async || {
            let log = server.process.log();
            let last = log.rfind("has_others=").map(|place| log[place..].starts_with("has_others=true"));
            (last == Some(true)).then_some(())
        })
        .await;
    }
}

async fn sent(server: &TestServer) -> f64 {
    server.metrics().await.sum("cti_notifications_total", &["direction=\"sent\""])
}

async fn an_event_reaches_subscribers_at_another_server_at_once(world: World) {
    let (here, there) = (world.start().await, world.start().await);
    let app = here.create_app("CRM").await;
    hear_each_other([&here, &there]).await;
    let (mut socket, mut stream) = (there.listen(&app).await, there.stream(&app, "").await);
    let mut heard = Vec::new();
    are_announced(async |number| {
        here.webhook(&app, &Call::new(number).ring(0)).await;
        heard.extend(socket.events(1).await);
    })
    .await;
    assert_contiguous(&heard, 0);
    assert_eq!(stream.events(heard.len()).await, heard);
    let path = format!("/api/events?after={}&wait=10", heard.len());
    let poll = there.get(&path).by(&app).answer();
    let ring = Call::new(1000).ring(0);
    let (polled, _) = tokio::join!(poll, here.webhook(&app, &ring));
    assert_eq!(polled.ok(), json!(socket.events(1).await));
    let metrics = there.metrics().await;
    assert!(metrics.sum("cti_notifications_total", &["direction=\"received\""]) > 0.0);
    assert!(metrics.sum("cti_announce_lag_seconds_count", &[]) > 0.0);
}

async fn a_webhook_at_any_server_is_processed_at_once(world: World) {
    let (here, there) = (world.start().await, world.start().await);
    let app = here.create_app("CRM").await;
    hear_each_other([&here, &there]).await;
    // One of the two works on the app.
    let (mut first, mut second) = (here.listen(&app).await, there.listen(&app).await);
    are_announced(async |number| {
        let server = if number % 2 == 0 { &here } else { &there };
        server.webhook(&app, &Call::new(number).ring(0)).await;
        let heard = first.events(1).await;
        assert_eq!(seqs(&heard), [number]);
        assert_eq!(second.events(1).await, heard);
    })
    .await;
}

async fn a_server_that_is_alone_announces_nothing(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.wait_for_events(&app, 5).await;
    server.rotate_key(&app, None).await;
    assert_eq!(sent(&server).await, 0.0);
}

async fn a_listener_whose_connection_was_cut_listens_again_and_nothing_is_missed(world: World) {
    let (here, there) = (world.start().await, world.start().await);
    let app = here.create_app("CRM").await;
    hear_each_other([&here, &there]).await;
    let mut socket = there.listen(&app).await;
    for number in 1..=10 {
        world
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name LIKE 'cti-server listener%'",
            )
            .await;
        here.webhook(&app, &Call::new(number).ring(0)).await;
    }
    assert_eq!(seqs(&socket.events(10).await), (1..=10).collect::<Vec<_>>());
    let mut number = 10;
    eventually("an event comes by an announcement again", async || {
        let before = received(&there).await;
        number += 1;
        here.webhook(&app, &Call::new(number).ring(0)).await;
        assert_eq!(seqs(&socket.events(1).await), [number]);
        (received(&there).await > before).then_some(())
    })
    .await;
}

async fn received(server: &TestServer) -> f64 {
    server.metrics().await.sum("cti_notifications_total", &["direction=\"received\""])
}

async fn a_server_alone_says_whether_it_hears_others(world: World) {
    let server = world.start().await;
    let expected = f64::from(u8::from(world.is_on_postgres()));
    eventually("the listener is connected", async || {
        (server.metrics().await.sum("cti_listener_connected", &[]) == expected).then_some(())
    })
    .await;
}
