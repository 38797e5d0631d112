//! Feeds that start with a snapshot of the active calls.

use cti_client::{CursorStore, Feed, FileCursor, InvalidSubscription, Item, Snapshot, Subscription};

use crate::scripted::{Connection, connected, event, next_item, requests, ring, server, subscription};

fn part(seq: u64, calls: &[u64], complete: bool) -> String {
    let calls: Vec<String> = calls
        .iter()
        .map(|id| format!(r#"{{"id":"018c","dialpad_call_id":{id},"call_id":{id},"status":"active"}}"#))
        .collect();
    let calls = calls.join(",");
    format!(r#"{{"type":"snapshot","seq":{seq},"calls":[{calls}],"complete":{complete}}}"#)
}

async fn snapshot(feed: &mut Feed) -> Snapshot {
    match next_item(feed).await {
        Ok(Item::Snapshot(snapshot)) => snapshot,
        other => panic!("no snapshot: {other:?}"),
    }
}

fn ids(snapshot: &Snapshot) -> Vec<i64> {
    snapshot.calls.iter().map(|call| call.call.dialpad_call_id).collect()
}

fn opened(subscription: Subscription) -> Feed {
    subscription.with_snapshot().open().expect("valid options")
}

const FIRST_REQUEST: &str = "/ws?snapshot=true";

#[tokio::test]
async fn the_snapshot_is_complete_and_the_events_after_it_follow() {
    let (url, served) = server(vec![
        Connection::Send(vec![connected(41), part(41, &[1, 2], false), part(41, &[3], true), ring(42)]),
        Connection::Send(vec![connected(43), ring(42), ring(43)]),
    ])
    .await;
    let mut feed = opened(subscription(&url));
    let snapshot = snapshot(&mut feed).await;
    assert_eq!((snapshot.seq, ids(&snapshot)), (41, vec![1, 2, 3]));
    assert_eq!((event(&mut feed).await.seq, event(&mut feed).await.seq), (42, 43));
    assert_eq!(requests(served).await, [FIRST_REQUEST, "/ws?after=42"]);
}

#[tokio::test]
async fn an_incomplete_snapshot_is_requested_again_and_not_delivered() {
    let (url, served) = server(vec![
        Connection::Send(vec![connected(41)]),
        Connection::Send(vec![connected(41), part(41, &[1, 2], false)]),
        Connection::Send(vec![connected(50), part(50, &[2, 9], true)]),
        Connection::Send(vec![connected(51), ring(51)]),
    ])
    .await;
    let mut feed = opened(subscription(&url));
    let snapshot = snapshot(&mut feed).await;
    assert_eq!((snapshot.seq, ids(&snapshot)), (50, vec![2, 9]));
    assert_eq!(event(&mut feed).await.seq, 51);
    assert_eq!(requests(served).await, [FIRST_REQUEST, FIRST_REQUEST, FIRST_REQUEST, "/ws?after=50"]);
}

#[tokio::test]
async fn the_next_process_gets_no_snapshot_once_it_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let cursor = FileCursor::new(folder.path().join("cursor"));
    let script = || vec![Connection::Send(vec![connected(0), part(0, &[], true)])];
    for acknowledges in [false, true] {
        let (url, served) = server(script()).await;
        let mut feed = opened(subscription(&url).cursor_store(cursor.clone()));
        assert_eq!(snapshot(&mut feed).await.calls, []);
        assert_eq!(cursor.load().await.expect("readable"), None, "it is not acknowledged");
        if acknowledges {
            feed.ack(0).await.expect("saved");
        }
        feed.close().await;
        assert_eq!(requests(served).await, [FIRST_REQUEST]);
    }
    let (url, served) = server(vec![Connection::Send(vec![connected(1), ring(1)])]).await;
    let mut feed = opened(subscription(&url).cursor_store(cursor.clone()));
    assert_eq!(event(&mut feed).await.seq, 1);
    assert_eq!(requests(served).await, ["/ws?after=0"]);

    // `from_now` ignores the cursor.
    let (url, served) = server(script()).await;
    let mut feed = opened(subscription(&url).cursor_store(cursor).from_now());
    snapshot(&mut feed).await;
    assert_eq!(requests(served).await, [FIRST_REQUEST]);
}

#[tokio::test]
async fn an_expired_cursor_is_a_gap_without_a_snapshot() {
    let folder = tempfile::tempdir().expect("a folder");
    let cursor = FileCursor::new(folder.path().join("cursor"));
    cursor.save(2.into()).await.expect("saved");
    let gap =
        r#"{"type":"gap","reason":"expired","from_seq":3,"to_seq":8,"oldest_seq":9,"seq":20}"#.to_owned();
    let (url, served) = server(vec![Connection::Send(vec![connected(20), gap, ring(9)])]).await;
    let mut feed = opened(subscription(&url).cursor_store(cursor));
    assert!(matches!(next_item(&mut feed).await, Ok(Item::Gap(gap)) if gap.resume_after() == 8));
    assert_eq!(event(&mut feed).await.seq, 9);
    assert_eq!(requests(served).await, ["/ws?after=2"]);
}

#[tokio::test]
async fn conflicting_options_are_refused_without_a_request() {
    let refused = |subscription: Subscription| subscription.open().err().expect("it is refused");
    let with_snapshot = || subscription("http://127.0.0.1:1").with_snapshot();
    assert_eq!(refused(with_snapshot().after(0)), InvalidSubscription::SnapshotWithAfter);
    assert!(refused(with_snapshot().after(0)).to_string().contains("`after`"));
    for of_consumer in [with_snapshot().consumer("crm"), with_snapshot().shared_consumer("crm")] {
        let error = refused(of_consumer);
        assert_eq!(error, InvalidSubscription::SnapshotWithConsumer);
        assert!(error.to_string().contains("consumer"), "{error}");
    }
    for name in ["after", "snapshot", "consumer", "mode", "ids"] {
        let error = refused(subscription("http://127.0.0.1:1").parameter(name, "1"));
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
    }
}
