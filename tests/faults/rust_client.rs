//! The Rust client while its server is killed in the middle of a burst, repeatedly.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use cti_client::{Backoff, Event, Feed, FileCursor, Item, Subscription};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    burst::{Burst, CALL_EVENTS},
    support::{App, Ask, TestServer, WAIT_TIMEOUT, World, assert_contiguous, eventually, free_port},
};

on_both_databases![
    a_rust_client_misses_nothing_and_gets_nothing_twice,
    a_named_consumer_misses_nothing_and_gets_nothing_twice,
    connections_that_share_a_consumer_miss_nothing,
];

const SENDERS: usize = 16;
const KILL_AFTER: [usize; 3] = [120, 300, 75];

async fn a_rust_client_misses_nothing_and_gets_nothing_twice(world: World) {
    let cursor = FileCursor::new(world.folder().join("crm.cursor"));
    follow_through_kills(world, |subscription| subscription.cursor_store(cursor.clone())).await;
}

async fn a_named_consumer_misses_nothing_and_gets_nothing_twice(world: World) {
    follow_through_kills(world, |subscription| subscription.consumer("crm")).await;
}

/// Follows the feed through kills; `with_cursor` sets where the cursor is kept.
async fn follow_through_kills(world: World, with_cursor: impl Fn(Subscription) -> Subscription) {
    // A fixed port: the client reconnects to the same address.
    let world = world.with("PORT", &free_port());
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut feed = with_cursor(subscribe(&server.base_url, &app)).after(0).open().expect("valid options");
    let received: Mutex<Vec<Event>> = Mutex::default();
    let mut bursts: Vec<Burst> = Vec::new();

    for (round, kill_after) in (0_i64..).zip(KILL_AFTER) {
        let burst = Burst::from_call(1_000_000 * (round + 1));
        tokio::select! {
            () = burst_until_killed(&burst, &server, &app, kill_after) => {}
            () = listen(&mut feed, &received) => {}
        }
        server.process.kill();
        bursts.push(burst);
        server = world.start().await;
        if round == 1 {
            // The CRM restarts, too; events it has not acknowledged would come again. In the other rounds only the
            // connection is lost.
            let last = received.lock().expect("no holder panics").last().map(|event| event.seq);
            let last = last.expect("something was received");
            feed.ack(last).await.expect("the cursor can be kept");
            wait_for_acknowledgement(&server, &app, last).await;
            feed.close().await;
            feed = with_cursor(subscribe(&server.base_url, &app)).open().expect("valid options");
        }
    }
    for burst in &bursts {
        burst.finish(&server, &app).await;
    }
    let webhooks: usize = bursts.iter().map(|burst| burst.calls.borrow().len() * CALL_EVENTS.len()).sum();
    let everything = async {
        while received.lock().expect("no holder panics").len() < webhooks {
            take(&mut feed, &received).await;
        }
    };
    timeout(WAIT_TIMEOUT, everything).await.unwrap_or_else(|_| {
        panic!("{} of {webhooks} events were received", received.lock().expect("no holder panics").len())
    });
    feed.close().await;

    let received: Vec<Value> = received
        .into_inner()
        .expect("no holder panics")
        .iter()
        .map(|event| serde_json::from_str(&event.json).expect("an event"))
        .collect();
    assert_contiguous(&received, 0);
    for burst in &bursts {
        burst.calls.borrow().iter().for_each(|progress| progress.assert_delivered(&received));
    }
    assert_eq!(server.feed(&app).await, received);
}

/// Waits until the server has stored the acknowledgement of a consumer: the connection may just be reconnecting.
async fn wait_for_acknowledgement(server: &TestServer, app: &App, seq: u64) {
    eventually("the last acknowledgement has arrived", async || {
        let consumers = server.get("/api/consumers").by(app).answer().await.list();
        consumers.iter().all(|consumer| consumer["acked_seq"] == seq).then_some(())
    })
    .await;
}

/// Sends a burst and kills the server after `kill_after` acknowledgements.
pub(crate) async fn burst_until_killed(burst: &Burst, server: &TestServer, app: &App, kill_after: usize) {
    let kill = format!("kill -9 {}", server.process.id());
    let killing = async {
        burst.wait_for_acknowledged(kill_after).await;
        let killed = tokio::process::Command::new("sh").args(["-c", &kill]).status().await;
        assert!(killed.is_ok_and(|status| status.success()), "the server was gone before it was killed");
    };
    tokio::join!(burst.send_all(server, app, SENDERS), killing);
}

pub(crate) fn subscribe(base_url: &str, app: &App) -> Subscription {
    let backoff =
        Backoff { initial: Duration::from_millis(50), max: Duration::from_millis(500), ..Backoff::default() };
    Subscription::new(base_url, app.key.as_str()).expect("an address").backoff(backoff)
}

/// Two connections share a consumer: events that one received and could not acknowledge before the server died go to
/// either and may come twice, with the same `event_id`. Nothing is lost, and each receives a call's events in order.
async fn connections_that_share_a_consumer_miss_nothing(world: World) {
    let world = world.with("PORT", &free_port());
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let open =
        || subscribe(&server.base_url, &app).shared_consumer("crm").after(0).open().expect("valid options");
    let (mut first, mut second) = (open(), open());
    let (ours, theirs): (Mutex<Vec<Event>>, Mutex<Vec<Event>>) = Default::default();
    let mut bursts: Vec<Burst> = Vec::new();

    for (round, kill_after) in (0_i64..).zip(KILL_AFTER) {
        let burst = Burst::from_call(1_000_000 * (round + 1));
        tokio::select! {
            () = burst_until_killed(&burst, &server, &app, kill_after) => {}
            ((), ()) = async { tokio::join!(listen(&mut first, &ours), listen(&mut second, &theirs)) } => {}
        }
        server.process.kill();
        bursts.push(burst);
        server = world.start().await;
    }
    for burst in &bursts {
        burst.finish(&server, &app).await;
    }
    let events = server.feed(&app).await;
    let everything = async {
        loop {
            let received =
                [&ours, &theirs].map(|received| received.lock().expect("no holder panics").clone()).concat();
            let seqs: BTreeSet<u64> = received.iter().map(|event| event.seq).collect();
            if seqs.len() == events.len() {
                return;
            }
            tokio::select! {
                () = take(&mut first, &ours) => {}
                () = take(&mut second, &theirs) => {}
            }
        }
    };
    timeout(2 * WAIT_TIMEOUT, everything).await.expect("every event is received by one of them");
    for received in [ours, theirs] {
        let received = received.into_inner().expect("no holder panics");
        assert!(!received.is_empty(), "one of them received nothing");
        let ids: BTreeSet<&str> = received.iter().map(|event| event.event_id.as_str()).collect();
        assert_eq!(ids.len(), received.len(), "one of them received an event twice");
    }
    let acked = async || server.get("/api/consumers/crm").by(&app).answer().await.ok()["acked_seq"].clone();
    eventually("all is acknowledged", async || (acked().await == events.len()).then_some(())).await;
    first.close().await;
    second.close().await;
}

/// Handles events until it is cancelled.
async fn listen(feed: &mut Feed, received: &Mutex<Vec<Event>>) {
    loop {
        take(feed, received).await;
    }
}

/// Handles one event.
async fn take(feed: &mut Feed, received: &Mutex<Vec<Event>>) {
    match feed.next().await {
        Some(Ok(Item::Event(event))) => {
            let seq = event.seq;
            received.lock().expect("no holder panics").push(*event);
            feed.ack(seq).await.expect("the cursor can be kept");
        }
        other => panic!("no event: {other:?}"),
    }
}
