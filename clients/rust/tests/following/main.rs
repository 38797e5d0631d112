//! A feed against a server that says exactly what the test wants, connection after connection.

mod scripted;
mod snapshot;

use cti_client::{Body, CursorStore, FileCursor, Heard, Notice, Stopped};
use tokio::sync::mpsc;

use scripted::{Connection, ack, asked, connected, event, heard, ring, server, subscription};

#[tokio::test]
async fn a_broken_connection_is_resumed_behind_the_last_event() {
    let (url, played) = server(vec![
        Connection::Says(vec![connected(4), ring(5)]),
        Connection::SaysAndCloses(vec![connected(6), ring(6)], 1001),
        Connection::Says(vec![connected(6), r#"{"type":"reconnect","after_ms":1}"#.to_owned()]),
        Connection::Says(vec![connected(7), ring(7)]),
    ])
    .await;
    let mut feed = subscription(&url).types(["call.*"]).open().expect("it goes together");
    for seq in 5..=7 {
        let event = event(&mut feed).await;
        assert_eq!(event.seq, seq);
        assert!(
            matches!(event.body, Body::CallRing(ring) if u64::try_from(ring.call.dialpad_call_id) == Ok(seq))
        );
    }
    let resumed = |seq: u64| format!("/ws?types=call.*&after={seq}");
    assert_eq!(asked(played).await, ["/ws?types=call.*".to_owned(), resumed(5), resumed(6), resumed(6)]);
    feed.close().await;
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_first_event_is_resumed_where_it_began() {
    let (url, played) =
        server(vec![Connection::Says(vec![connected(4)]), Connection::Says(vec![connected(5), ring(5)])])
            .await;
    let mut feed = subscription(&url).open().expect("it goes together");
    assert_eq!(event(&mut feed).await.seq, 5);
    assert_eq!(asked(played).await, ["/ws", "/ws?after=4"]);
}

#[tokio::test]
async fn what_is_told_again_is_heard_once() {
    let (url, _played) = server(vec![
        Connection::Says(vec![connected(4), ring(5), ring(6)]),
        Connection::Says(vec![connected(7), ring(5), ring(6), ring(7)]),
    ])
    .await;
    let mut feed = subscription(&url).open().expect("it goes together");
    for seq in 5..=7 {
        assert_eq!(event(&mut feed).await.seq, seq);
    }
}

#[tokio::test]
async fn the_cursor_is_what_was_done_and_not_what_was_heard() {
    let folder = tempfile::tempdir().expect("a folder");
    let cursor = FileCursor::new(folder.path().join("cursor"));
    let (url, _played) = server(vec![Connection::Says(vec![connected(4), ring(5), ring(6)])]).await;
    let mut feed = subscription(&url).keep_cursor_in(cursor.clone()).open().expect("it goes together");
    assert_eq!((event(&mut feed).await.seq, event(&mut feed).await.seq), (5, 6));
    assert_eq!(cursor.load().await.expect("kept"), Some(4), "where it began");
    feed.done(5).await.expect("kept");
    assert_eq!(cursor.load().await.expect("kept"), Some(5));
    feed.close().await;

    let (url, played) = server(vec![Connection::Says(vec![connected(6), ring(6)])]).await;
    let mut feed = subscription(&url).keep_cursor_in(cursor.clone()).open().expect("it goes together");
    let again = event(&mut feed).await;
    assert_eq!((again.seq, again.event_id.as_str()), (6, "e6"));
    assert_eq!(asked(played).await, ["/ws?after=5"]);
}

#[tokio::test]
async fn what_is_for_others_moves_the_cursor() {
    let folder = tempfile::tempdir().expect("a folder");
    let cursor = FileCursor::new(folder.path().join("cursor"));
    let passed = r#"{"type":"cursor","seq":9}"#.to_owned();
    let (url, played) = server(vec![
        Connection::Says(vec![connected(4), ring(5), passed]),
        Connection::Says(vec![connected(10), ring(10)]),
    ])
    .await;
    let mut feed = subscription(&url).keep_cursor_in(cursor.clone()).open().expect("it goes together");
    assert_eq!((event(&mut feed).await.seq, event(&mut feed).await.seq), (5, 10));
    feed.done(5).await.expect("kept");
    assert_eq!(cursor.load().await.expect("kept"), Some(5), "event 10 is not dealt with");
    feed.done(10).await.expect("kept");
    assert_eq!(cursor.load().await.expect("kept"), Some(10));
    assert_eq!(asked(played).await, ["/ws", "/ws?after=9"]);
}

/// What greets a named consumer.
fn connected_as(seq: u64, mode: &str, acked: u64) -> String {
    let greeting = connected(seq);
    let consumer = format!(r#","consumer":"crm","mode":"{mode}","acked_seq":{acked}}}"#);
    greeting.replace('}', &consumer)
}

#[tokio::test]
async fn what_a_consumer_has_done_is_acknowledged_and_again_where_that_was_lost() {
    let (url, played) = server(vec![
        Connection::SaysAndHears(vec![connected_as(9, "exclusive", 4), ring(5), ring(6)], 6),
        // This server has heard of nothing.
        Connection::SaysAndHears(vec![connected_as(9, "exclusive", 4), ring(5), ring(6), ring(7)], 7),
    ])
    .await;
    let mut feed = subscription(&url).as_consumer("crm").after(0).open().expect("it goes together");
    for seq in 5..=7 {
        assert_eq!(event(&mut feed).await.seq, seq);
        feed.done(seq).await.expect("acknowledged");
    }
    let asked = asked(played).await;
    assert!(asked[0].starts_with("/ws?consumer=crm&after=0 "), "{asked:?}");
    assert!(asked[1].starts_with(&format!("/ws?consumer=crm&after=6{}", ack(6))), "{asked:?}");
}

#[tokio::test]
async fn of_a_shared_consumer_each_event_is_heard_once_in_the_order_in_which_it_was_given() {
    let (url, played) = server(vec![
        Connection::SaysAndHears(vec![connected_as(60, "share", 0), ring(50), ring(7)], 50),
        Connection::SaysAndHears(vec![connected_as(60, "share", 0), ring(7), ring(50), ring(3)], 3),
    ])
    .await;
    let mut feed = subscription(&url).sharing_consumer("crm").open().expect("it goes together");
    assert_eq!((event(&mut feed).await.seq, event(&mut feed).await.seq), (50, 7));
    feed.done(50).await.expect("acknowledged");
    // The connection is cut once that is heard; 7 comes again, and 50 too.
    assert_eq!(event(&mut feed).await.seq, 3);
    feed.done(3).await.expect("acknowledged");
    let asked = asked(played).await;
    assert_eq!(asked[0], format!("/ws?consumer=crm&mode=share{}", ack(50)));
    assert_eq!(asked.len(), 2);
}

#[tokio::test]
async fn a_consumer_that_was_taken_over_does_not_fight() {
    let greeting = connected_as(4, "exclusive", 4);
    let (url, _played) =
        server(vec![Connection::SaysAndCloses(vec![greeting, ring(5), ring(6)], 4409)]).await;
    let (tell, mut notices) = mpsc::unbounded_channel();
    let observer = move |notice: Notice| tell.send(notice).expect("the test listens");
    let mut feed =
        subscription(&url).as_consumer("crm").observed_by(observer).open().expect("it goes together");
    assert!(matches!(notices.recv().await, Some(Notice::Connected { .. })));
    assert!(matches!(notices.recv().await, Some(Notice::TakenOver { reason }) if reason == "because"));
    // The events that had come are the newer one's.
    assert!(matches!(heard(&mut feed).await, Err(Stopped::TakenOver(reason)) if reason == "because"));
    assert!(feed.next().await.is_none());
}

#[tokio::test]
async fn a_gap_is_reported_and_the_feed_goes_on_behind_it() {
    let gap = r#"{"type":"gap","reason":"expired","from_seq":3,"to_seq":8,"oldest_seq":9,"seq":20}"#;
    let (url, played) = server(vec![
        Connection::Says(vec![connected(20), gap.to_owned()]),
        Connection::Says(vec![connected(20), ring(9)]),
    ])
    .await;
    let mut feed = subscription(&url).after(2).open().expect("it goes together");
    let Ok(Heard::Gap(gap)) = heard(&mut feed).await else { panic!("no gap") };
    assert_eq!((gap.from_seq, gap.to_seq, gap.go_on_from()), (3, 8, 8));
    assert_eq!(event(&mut feed).await.seq, 9);
    assert_eq!(asked(played).await, ["/ws?after=2", "/ws?after=8"]);
}

#[tokio::test]
async fn a_replaced_key_ends_the_feed() {
    let (url, _played) = server(vec![Connection::SaysAndCloses(vec![connected(0), ring(1)], 4403)]).await;
    let mut feed = subscription(&url).open().expect("it goes together");
    assert_eq!(event(&mut feed).await.seq, 1);
    assert!(matches!(heard(&mut feed).await, Err(Stopped::Forbidden(reason)) if reason == "because"));
    assert!(feed.next().await.is_none());
}

#[tokio::test]
async fn a_wrong_key_ends_the_feed_and_a_busy_server_does_not() {
    let refusal = r#"{"error":"Invalid API key","code":"INVALID_API_KEY","request_id":"r"}"#;
    let (url, played) = server(vec![Connection::Refuses(503, "{}"), Connection::Refuses(401, refusal)]).await;
    let (tell, mut notices) = mpsc::unbounded_channel();
    let observer = move |notice: Notice| tell.send(notice.to_string()).expect("the test listens");
    let mut feed = subscription(&url).observed_by(observer).open().expect("it goes together");
    assert!(matches!(heard(&mut feed).await, Err(Stopped::NotAuthenticated(_))));
    let notice = notices.recv().await.expect("the first refusal");
    assert!(notice.starts_with("the server answers 503"), "{notice}");
    assert!(!notice.contains("raw_key"), "{notice}");
    assert_eq!(asked(played).await.len(), 2);
}
