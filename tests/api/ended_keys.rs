//! A revoked key closes the sessions that it opened, whichever process revoked it.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::support::{App, Ask, Call, Shows, TestServer, World, eventually};

on_both_databases![a_key_in_its_grace_closes_what_it_opened_when_that_is_over];

// Servers that share a database: on SQLite a second one is refused.
on_postgres![
    a_key_that_another_process_ended_closes_what_it_opened,
    an_app_that_another_process_switched_off_is_closed_here,
    what_another_process_tells_is_heard
];

/// Two seconds are promised; a busy machine may need a little longer.
const SOON: Duration = Duration::from_secs(4);

async fn a_key_that_another_process_ended_closes_what_it_opened(world: World) {
    let (here, there) = (world.start().await, world.start().await);
    let app = there.create_app("CRM").await;
    closed_soon(&here, &app, (401, "INVALID_API_KEY"), async || {
        there.rotate_key(&app, None).await;
    })
    .await;
}

async fn an_app_that_another_process_switched_off_is_closed_here(world: World) {
    let (here, there) = (world.start().await, world.start().await);
    let app = there.create_app("CRM").await;
    closed_soon(&here, &app, (403, "APP_INACTIVE"), async || {
        let path = format!("/internal/apps/{}", app.id);
        let switch = there.request(Method::PATCH, &path).by_admin().json(&json!({"is_active": false}));
        switch.answer().await.ok();
    })
    .await;
}

async fn a_key_in_its_grace_closes_what_it_opened_when_that_is_over(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    closed_soon(&server, &app, (401, "INVALID_API_KEY"), async || {
        server.rotate_key(&app, Some(1)).await;
    })
    .await;
}

async fn closed_soon(server: &TestServer, app: &App, then: (u16, &str), end: impl AsyncFnOnce()) {
    let mut socket = server.listen(app).await;
    let mut stream = server.stream(app, "").await;
    let polling = server.get("/api/events?wait=15").by(app).answer();
    let ending = async {
        eventually("the poll waits", async || {
            let waiting = server.metrics().await.sum("cti_feed_listeners", &["transport=\"poll\""]);
            (waiting == 1.0).then_some(())
        })
        .await;
        end().await;
        Instant::now()
    };
    let (poll, ended_at) = tokio::join!(polling, ending);
    poll.refuses(then.0, then.1);
    assert_eq!(socket.close_code().await, Some(4403));
    stream
        .remaining_messages()
        .await
        .last()
        .expect("last words")
        .shows(json!({"type": "closed", "code": 4403}));
    assert!(ended_at.elapsed() < SOON, "it took {:?}", ended_at.elapsed());
}

async fn what_another_process_tells_is_heard(world: World) {
    let (here, there) = (world.start().await, world.start().await);
    let app = there.create_app("CRM").await;
    let mut socket = here.listen(&app).await;
    let mut stream = here.stream(&app, "").await;
    there.webhooks(&app, &Call::new(1).life()).await;
    let whole = there.wait_for_events(&app, 5).await;
    assert_eq!(socket.events(5).await, whole);
    assert_eq!(stream.events(5).await, whole);
}
