//! A planned stop: nobody is left hanging, and nothing is lost.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Ask, Call, Received, World, assert_contiguous, kinds};

on_both_databases![
    sockets_are_asked_to_come_back_before_the_server_ends,
    a_server_without_work_ends_at_once,
    what_was_acknowledged_before_the_stop_is_emitted_after_it,
];

const STOP_WITHIN: Duration = Duration::from_secs(12);

async fn sockets_are_asked_to_come_back_before_the_server_ends(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut sockets = [server.listen(&app).await, server.listen(&app).await];
    server.process.terminate();
    for socket in &mut sockets {
        let reconnect = socket.expect("reconnect").await;
        assert!(reconnect["after_ms"].as_u64().is_some(), "{reconnect:#}");
        assert_eq!(socket.receive().await, Received::Closed(Some(1001)));
    }
    server.process.exit_cleanly(STOP_WITHIN).await;
}

async fn a_server_without_work_ends_at_once(world: World) {
    let mut server = world.start().await;
    server.get("/health").answer().await.ok();
    server.process.stop(STOP_WITHIN).await;
}

async fn what_was_acknowledged_before_the_stop_is_emitted_after_it(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let lives: Vec<[Value; 5]> = (1..=30).map(|id| Call::new(id).life()).collect();
    futures_util::future::join_all(lives.iter().map(|life| server.webhooks(&app, life))).await;
    server.process.stop(STOP_WITHIN).await;

    let server = world.start().await;
    let feed = server.wait_for_events(&app, 150).await;
    assert_contiguous(&feed, 0);
    assert_eq!(kinds(&feed).iter().filter(|kind| **kind == "call.ended").count(), 30);
}
