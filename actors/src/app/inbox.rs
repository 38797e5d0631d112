//! The webhooks that wait for an app's supervisor. Bounded. Pure.
//!
//! Two kinds wait side by side. *Incoming* webhooks are not in the journal yet: their requests wait for an answer, and
//! the unit of work that processes them writes them. *Pending* ones are in the journal, which is the truth about them;
//! here is a copy of the journal's end, so that it need not be read back while the supervisor keeps up. When the
//! supervisor falls behind, or when the copy may be incomplete, the copy is dropped and the journal is read.
//!
//! Pending webhooks go first: they were acknowledged before any incoming one arrived.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;

use super::incoming::{Incoming, NotTaken};
use crate::{
    id::{InteractionId, JournalId},
    ports::PendingEvent,
};

/// How many pending webhooks are kept in memory per app; more are left to the journal.
const MAX_PENDING: usize = 4096;
/// How many incoming webhooks may wait per app.
const MAX_INCOMING: usize = 1024;

/// What waits, and whether the copy of the journal is complete.
#[derive(Debug)]
pub(crate) struct Inbox {
    incoming: VecDeque<Incoming>,
    pending: VecDeque<PendingEvent>,
    /// The journal may hold pending webhooks that are not in the queue.
    unread: bool,
    /// More is pending than one read of the journal returns.
    behind: bool,
    /// The supervisor takes nothing now: it pauses, or it has ended.
    closed: bool,
    /// Another process owns the app: the supervisor has ended for good.
    ended: bool,
    /// Everything up to here has been read from the journal: a webhook that is pushed late is not taken twice.
    read_up_to: Option<JournalId>,
    /// How many incoming webhooks were here before the last read of the journal, where that counts: see
    /// [`read_before_incoming`](Self::read_before_incoming).
    may_follow: Option<usize>,
}

/// An inbox that a supervisor and those who feed it share.
pub(crate) type SharedInbox = Arc<Mutex<Inbox>>;

/// The interactions whose end may be due, shared in the same way.
pub(crate) type SharedDue = Arc<Mutex<BTreeSet<InteractionId>>>;

/// What to work on next.
#[derive(Debug)]
pub(crate) enum Next {
    /// These webhooks, which are in the journal.
    Pending(Vec<PendingEvent>),
    /// These webhooks, which are not.
    Incoming(Vec<Incoming>),
    /// The journal must be read; [`Inbox::on_journal_read`] takes the result.
    ReadJournal,
    /// Nothing waits.
    Nothing,
}

/// The oldest webhook that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oldest {
    /// Only the journal knows.
    Unread,
    /// None waits.
    Nothing,
    /// This one.
    Webhook(JournalId),
}

impl Default for Inbox {
    /// Begins unread: nothing is known at the start, so a restart is not a special case.
    fn default() -> Self {
        Self {
            incoming: VecDeque::new(),
            pending: VecDeque::new(),
            unread: true,
            behind: false,
            closed: false,
            ended: false,
            read_up_to: None,
            may_follow: None,
        }
    }
}

impl Inbox {
    /// Adds a webhook that is not in the journal yet.
    ///
    /// # Errors
    /// It would wait for too long here: it must be appended to the journal instead.
    pub(crate) fn submit(&mut self, webhook: Incoming) -> Result<(), NotTaken> {
        if self.closed || self.behind || self.incoming.len() >= MAX_INCOMING {
            return Err(NotTaken);
        }
        self.incoming.push_back(webhook);
        Ok(())
    }

    /// Takes a webhook back that has not been taken. Returns whether it was still there.
    pub(crate) fn withdraw(&mut self, id: JournalId) -> bool {
        let Some(position) = self.incoming.iter().position(|webhook| webhook.event.id == id) else {
            return false;
        };
        if let Some(count) = &mut self.may_follow
            && position < *count
        {
            *count -= 1;
        }
        self.incoming.remove(position).is_some()
    }

    /// Puts webhooks back that were taken: they are the next ones again.
    pub(crate) fn put_back(&mut self, webhooks: Vec<Incoming>) {
        for webhook in webhooks.into_iter().rev() {
            self.incoming.push_front(webhook);
        }
    }

