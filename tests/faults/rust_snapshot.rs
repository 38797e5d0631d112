//! The Rust client begins with a snapshot in the middle of a burst, and its server is killed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cti_client::{CursorStore, Feed, FileCursor, Item, Notice, Snapshot, Subscription};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    burst::{Burst, CALL_EVENTS},
    rust_client::{burst_until_killed, subscribe},
    support::{
        App, Ask, Call, TestServer, WAIT_TIMEOUT, World, assert_contiguous, eventually, free_port, kinds,
        of_call,
    },
};

on_both_databases![
    a_client_begins_with_a_snapshot_and_continues_after_it,
    an_expired_cursor_is_a_gap_and_brings_no_snapshot,
];

/// How many webhooks are acknowledged before the CRM connects, and before the server is killed.
const CONNECT_AFTER: usize = 100;
const KILL_AFTER: usize = 300;

/// What a CRM has received.
#[derive(Default)]
struct Crm {
    snapshots: Vec<Snapshot>,
    events: Vec<Value>,
    /// The cursor with which each of its connections started.
    resumed: Arc<Mutex<Vec<Option<u64>>>>,
}

impl Crm {
    /// Opens a feed with a snapshot and a cursor in a file.
    fn follow(&self, server: &TestServer, app: &App, cursor: &FileCursor) -> Feed {
        let resumed = Arc::clone(&self.resumed);
        let observer = move |notice| {
            if let Notice::Connected { after, .. } = notice {
                unpoisoned(&resumed).push(after);
            }
        };
        let subscription: Subscription = subscribe(&server.base_url, app).with_snapshot();
        subscription.cursor_store(cursor.clone()).on_notice(observer).open().expect("valid options")
    }

    /// Handles the next item.
    async fn take(&mut self, feed: &mut Feed) {
        let seq = match feed.next().await {
            Some(Ok(Item::Event(event))) => {
                self.events.push(serde_json::from_str(&event.json).expect("an event"));
                event.seq
            }
            Some(Ok(Item::Snapshot(snapshot))) => {
                assert!(self.events.is_empty(), "the snapshot comes first");
                let seq = snapshot.seq;
                self.snapshots.push(snapshot);
                seq
            }
            other => panic!("neither a snapshot nor an event: {other:?}"),
        };
        feed.ack(seq).await.expect("the cursor can be kept");
    }

    async fn take_up_to(&mut self, last: &Value, feed: &mut Feed) {
        while self.events.last().is_none_or(|event| event["seq"] != last["seq"]) {
            timeout(WAIT_TIMEOUT, self.take(feed)).await.expect("there is more to come");
        }
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the active calls and their status after these events.
fn active_after(events: &[Value]) -> BTreeMap<i64, String> {
    let mut active = BTreeMap::new();
    for event in events {
        let id = event["dialpad_call_id"].as_i64().expect("an id");
        match event["status"].as_str().expect("a status") {
            "ended" => active.remove(&id),
            status => active.insert(id, status.to_owned()),
        };
    }
    active
}

async fn a_client_begins_with_a_snapshot_and_continues_after_it(world: World) {
    let world = world.with("PORT", &free_port());
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let cursor = FileCursor::new(world.folder().join("crm.cursor"));
    // A call that starts before the client connects and outlasts the server.
    let before = Call::new(1);
    let life = before.life();
    server.webhooks(&app, &life[..2]).await;
    server.wait_for_events(&app, 2).await;

    let (mut crm, burst) = (Crm::default(), Burst::from_call(1_000_000));
    let mut feed = None;
    let following = async {
        burst.wait_for_acknowledged(CONNECT_AFTER).await;
        let feed = feed.insert(crm.follow(&server, &app, &cursor));
        loop {
            crm.take(feed).await;
        }
    };
    tokio::select! {
        () = burst_until_killed(&burst, &server, &app, KILL_AFTER) => {}
        () = following => {}
    }
    let mut feed = feed.expect("it connected before the server was killed");
    server.process.kill();
    server = world.start().await;
    burst.finish(&server, &app).await;
    server.webhooks(&app, &life[2..]).await;
    let webhooks = burst.calls.borrow().len() * CALL_EVENTS.len() + life.len();
    let events = server.wait_for_events(&app, webhooks).await;
    crm.take_up_to(&events[events.len() - 1], &mut feed).await;
    feed.close().await;

    let [snapshot] = &*crm.snapshots else { panic!("{} snapshots", crm.snapshots.len()) };
    let so_far = usize::try_from(snapshot.seq).expect("a seq");
    assert!((2..events.len()).contains(&so_far), "as of {so_far} of {}", events.len());
    let shown = snapshot.calls.iter().map(|active| {
        let status = active.call.status.as_ref().expect("a status");
        (active.call.dialpad_call_id, status.to_string())
    });
    assert_eq!(shown.collect::<BTreeMap<_, _>>(), active_after(&events[..so_far]), "as of {so_far}");
    assert!(snapshot.calls.len() > 1 && snapshot.calls[0].call.dialpad_call_id == before.id);
    assert_eq!(crm.events, events[so_far..], "everything after the snapshot, each event once");
    assert_eq!(kinds(&of_call(&crm.events, before.id)), ["call.held", "call.resumed", "call.ended"]);
    let resumed = unpoisoned(&crm.resumed).clone();
    assert_eq!(resumed[0], None);
    assert!(resumed.len() > 1 && resumed[1..].iter().all(Option::is_some), "{resumed:?}");

    // The next process resumes from the cursor of this one.
    let mut next = Crm::default();
    let mut feed = next.follow(&server, &app, &cursor);
    server.webhook(&app, &Call::new(2).ring(0)).await;
    timeout(WAIT_TIMEOUT, next.take(&mut feed)).await.expect("the call is delivered");
    assert_eq!(next.snapshots, []);
    assert_contiguous(&next.events, i64::try_from(events.len()).expect("a seq"));
    feed.close().await;
}

async fn an_expired_cursor_is_a_gap_and_brings_no_snapshot(world: World) {
    let world = world.with("RETENTION_EVENTS", "1s").with("RETENTION_INTERVAL", "1s");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let cursor = FileCursor::new(world.folder().join("crm.cursor"));
    cursor.save(1.into()).await.expect("kept");
    server.webhooks(&app, &Call::new(1).life()[..3]).await;
    eventually("the events are removed", async || {
        let page = server.get("/api/events").by(&app).answer().await;
        (page.list().is_empty() && page.header("x-cursor") == Some("3")).then_some(())
    })
    .await;
    let mut feed = Crm::default().follow(&server, &app, &cursor);
    let gap = match timeout(WAIT_TIMEOUT, feed.next()).await.expect("an item") {
        Some(Ok(Item::Gap(gap))) => gap,
        other => panic!("no gap: {other:?}"),
    };
    assert_eq!((gap.reason.as_str(), gap.from_seq, gap.resume_after()), ("expired", 2, 3));
    feed.ack(gap.resume_after()).await.expect("kept");
    server.webhook(&app, &Call::new(1).resumed(50)).await;
    let event = timeout(WAIT_TIMEOUT, feed.next()).await.expect("in time");
    assert!(matches!(event, Some(Ok(Item::Event(event))) if event.seq == 4));
    feed.close().await;
}
