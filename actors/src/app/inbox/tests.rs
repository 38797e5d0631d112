use super::*;
use crate::app::incoming::Answer;

fn event(n: u128) -> PendingEvent {
    let content = Err("a test".into());
    PendingEvent { id: JournalId(uuid::Uuid::from_u128(n)), attempts: 0, content, incoming: None }
}

fn ids(next: Next) -> Vec<u128> {
    match next {
        Next::Pending(events) => events.iter().map(|event| event.id.0.as_u128()).collect(),
        Next::Incoming(webhooks) => webhooks.iter().map(|it| it.event.id.0.as_u128()).collect(),
        Next::ReadJournal | Next::Nothing => Vec::new(),
    }
}

/// Submits a webhook. Its request waits for as long as what is returned lives.
fn submit(inbox: &mut Inbox, n: u128) -> Answer {
    let (webhook, request) = Incoming::new(event(n));
    inbox.submit(webhook).expect("there is room");
    request
}

fn read(inbox: &mut Inbox, rows: &[u128], limit: usize) {
    assert!(matches!(inbox.next(limit), Next::ReadJournal));
    let rows: Vec<_> = rows.iter().copied().map(event).collect();
    inbox.on_journal_read(&rows, limit);
}

#[test]
fn begins_with_the_journal_and_goes_on_in_memory() {
    let mut inbox = Inbox::default();
    read(&mut inbox, &[1, 2], 10);
    assert!(matches!(inbox.next(10), Next::Nothing));
    inbox.push(vec![event(3), event(4), event(5)]);
    assert_eq!(ids(inbox.next(2)), [3, 4]);
    assert_eq!(ids(inbox.next(2)), [5]);
}

#[test]
fn a_webhook_that_was_read_and_is_pushed_late_is_taken_once() {
    let mut inbox = Inbox::default();
    assert!(matches!(inbox.next(10), Next::ReadJournal));
    inbox.push(vec![event(1)]);
    inbox.on_journal_read(&[event(1), event(2)], 10);
    inbox.push(vec![event(2), event(3)]);
    assert_eq!(ids(inbox.next(10)), [3]);
}

#[test]
fn a_full_page_means_that_there_is_more_to_read() {
    let mut inbox = Inbox::default();
    read(&mut inbox, &[1, 2], 2);
    inbox.push(vec![event(4)]);
    read(&mut inbox, &[3, 4], 3);
    assert!(matches!(inbox.next(2), Next::Nothing));
}

#[test]
fn what_does_not_fit_is_left_to_the_journal() {
    let mut inbox = Inbox::default();
    read(&mut inbox, &[], 2);
    inbox.push((1..=MAX_PENDING as u128 + 1).map(event).collect());
    assert!(matches!(inbox.next(2), Next::ReadJournal));
}

#[test]
fn what_is_pending_goes_before_what_is_incoming() {
    let mut inbox = Inbox::default();
    let _request = submit(&mut inbox, 9);
    read(&mut inbox, &[1], 10);
    inbox.push(vec![event(2)]);
    assert_eq!(ids(inbox.next(10)), [2]);
    assert_eq!(ids(inbox.next(10)), [9]);
}

#[test]
fn what_another_process_has_acknowledged_goes_before_what_came_later() {
    let mut inbox = Inbox::default();
    read(&mut inbox, &[], 10);
    let _first = submit(&mut inbox, 8);
    inbox.read_before_incoming();
    assert!(matches!(inbox.next(10), Next::ReadJournal));
    let _second = submit(&mut inbox, 9);
    inbox.on_journal_read(&[event(1)], 10);
    inbox.read_before_incoming();
    assert_eq!(ids(inbox.next(10)), [8], "the other one came after the read");
    inbox.read_before_incoming();
    read(&mut inbox, &[2], 10);
    assert_eq!(ids(inbox.next(10)), [9]);
}