    /// Adds webhooks that are durable in the journal, in its order.
    pub(crate) fn push(&mut self, events: Vec<PendingEvent>) {
        if self.pending.len() + events.len() > MAX_PENDING {
            self.unread = true;
        }
        if self.unread {
            // They are read with the rest; keeping them would only cost memory.
            return;
        }
        let read_up_to = self.read_up_to;
        self.pending.extend(events.into_iter().filter(|event| Some(event.id) > read_up_to));
    }

    /// Drops the copy of the journal: it holds something that was not pushed.
    pub(crate) fn invalidate(&mut self) {
        self.unread = true;
        self.pending.clear();
    }

    /// Takes nothing more, and returns what waits for an answer.
    pub(crate) fn close(&mut self) -> Vec<Incoming> {
        self.closed = true;
        self.incoming.drain(..).collect()
    }

    /// Takes webhooks again, unless it has ended.
    pub(crate) fn open(&mut self) {
        self.closed = self.ended;
    }

    /// Takes nothing any more, and returns what waits for an answer.
    pub(crate) fn end(&mut self) -> Vec<Incoming> {
        self.ended = true;
        self.invalidate();
        self.close()
    }

    /// Whether it takes nothing any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns how many webhooks are in memory.
    pub(crate) fn len(&self) -> usize {
        self.pending.len() + self.incoming.len()
    }

    /// Returns the oldest webhook that waits, in the journal or here.
    pub(crate) fn oldest(&self) -> Oldest {
        if self.unread {
            return Oldest::Unread;
        }
        let pending = self.pending.iter().map(|webhook| webhook.id);
        let oldest = pending.chain(self.incoming.iter().map(|webhook| webhook.event.id)).min();
        oldest.map_or(Oldest::Nothing, Oldest::Webhook)
    }

    /// Has the journal read before incoming webhooks are taken, because other processes append to it: what they have
    /// acknowledged goes before what came later. What comes after that read waits for the next one.
    pub(crate) fn read_before_incoming(&mut self) {
        if self.pending.is_empty() && !self.incoming.is_empty() && self.may_follow.is_none() {
            self.may_follow = Some(self.incoming.len());
            self.unread = true;
        }
    }

    /// Takes at most `limit` webhooks out.
    pub(crate) fn next(&mut self, limit: usize) -> Next {
        if self.unread {
            // From here on pushed webhooks are kept again: what is committed after the read arrives that way.
            self.unread = false;
            self.pending.clear();
            return Next::ReadJournal;
        }
        if !self.pending.is_empty() {
            let count = limit.min(self.pending.len());
            return Next::Pending(self.pending.drain(..count).collect());
        }
        // A request that no longer waits was answered that nothing is kept: its sender repeats it.
        let may_follow = self.may_follow.take();
        let may_follow = may_follow
            .map(|count| self.incoming.iter().take(count).filter(|it| it.request.is_open()).count());
        self.incoming.retain(|webhook| webhook.request.is_open());
        if self.incoming.is_empty() {
            return Next::Nothing;
        }
        if may_follow == Some(0) {
            self.may_follow = Some(self.incoming.len());
            return Next::ReadJournal;
        }
        let count = limit.min(may_follow.unwrap_or(usize::MAX)).min(self.incoming.len());
        Next::Incoming(self.incoming.drain(..count).collect())
    }

    /// Records what a read of the journal with this limit returned. A full page means that there may be more.
    pub(crate) fn on_journal_read(&mut self, events: &[PendingEvent], limit: usize) {
        if let Some(last) = events.last() {
            self.read_up_to = self.read_up_to.max(Some(last.id));
            let read_up_to = self.read_up_to;
            self.pending.retain(|event| Some(event.id) > read_up_to);
        }
        let is_full = events.len() >= limit;
        self.behind = is_full && limit > 1;
        if is_full {
            self.invalidate();
        }
    }
}

#[cfg(test)]
mod tests {
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
}
