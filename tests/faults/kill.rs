//! `kill -9` in the middle of a burst, repeatedly, on the same database.

use serde_json::Value;

use crate::{
    burst::{Burst, CALL_EVENTS},
    support::{App, Call, Received, TestServer, World, assert_contiguous, eventually},
};

on_both_databases![
    every_acknowledged_event_is_delivered_exactly_once_through_kills,
    a_client_that_reconnects_after_a_kill_misses_nothing,
    the_last_webhook_acknowledged_before_a_kill_is_delivered,
];

const ROUNDS: usize = 3;
const SENDERS: usize = 24;

/// How many webhooks are acknowledged before each kill.
const KILL_AFTER: [usize; ROUNDS] = [150, 333, 61];

async fn every_acknowledged_event_is_delivered_exactly_once_through_kills(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut bursts: Vec<Burst> = Vec::new();
    for (round, kill_after) in (0_i64..).zip(KILL_AFTER) {
        let burst = Burst::from_call(1_000_000 * (round + 1));
        burst_and_kill(&burst, &mut server, &app, kill_after).await;
        bursts.push(burst);
        // The next burst starts while the server still processes the rest of the last one.
        server = world.start().await;
    }
    eventually("everything acknowledged is in the feed", async || {
        let feed = server.feed(&app).await;
        let is_delivered =
            |burst: &Burst| burst.calls.borrow().iter().all(|progress| progress.is_delivered(&feed));
        bursts.iter().all(is_delivered).then_some(())
    })
    .await;
    assert_delivered(&server.feed(&app).await, &bursts);

    // Webhooks without an answer are sent again, as Dialpad does.
    let mut webhooks = 0;
    for burst in &bursts {
        burst.finish(&server, &app).await;
        webhooks += burst.calls.borrow().len() * CALL_EVENTS.len();
    }
    let feed = server.wait_for_events(&app, webhooks).await;
    assert_delivered(&feed, &bursts);
}

fn assert_delivered(feed: &[Value], bursts: &[Burst]) {
    assert_contiguous(feed, 0);
    for burst in bursts {
        burst.calls.borrow().iter().for_each(|progress| progress.assert_delivered(feed));
    }
}

async fn burst_and_kill(burst: &Burst, server: &mut TestServer, app: &App, kill_after: usize) {
    let pid = server.process.id();
    let sending = burst.send_all(server, app, SENDERS);
    let killing = async {
        burst.wait_for_acknowledged(kill_after).await;
        let killed =
            tokio::process::Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).status().await;
        assert!(killed.is_ok_and(|status| status.success()), "the server was gone before it was killed");
    };
    tokio::join!(sending, killing);
    server.process.kill();
    let calls = burst.calls.borrow();
    assert!(
        calls.iter().any(|progress| progress.unanswered),
        "no webhook was in flight when the server was killed"
    );
}

async fn a_client_that_reconnects_after_a_kill_misses_nothing(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut received: Vec<Value> = Vec::new();
    let burst = Burst::from_call(1);
    let mut socket = server.listen(&app).await;
    let listening = async {
        while let Received::Message(event) = socket.receive().await {
            received.push(event);
        }
    };
    tokio::join!(burst_and_kill(&burst, &mut server, &app, 200), listening);
    let server = world.start().await;
    burst.finish(&server, &app).await;
    let total = burst.calls.borrow().len() * CALL_EVENTS.len();
    let mut socket = server.subscribe(&app, &format!("?after={}", received.len())).await;
    received.extend(socket.events(total - received.len()).await);
    assert_contiguous(&received, 0);
    assert_delivered(&received, &[burst]);
    assert_eq!(server.feed(&app).await, received, "events received before the kill are unchanged after it");
}

async fn the_last_webhook_acknowledged_before_a_kill_is_delivered(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    for id in 1..=5 {
        server.webhook(&app, &Call::new(id).ring(0)).await;
        server.process.kill();
        server = world.start().await;
    }
    assert_contiguous(&server.wait_for_events(&app, 5).await, 0);
}
