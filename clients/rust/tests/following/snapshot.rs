//! A feed that begins with the calls that are not over.

use cti_client::{CursorStore, Feed, FileCursor, Heard, InvalidSubscription, Snapshot, Subscription};

use crate::scripted::{Connection, asked, connected, event, heard, ring, server, subscription};

fn piece(seq: u64, calls: &[u64], complete: bool) -> String {
    let calls: Vec<String> = calls
        .iter()
        .map(|id| format!(r#"{{"id":"018c","dialpad_call_id":{id},"call_id":{id},"status":"active"}}"#))
        .collect();
    let calls = calls.join(",");
    format!(r#"{{"type":"snapshot","seq":{seq},"calls":[{calls}],"complete":{complete}}}"#)
}

async fn snapshot(feed: &mut Feed) -> Snapshot {
    match heard(feed).await {
        Ok(Heard::Snapshot(snapshot)) => snapshot,
        other => panic!("no snapshot: {other:?}"),
    }
}

fn ids(snapshot: &Snapshot) -> Vec<i64> {
    snapshot.calls.iter().map(|call| call.call.dialpad_call_id).collect()
}

fn opened(subscription: Subscription) -> Feed {
    subscription.with_snapshot().open().expect("it goes together")
}

const FROM_NOTHING: &str = "/ws?snapshot=true";

#[tokio::test]
async fn the_calls_come_whole_and_then_the_events_behind_them() {
    let (url, played) = server(vec![
        Connection::Says(vec![connected(41), piece(41, &[1, 2], false), piece(41, &[3], true), ring(42)]),
        Connection::Says(vec![connected(43), ring(42), ring(43)]),
    ])
    .await;
    let mut feed = opened(subscription(&url));
    let snapshot = snapshot(&mut feed).await;
    assert_eq!((snapshot.seq, ids(&snapshot)), (41, vec![1, 2, 3]));
    assert_eq!((event(&mut feed).await.seq, event(&mut feed).await.seq), (42, 43));
    assert_eq!(asked(played).await, [FROM_NOTHING, "/ws?after=42"]);
}

#[tokio::test]
async fn one_that_breaks_off_is_asked_for_anew_and_nobody_sees_half_of_it() {
    let (url, played) = server(vec![
        Connection::Says(vec![connected(41)]),
        Connection::Says(vec![connected(41), piece(41, &[1, 2], false)]),
        Connection::Says(vec![connected(50), piece(50, &[2, 9], true)]),
        Connection::Says(vec![connected(51), ring(51)]),
    ])
    .await;
    let mut feed = opened(subscription(&url));
    let snapshot = snapshot(&mut feed).await;
    assert_eq!((snapshot.seq, ids(&snapshot)), (50, vec![2, 9]));
    assert_eq!(event(&mut feed).await.seq, 51);
    assert_eq!(asked(played).await, [FROM_NOTHING, FROM_NOTHING, FROM_NOTHING, "/ws?after=50"]);
}

#[tokio::test]
async fn the_next_process_is_given_none_once_it_was_dealt_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let cursor = FileCursor::new(folder.path().join("cursor"));
    let script = || vec![Connection::Says(vec![connected(0), piece(0, &[], true)])];
    for deals_with_it in [false, true] {
        let (url, played) = server(script()).await;
        let mut feed = opened(subscription(&url).keep_cursor_in(cursor.clone()));
        assert_eq!(snapshot(&mut feed).await.calls, []);
        assert_eq!(cursor.load().await.expect("readable"), None, "nobody has said that it is done");
        if deals_with_it {
            feed.done(0).await.expect("kept");
        }
        feed.close().await;
        assert_eq!(asked(played).await, [FROM_NOTHING]);
    }
    let (url, played) = server(vec![Connection::Says(vec![connected(1), ring(1)])]).await;
    let mut feed = opened(subscription(&url).keep_cursor_in(cursor.clone()));
    assert_eq!(event(&mut feed).await.seq, 1);
    assert_eq!(asked(played).await, ["/ws?after=0"]);

    // Unless it is to be looked at anew.
    let (url, played) = server(script()).await;
    let mut feed = opened(subscription(&url).keep_cursor_in(cursor).from_now_on());
    snapshot(&mut feed).await;
    assert_eq!(asked(played).await, [FROM_NOTHING]);
}

#[tokio::test]
async fn a_cursor_that_has_expired_is_a_gap_and_brings_no_snapshot() {
    let folder = tempfile::tempdir().expect("a folder");
    let cursor = FileCursor::new(folder.path().join("cursor"));
    cursor.save(2).await.expect("kept");
    let gap =
        r#"{"type":"gap","reason":"expired","from_seq":3,"to_seq":8,"oldest_seq":9,"seq":20}"#.to_owned();
    let (url, played) = server(vec![Connection::Says(vec![connected(20), gap, ring(9)])]).await;
    let mut feed = opened(subscription(&url).keep_cursor_in(cursor));
    assert!(matches!(heard(&mut feed).await, Ok(Heard::Gap(gap)) if gap.go_on_from() == 8));
    assert_eq!(event(&mut feed).await.seq, 9);
    assert_eq!(asked(played).await, ["/ws?after=2"]);
}

#[tokio::test]
async fn what_does_not_go_together_is_refused_before_anybody_is_asked() {
    let refused = |subscription: Subscription| subscription.open().err().expect("it is refused");
    let beginning = || subscription("http://127.0.0.1:1").with_snapshot();
    assert_eq!(refused(beginning().after(0)), InvalidSubscription::SnapshotAfter);
    assert!(refused(beginning().after(0)).to_string().contains("`after`"));
    for of_consumer in [beginning().as_consumer("crm"), beginning().sharing_consumer("crm")] {
        let error = refused(of_consumer);
        assert_eq!(error, InvalidSubscription::SnapshotOfConsumer);
        assert!(error.to_string().contains("consumer"), "{error}");
    }
    for name in ["after", "snapshot", "consumer", "mode", "ids"] {
        let error = refused(subscription("http://127.0.0.1:1").asking(name, "1"));
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
    }
}
