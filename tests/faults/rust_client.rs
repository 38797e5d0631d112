//! The Rust client of a CRM while its server is killed in the middle of a burst, again and again.

use std::{sync::Mutex, time::Duration};

use cti_client::{Event, Feed, FileCursor, Heard, Pace, Subscription};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    burst::{Burst, LIFE},
    support::{App, PATIENCE, World, assert_contiguous, free_port},
};

on_both_databases![a_rust_client_misses_nothing_and_hears_nothing_twice];

const SENDERS: usize = 16;
const KILL_AFTER: [usize; 3] = [120, 300, 75];

async fn a_rust_client_misses_nothing_and_hears_nothing_twice(world: World) {
    // A client comes back to where the server was.
    let world = world.with("PORT", &free_port());
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let cursor = FileCursor::new(world.folder().join("crm.cursor"));
    let mut feed = follow(&server.base_url, &app, &cursor);
    let heard: Mutex<Vec<Event>> = Mutex::default();
    let mut bursts: Vec<Burst> = Vec::new();

    for (round, kill_after) in (0_i64..).zip(KILL_AFTER) {
        let burst = Burst::from_call(1_000_000 * (round + 1));
        let pid = server.process.id();
        let killing = async {
            burst.until_acknowledged(kill_after).await;
            let killed =
                tokio::process::Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).status().await;
            assert!(killed.is_ok_and(|status| status.success()), "the server was gone before it was killed");
        };
        tokio::select! {
            _ = async { tokio::join!(burst.rage(&server, &app, SENDERS), killing) } => {}
            () = listen(&mut feed, &heard) => {}
        }
        server.process.kill();
        bursts.push(burst);
        server = world.start().await;
        if round == 1 {
            // The CRM itself begins anew, too; what it has not said to be done would come again. In the other rounds it
            // is the feed that comes back.
            let last = heard.lock().expect("nobody panics").last().map(|event| event.seq);
            feed.done(last.expect("something was heard")).await.expect("the cursor can be kept");
            feed.close().await;
            feed = follow(&server.base_url, &app, &cursor);
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
    timeout(PATIENCE, everything).await.unwrap_or_else(|_| {
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

fn follow(base_url: &str, app: &App, cursor: &FileCursor) -> Feed {
    let pace = Pace { base: Duration::from_millis(50), cap: Duration::from_millis(500), ..Pace::default() };
    let subscription = Subscription::new(base_url, app.key.as_str()).expect("an address").pace(pace);
    let subscription = subscription.keep_cursor_in(cursor.clone());
    if cursor.path().exists() { subscription.open() } else { subscription.after(0).open() }
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
        Some(Ok(Heard::Event(event))) => {
            let seq = event.seq;
            heard.lock().expect("nobody panics").push(*event);
            feed.done(seq).await.expect("the cursor can be kept");
        }
        other => panic!("no event: {other:?}"),
    }
}
