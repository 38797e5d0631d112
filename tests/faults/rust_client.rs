//! The Rust client of a CRM while its server is killed in the middle of a burst, again and again.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use cti_client::{Backoff, Event, Feed, FileCursor, Item, Subscription};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    burst::{Burst, LIFE},
    support::{App, Ask, TestServer, WAIT_TIMEOUT, World, assert_contiguous, eventually, free_port},
};

on_both_databases![
    a_rust_client_misses_nothing_and_hears_nothing_twice,
    a_named_consumer_misses_nothing_and_hears_nothing_twice,
    those_who_share_a_consumer_miss_nothing,
];

const SENDERS: usize = 16;
const KILL_AFTER: [usize; 3] = [120, 300, 75];

async fn a_rust_client_misses_nothing_and_hears_nothing_twice(world: World) {
    let cursor = FileCursor::new(world.folder().join("crm.cursor"));
    follow_through_kills(world, |subscription| subscription.cursor_store(cursor.clone())).await;
}

async fn a_named_consumer_misses_nothing_and_hears_nothing_twice(world: World) {
    follow_through_kills(world, |subscription| subscription.consumer("crm")).await;
}

/// `keep` says who keeps the cursor.
async fn follow_through_kills(world: World, keep: impl Fn(Subscription) -> Subscription) {
    // A client comes back to where the server was.
    let world = world.with("PORT", &free_port());
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut feed = keep(subscribe(&server.base_url, &app)).after(0).open().expect("valid options");
    let heard: Mutex<Vec<Event>> = Mutex::default();
    let mut bursts: Vec<Burst> = Vec::new();

    for (round, kill_after) in (0_i64..).zip(KILL_AFTER) {
        let burst = Burst::from_call(1_000_000 * (round + 1));
        tokio::select! {
            () = burst_until_killed(&burst, &server, &app, kill_after) => {}
            () = listen(&mut feed, &heard) => {}
        }
        server.process.kill();
        bursts.push(burst);
        server = world.start().await;
        if round == 1 {
            // The CRM itself begins anew, too; what it has not said to be done would come again. In the other rounds it
            // is the feed that comes back.
            let last = heard.lock().expect("nobody panics").last().map(|event| event.seq);
            let last = last.expect("something was heard");
            feed.ack(last).await.expect("the cursor can be kept");
            wait_for_acknowledgement(&server, &app, last).await;
            feed.close().await;
            feed = keep(subscribe(&server.base_url, &app)).open().expect("valid options");
        }
    }
    for burst in &bursts {
        burst.finish(&server, &app).await;
    }
    let webhooks: usize = bursts.iter().map(|burst| burst.journeys.borrow().len() * LIFE.len()).sum();
    let everything = async {
        while heard.lock().expect("nobody panics").len() < webhooks {
            take(&mut feed, &heard).await;
        }
    };
    timeout(WAIT_TIMEOUT, everything).await.unwrap_or_else(|_| {
        panic!("{} of {webhooks} events were heard", heard.lock().expect("nobody panics").len())
    });
    feed.close().await;

    let heard: Vec<Value> = heard
        .into_inner()
        .expect("nobody panics")
        .iter()
        .map(|event| serde_json::from_str(&event.json).expect("an event"))
        .collect();
    assert_contiguous(&heard, 0);
    for burst in &bursts {
        burst.journeys.borrow().iter().for_each(|journey| journey.assert_told(&heard));
    }
    assert_eq!(server.feed(&app).await, heard);
}

/// Waits until the server has it, where the server keeps the cursor: the connection may be on its way back just now.
async fn wait_for_acknowledgement(server: &TestServer, app: &App, seq: u64) {
    eventually("the last acknowledgement has arrived", async || {
        let consumers = server.get("/api/consumers").by(app).answer().await.list();
        consumers.iter().all(|consumer| consumer["acked_seq"] == seq).then_some(())
    })
    .await;
}

/// A burst in the middle of which the server is killed, after so many acknowledgements.
pub(crate) async fn burst_until_killed(burst: &Burst, server: &TestServer, app: &App, kill_after: usize) {
    let kill = format!("kill -9 {}", server.process.id());
    let killing = async {
        burst.until_acknowledged(kill_after).await;
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

/// Two that share: what one had and could not acknowledge before the server died goes to either, and may come twice,
/// which `event_id` tells. Nothing is lost, and each hears of a call in its order.
async fn those_who_share_a_consumer_miss_nothing(world: World) {
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
    let told = server.feed(&app).await;
    let everything = async {
        loop {
            let heard = [&ours, &theirs].map(|heard| heard.lock().expect("nobody panics").clone()).concat();
            let seqs: BTreeSet<u64> = heard.iter().map(|event| event.seq).collect();
            if seqs.len() == told.len() {
                return;
            }
            tokio::select! {
                () = take(&mut first, &ours) => {}
                () = take(&mut second, &theirs) => {}
            }
        }
    };
    timeout(2 * WAIT_TIMEOUT, everything).await.expect("everything is heard by one of them");
    for heard in [ours, theirs] {
        let heard = heard.into_inner().expect("nobody panics");
        assert!(!heard.is_empty(), "one of them heard nothing");
        let ids: BTreeSet<&str> = heard.iter().map(|event| event.event_id.as_str()).collect();
        assert_eq!(ids.len(), heard.len(), "one of them heard something twice");
    }
    let acked = async || server.get("/api/consumers/crm").by(&app).answer().await.ok()["acked_seq"].clone();
    eventually("all is acknowledged", async || (acked().await == told.len()).then_some(())).await;
    first.close().await;
    second.close().await;
}

/// Deals with event after event for as long as it is let.
async fn listen(feed: &mut Feed, heard: &Mutex<Vec<Event>>) {
    loop {
        take(feed, heard).await;
    }
}

/// Deals with one event.
async fn take(feed: &mut Feed, heard: &Mutex<Vec<Event>>) {
    match feed.next().await {
        Some(Ok(Item::Event(event))) => {
            let seq = event.seq;
            heard.lock().expect("nobody panics").push(*event);
            feed.ack(seq).await.expect("the cursor can be kept");
        }
        other => panic!("no event: {other:?}"),
    }
}
