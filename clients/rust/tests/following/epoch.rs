//! Feeds whose server was restored: the numbers of the events are those of another epoch.

use cti_client::{Cursor, CursorStore, Feed, FileCursor, Gap, Item};

use crate::scripted::{
    Connection, ack, connected_in, event, next_item, requests, ring, server, subscription,
};

const OLD: &str = "018cc4e0-7d2b-4c55-9f21-6a7b8c9d0e1f";
const NEW: &str = "018cc4e0-7d2b-4c55-9f21-6a7b8c9d0e20";

fn cursor(epoch: &str, seq: u64) -> Cursor {
    Cursor { epoch: Some(epoch.to_owned()), seq }
}

/// Returns the gap of a feed that continues in another epoch after `at`.
fn epoch_changed(at: u64) -> String {
    format!(
        r#"{{"type":"gap","reason":"epoch_changed","epoch":"{NEW}","from_seq":1,"to_seq":{at},"oldest_seq":1,"seq":{at}}}"#
    )
}

async fn change(feed: &mut Feed) -> Gap {
    match next_item(feed).await {
        Ok(Item::EpochChanged(gap)) => gap,
        other => panic!("the epoch has not changed: {other:?}"),
    }
}

#[tokio::test]
async fn the_epoch_is_kept_with_the_cursor_and_named_when_the_feed_resumes() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FileCursor::new(folder.path().join("cursor"));
    let (url, served) = server(vec![
        Connection::Send(vec![connected_in(OLD, 4), ring(5)]),
        Connection::Send(vec![connected_in(OLD, 6), ring(6)]),
    ])
    .await;
    let mut feed = subscription(&url).cursor_store(store.clone()).open().expect("valid options");
    assert_eq!((event(&mut feed).await.seq, event(&mut feed).await.seq), (5, 6));
    feed.ack(6).await.expect("saved");
    assert_eq!(store.load().await.expect("loaded"), Some(cursor(OLD, 6)));
    assert_eq!(requests(served).await, ["/ws".to_owned(), format!("/ws?after={OLD}%3A5")]);
}

#[tokio::test]
async fn a_restored_server_is_reported_and_the_feed_continues_in_the_new_epoch() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FileCursor::new(folder.path().join("cursor"));
    store.save(cursor(OLD, 30)).await.expect("saved");
    let (url, served) = server(vec![
        Connection::Send(vec![connected_in(NEW, 20), epoch_changed(20)]),
        Connection::Send(vec![connected_in(NEW, 21), ring(21)]),
    ])
    .await;
    let mut feed = subscription(&url).cursor_store(store.clone()).open().expect("valid options");
    let gap = change(&mut feed).await;
    assert_eq!((gap.epoch.as_deref(), gap.resume_after()), (Some(NEW), 20));
    assert_eq!(store.load().await.expect("loaded"), Some(cursor(OLD, 30)), "it is not processed yet");
    feed.ack(gap.resume_after()).await.expect("saved");
    assert_eq!(store.load().await.expect("loaded"), Some(cursor(NEW, 20)));
    assert_eq!(event(&mut feed).await.seq, 21);
    assert_eq!(requests(served).await, [format!("/ws?after={OLD}%3A30"), format!("/ws?after={NEW}%3A20")]);
}

#[tokio::test]
async fn a_feed_that_goes_back_while_it_is_open_delivers_the_same_numbers_again() {
    let (url, _played) = server(vec![Connection::Send(vec![
        connected_in(OLD, 4),
        ring(5),
        ring(6),
        epoch_changed(4),
        ring(5),
    ])])
    .await;
    let mut feed = subscription(&url).open().expect("valid options");
    assert_eq!((event(&mut feed).await.seq, event(&mut feed).await.seq), (5, 6));
    assert_eq!(change(&mut feed).await.resume_after(), 4);
    assert_eq!(event(&mut feed).await.seq, 5);
}

#[tokio::test]
async fn an_acknowledgement_of_another_epoch_is_not_sent_again() {
    let greeting = |epoch: &str, seq: u64, acked: u64| {
        let consumer = format!(r#","consumer":"crm","mode":"exclusive","acked_seq":{acked}}}"#);
        connected_in(epoch, seq).replace('}', &consumer)
    };
    let (url, served) = server(vec![
        Connection::SendThenReceive(vec![greeting(OLD, 9, 4), ring(5), ring(6)], 6),
        Connection::SendThenReceive(vec![greeting(NEW, 9, 3), epoch_changed(3), ring(4)], 4),
    ])
    .await;
    let mut feed = subscription(&url).consumer("crm").open().expect("valid options");
    for seq in 5..=6 {
        assert_eq!(event(&mut feed).await.seq, seq);
        feed.ack(seq).await.expect("acknowledged");
    }
    let gap = change(&mut feed).await;
    feed.ack(gap.resume_after()).await.expect("acknowledged");
    assert_eq!(event(&mut feed).await.seq, 4);
    feed.ack(4).await.expect("acknowledged");
    let requests = requests(served).await;
    let later = requests[1].split_once(' ').expect("acknowledgements").1.to_owned();
    assert!(later.ends_with(ack(4).trim_start()) && !later.contains(ack(6).trim_start()), "{later}");
}
