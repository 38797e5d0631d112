//! `kill -9` in the middle of a burst, again and again, on the same database.

use serde_json::Value;

use crate::{
    burst::{Burst, LIFE},
    support::{App, Call, Received, TestServer, World, assert_contiguous, eventually},
};

on_both_databases![
    every_acknowledged_event_is_told_exactly_once_whatever_is_killed,
    a_listener_that_comes_back_after_a_kill_misses_nothing,
    what_was_acknowledged_last_before_a_kill_is_told,
];

const ROUNDS: usize = 3;
const SENDERS: usize = 24;

/// How many webhooks are acknowledged before each kill.
const KILL_AFTER: [usize; ROUNDS] = [150, 333, 61];

async fn every_acknowledged_event_is_told_exactly_once_whatever_is_killed(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut bursts: Vec<Burst> = Vec::new();
    for (round, kill_after) in (0_i64..).zip(KILL_AFTER) {
        let burst = Burst::from_call(1_000_000 * (round + 1));
        burst_and_kill(&burst, &mut server, &app, kill_after).await;
        bursts.push(burst);
        // The next burst begins while the server still works off what the last one left.
        server = world.start().await;
    }
    eventually("everything acknowledged is told", async || {
        let feed = server.feed(&app).await;
        let is_told = |burst: &Burst| burst.journeys.borrow().iter().all(|journey| journey.is_told(&feed));
        bursts.iter().all(is_told).then_some(())
    })
    .await;
    assert_told(&server.feed(&app).await, &bursts);

    // What got no answer is sent again, as Dialpad would do.
    let mut webhooks = 0;
    for burst in &bursts {
        burst.finish(&server, &app).await;
        webhooks += burst.journeys.borrow().len() * LIFE.len();
    }
    let feed = server.wait_for_events(&app, webhooks).await;
    assert_told(&feed, &bursts);
}

fn assert_told(feed: &[Value], bursts: &[Burst]) {
    assert_contiguous(feed, 0);
    for burst in bursts {
        burst.journeys.borrow().iter().for_each(|journey| journey.assert_told(feed));
    }
}

async fn burst_and_kill(burst: &Burst, server: &mut TestServer, app: &App, kill_after: usize) {
    let pid = server.process.id();
    let sending = burst.send_all(server, app, SENDERS);
    let killing = async {
        burst.until_acknowledged(kill_after).await;
        let killed =
            tokio::process::Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).status().await;
        assert!(killed.is_ok_and(|status| status.success()), "the server was gone before it was killed");
    };
    tokio::join!(sending, killing);
    server.process.kill();
    let journeys = burst.journeys.borrow();
    assert!(
        journeys.iter().any(|journey| journey.in_doubt),
        "nothing was under way when the server was killed"
    );
}

async fn a_listener_that_comes_back_after_a_kill_misses_nothing(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut heard: Vec<Value> = Vec::new();
    let burst = Burst::from_call(1);
    let mut socket = server.listen(&app).await;
    let listening = async {
        while let Received::Message(event) = socket.receive().await {
            heard.push(event);
        }
    };
    tokio::join!(burst_and_kill(&burst, &mut server, &app, 200), listening);
    let server = world.start().await;
    burst.finish(&server, &app).await;
    let total = burst.journeys.borrow().len() * LIFE.len();
    let mut socket = server.subscribe(&app, &format!("?after={}", heard.len())).await;
    heard.extend(socket.events(total - heard.len()).await);
    assert_contiguous(&heard, 0);
    assert_told(&heard, &[burst]);
    assert_eq!(server.feed(&app).await, heard, "what was heard before the kill is what is kept after it");
}

async fn what_was_acknowledged_last_before_a_kill_is_told(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    for id in 1..=5 {
        server.webhook(&app, &Call::new(id).ring(0)).await;
        server.process.kill();
        server = world.start().await;
    }
    assert_contiguous(&server.wait_for_events(&app, 5).await, 0);
}
