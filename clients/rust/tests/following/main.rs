//! A feed against a scripted server, connection after connection.

mod epoch;
mod scripted;
mod snapshot;

use cti_client::{Body, CursorStore, FeedError, FileCursor, Item, Notice};
use tokio::sync::mpsc;

use scripted::{Connection, ack, connected, event, next_item, requests, ring, server, subscription};

#[tokio::test]
async fn a_broken_connection_is_resumed_after_the_last_event() {
    let (url, served) = server(vec![
        Connection::Send(vec![connected(4), ring(5)]),
        Connection::SendThenClose(vec![connected(6), ring(6)], 1001),
        Connection::Send(vec![connected(6), r#"{"type":"reconnect","after_ms":1}"#.to_owned()]),
        Connection::Send(vec![connected(7), ring(7)]),
    ])
    .await;
    let mut feed = subscription(&url).types(["call.*"]).open().expect("valid options");
    for seq in 5..=7 {
        let event = event(&mut feed).await;
        assert_eq!(event.seq, seq);
        assert!(
            matches!(event.body, Body::CallRing(ring) if u64::try_from(ring.call.dialpad_call_id) == Ok(seq))
        );
    }
    let resumed = |seq: u64| format!("/ws?types=call.*&after={seq}");
    assert_eq!(requests(served).await, ["/ws?types=call.*".to_owned(), resumed(5), resumed(6), resumed(6)]);
    feed.close().await;
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_first_event_is_resumed_where_it_started() {
    let (url, served) =
        server(vec![Connection::Send(vec![connected(4)]), Connection::Send(vec![connected(5), ring(5)])])
            .await;
    let mut feed = subscription(&url).open().expect("valid options");
    assert_eq!(event(&mut feed).await.seq, 5);
    assert_eq!(requests(served).await, ["/ws", "/ws?after=4"]);
}

#[tokio::test]
async fn repeated_events_are_delivered_once() {
    let (url, _played) = server(vec![
        Connection::Send(vec![connected(4), ring(5), ring(6)]),
        Connection::Send(vec![connected(7), ring(5), ring(6), ring(7)]),
    ])
    .await;
    let mut feed = subscription(&url).open().expect("valid options");
    for seq in 5..=7 {
        assert_eq!(event(&mut feed).await.seq, seq);
    }
}

#[tokio::test]
async fn the_cursor_is_what_was_acknowledged_and_not_what_was_received() {
    let folder = tempfile::tempdir().expect("a folder");
    let cursor = FileCursor::new(folder.path().join("cursor"));
    let (url, _played) = server(vec![Connection::Send(vec![connected(4), ring(5), ring(6)])]).await;
    let mut feed = subscription(&url).cursor_store(cursor.clone()).open().expect("valid options");
    assert_eq!((event(&mut feed).await.seq, event(&mut feed).await.seq), (5, 6));
    assert_eq!(cursor.load().await.expect("loaded"), Some(4.into()), "where it started");
    feed.ack(5).await.expect("saved");
    assert_eq!(cursor.load().await.expect("saved"), Some(5.into()));
    feed.close().await;

    let (url, served) = server(vec![Connection::Send(vec![connected(6), ring(6)])]).await;
    let mut feed = subscription(&url).cursor_store(cursor.clone()).open().expect("valid options");
    let again = event(&mut feed).await;
    assert_eq!((again.seq, again.event_id.as_str()), (6, "e6"));
    assert_eq!(requests(served).await, ["/ws?after=5"]);
}

#[tokio::test]
async fn skipped_events_move_the_cursor() {
    let folder = tempfile::tempdir().expect("a folder");
    let cursor = FileCursor::new(folder.path().join("cursor"));
    let passed = r#"{"type":"cursor","seq":9}"#.to_owned();
    let (url, served) = server(vec![
        Connection::Send(vec![connected(4), ring(5), passed]),
        Connection::Send(vec![connected(10), ring(10)]),
    ])
    .await;
    let mut feed = subscription(&url).cursor_store(cursor.clone()).open().expect("valid options");
    assert_eq!((event(&mut feed).await.seq, event(&mut feed).await.seq), (5, 10));
    feed.ack(5).await.expect("saved");
    assert_eq!(cursor.load().await.expect("loaded"), Some(5.into()), "event 10 is not acknowledged");
    feed.ack(10).await.expect("saved");
    assert_eq!(cursor.load().await.expect("saved"), Some(10.into()));
    assert_eq!(requests(served).await, ["/ws", "/ws?after=9"]);
}

/// Returns the `connected` message of a named consumer.
fn connected_as(seq: u64, mode: &str, acked: u64) -> String {
    let greeting = connected(seq);
    let consumer = format!(r#","consumer":"crm","mode":"{mode}","acked_seq":{acked}}}"#);
    greeting.replace('}', &consumer)
}

#[tokio::test]
async fn a_consumers_acknowledgement_is_sent_again_if_it_was_lost() {
    let (url, served) = server(vec![
        Connection::SendThenReceive(vec![connected_as(9, "exclusive", 4), ring(5), ring(6)], 6),
        // This server did not receive the acknowledgement.
        Connection::SendThenReceive(vec![connected_as(9, "exclusive", 4), ring(5), ring(6), ring(7)], 7),
    ])
    .await;
    let mut feed = subscription(&url).consumer("crm").after(0).open().expect("valid options");
    for seq in 5..=7 {
        assert_eq!(event(&mut feed).await.seq, seq);
        feed.ack(seq).await.expect("acknowledged");
    }
    let requests = requests(served).await;
    assert!(requests[0].starts_with("/ws?consumer=crm&after=0 "), "{requests:?}");
    assert!(requests[1].starts_with(&format!("/ws?consumer=crm&after=6{}", ack(6))), "{requests:?}");
}

#[tokio::test]
async fn a_shared_consumer_delivers_each_event_once_in_the_order_of_delivery() {
    let (url, served) = server(vec![
        Connection::SendThenReceive(vec![connected_as(60, "share", 0), ring(50), ring(7)], 50),
        Connection::SendThenReceive(vec![connected_as(60, "share", 0), ring(7), ring(50), ring(3)], 3),
    ])
    .await;
    let mut feed = subscription(&url).shared_consumer("crm").open().expect("valid options");
    assert_eq!((event(&mut feed).await.seq, event(&mut feed).await.seq), (50, 7));
    feed.ack(50).await.expect("acknowledged");
    // The connection is cut after that acknowledgement; 7 and 50 are delivered again.
    assert_eq!(event(&mut feed).await.seq, 3);
    feed.ack(3).await.expect("acknowledged");
    let requests = requests(served).await;
    assert_eq!(requests[0], format!("/ws?consumer=crm&mode=share{}", ack(50)));
    assert_eq!(requests.len(), 2);
}

#[tokio::test]
async fn a_consumer_that_was_taken_over_does_not_reconnect() {
    let greeting = connected_as(4, "exclusive", 4);
    let (url, _played) =
        server(vec![Connection::SendThenClose(vec![greeting, ring(5), ring(6)], 4409)]).await;
    let (sender, mut notices) = mpsc::unbounded_channel();
    let observer = move |notice: Notice| sender.send(notice).expect("the test listens");
    let mut feed = subscription(&url).consumer("crm").on_notice(observer).open().expect("valid options");
    assert!(matches!(notices.recv().await, Some(Notice::Connected { .. })));
    assert!(matches!(notices.recv().await, Some(Notice::TakenOver { reason }) if reason == "because"));
    // The queued events belong to the newer connection.
    assert!(matches!(next_item(&mut feed).await, Err(FeedError::TakenOver(reason)) if reason == "because"));
    assert!(feed.next().await.is_none());
}

#[tokio::test]
async fn a_gap_is_reported_and_the_feed_continues_after_it() {
    let gap = r#"{"type":"gap","reason":"expired","from_seq":3,"to_seq":8,"oldest_seq":9,"seq":20}"#;
    let (url, served) = server(vec![
        Connection::Send(vec![connected(20), gap.to_owned()]),
        Connection::Send(vec![connected(20), ring(9)]),
    ])
    .await;
    let mut feed = subscription(&url).after(2).open().expect("valid options");
    let Ok(Item::Gap(gap)) = next_item(&mut feed).await else { panic!("no gap") };
    assert_eq!((gap.from_seq, gap.to_seq, gap.resume_after()), (3, 8, 8));
    assert_eq!(event(&mut feed).await.seq, 9);
    assert_eq!(requests(served).await, ["/ws?after=2", "/ws?after=8"]);
}

#[tokio::test]
async fn a_replaced_key_ends_the_feed() {
    let (url, _played) = server(vec![Connection::SendThenClose(vec![connected(0), ring(1)], 4403)]).await;
    let mut feed = subscription(&url).open().expect("valid options");
    assert_eq!(event(&mut feed).await.seq, 1);
    assert!(matches!(next_item(&mut feed).await, Err(FeedError::Forbidden(reason)) if reason == "because"));
    assert!(feed.next().await.is_none());
}

#[tokio::test]
async fn an_invalid_key_ends_the_feed_and_an_unavailable_server_does_not() {
    let refusal = r#"{"error":"Invalid API key","code":"INVALID_API_KEY","request_id":"r"}"#;
    let (url, served) = server(vec![Connection::Refuse(503, "{}"), Connection::Refuse(401, refusal)]).await;
    let (sender, mut notices) = mpsc::unbounded_channel();
    let observer = move |notice: Notice| sender.send(notice.to_string()).expect("the test listens");
    let mut feed = subscription(&url).on_notice(observer).open().expect("valid options");
    assert!(matches!(next_item(&mut feed).await, Err(FeedError::NotAuthenticated(_))));
    let notice = notices.recv().await.expect("the first refusal");
    assert!(notice.starts_with("the server answered 503"), "{notice}");
    assert!(notice.starts_with("the server answered 503"), "{notice}");
    assert_eq!(requests(served).await.len(), 2);
}