#[test]
fn the_journal_is_read_again_for_what_came_after_one_that_was_withdrawn() {
    let mut inbox = Inbox::default();
    read(&mut inbox, &[], 10);
    let _first = submit(&mut inbox, 8);
    inbox.read_before_incoming();
    assert!(matches!(inbox.next(10), Next::ReadJournal));
    let _second = submit(&mut inbox, 9);
    assert!(inbox.withdraw(event(8).id));
    inbox.on_journal_read(&[], 10);
    assert!(matches!(inbox.next(10), Next::ReadJournal));
    inbox.on_journal_read(&[], 10);
    assert_eq!(ids(inbox.next(10)), [9]);
}

#[test]
fn the_oldest_webhook_is_known_once_the_journal_is_read() {
    let mut inbox = Inbox::default();
    assert_eq!(inbox.oldest(), Oldest::Unread);
    read(&mut inbox, &[], 10);
    assert_eq!(inbox.oldest(), Oldest::Nothing);
    let _request = submit(&mut inbox, 9);
    assert_eq!(inbox.oldest(), Oldest::Webhook(event(9).id));
    inbox.push(vec![event(2)]);
    assert_eq!(inbox.oldest(), Oldest::Webhook(event(2).id));
}

#[test]
fn nothing_is_taken_whose_request_has_gone_or_that_was_withdrawn() {
    let mut inbox = Inbox::default();
    read(&mut inbox, &[], 10);
    let webhooks: Vec<_> = (1..=3).map(|n| Incoming::new(event(n))).collect();
    let mut requests = Vec::new();
    for (webhook, request) in webhooks {
        inbox.submit(webhook).expect("there is room");
        requests.push(request);
    }
    drop(requests.remove(0));
    assert!(inbox.withdraw(event(2).id));
    assert_eq!(ids(inbox.next(10)), [3]);
    assert!(!inbox.withdraw(event(3).id), "it is taken");
}

#[test]
fn what_is_put_back_comes_first_and_in_order() {
    let mut inbox = Inbox::default();
    read(&mut inbox, &[], 10);
    let (webhooks, requests): (Vec<_>, Vec<_>) = (1..=3).map(|n| Incoming::new(event(n))).unzip();
    for webhook in webhooks {
        inbox.submit(webhook).expect("there is room");
    }
    let Next::Incoming(taken) = inbox.next(2) else { panic!("webhooks are incoming") };
    inbox.put_back(taken);
    assert_eq!(ids(inbox.next(10)), [1, 2, 3]);
    drop(requests);
}

#[test]
fn while_a_backlog_is_read_nothing_incoming_waits_for_it() {
    let mut inbox = Inbox::default();
    read(&mut inbox, &[1, 2], 2);
    let (webhook, _request) = Incoming::new(event(9));
    assert!(inbox.submit(webhook).is_err());
    read(&mut inbox, &[3], 2);
    let (webhook, _request) = Incoming::new(event(9));
    assert!(inbox.submit(webhook).is_ok());
}

#[test]
fn it_notifies_when_enough_wait() {
    let mut inbox = Inbox::default();
    read(&mut inbox, &[], 10);
    let (enough, mut notified) = Enough::new();
    inbox.notify_at(2, enough);
    let _first = submit(&mut inbox, 1);
    assert!(notified.try_recv().is_err());
    let _second = submit(&mut inbox, 2);
    assert_eq!(notified.try_recv(), Ok(()));
    let (enough, mut notified) = Enough::new();
    inbox.notify_at(2, enough);
    assert_eq!(notified.try_recv(), Ok(()), "they wait already");
}

#[test]
fn incoming_webhooks_are_taken_ahead_only_where_nothing_comes_before_them() {
    let mut inbox = Inbox::default();
    let _request = submit(&mut inbox, 9);
    assert!(inbox.next_incoming(10).is_none(), "the journal was not read");
    read(&mut inbox, &[], 10);
    inbox.push(vec![event(1)]);
    assert!(inbox.next_incoming(10).is_none(), "a webhook is pending");
    assert_eq!(ids(inbox.next(10)), [1]);
    assert_eq!(inbox.next_incoming(10).map(|webhooks| webhooks.len()), Some(1));
    assert!(inbox.next_incoming(10).is_none(), "none waits");
}
