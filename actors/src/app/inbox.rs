//! The webhooks that wait for an app's supervisor: a bounded copy of the journal's end, in memory.
//!
//! The journal is the truth. What was just written is pushed here as well, so that it need not be read back while the
//! supervisor keeps up. When the supervisor falls behind, or when the copy may be incomplete, the copy is dropped and
//! the journal is read. Both ways give the same webhooks in the same order. Pure.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{
    id::{InteractionId, JournalId},
    ports::PendingEvent,
};

/// How many webhooks are kept in memory per app; more are left to the journal.
const MAX_WEBHOOKS: usize = 4096;

/// The copy in memory, and whether it is complete.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: VecDeque<PendingEvent>,
    /// The journal may hold pending webhooks that are not in the queue.
    unread: bool,
    /// Everything up to here has been read from the journal: a webhook that is pushed late is not taken twice.
    read_up_to: Option<JournalId>,
}

/// An inbox that a supervisor and those who feed it share.
pub(crate) type SharedInbox = Arc<Mutex<Inbox>>;

/// The interactions whose end may be due, shared in the same way.
pub(crate) type SharedDue = Arc<Mutex<BTreeSet<InteractionId>>>;

/// What to work on next.
#[derive(Debug)]
pub(crate) enum Next {
    /// These webhooks.
    Events(Vec<PendingEvent>),
    /// The journal must be read; [`Inbox::on_journal_read`] takes the result.
    ReadJournal,
    /// Nothing is pending.
    Nothing,
}

impl Default for Inbox {
    /// Begins unread: nothing is known at the start, so a restart is not a special case.
    fn default() -> Self {
        Self { queue: VecDeque::new(), unread: true, read_up_to: None }
    }
}

impl Inbox {
    /// Adds webhooks that are durable in the journal, in its order.
    pub(crate) fn push(&mut self, events: Vec<PendingEvent>) {
        if self.queue.len() + events.len() > MAX_WEBHOOKS {
            self.unread = true;
        }
        if self.unread {
            // They are read with the rest; keeping them would only cost memory.
            return;
        }
        let read_up_to = self.read_up_to;
        self.queue.extend(events.into_iter().filter(|event| Some(event.id) > read_up_to));
    }

    /// Drops the copy: the journal holds something that was not pushed.
    pub(crate) fn invalidate(&mut self) {
        self.unread = true;
        self.queue.clear();
    }

    /// Returns how many webhooks are in memory.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Takes at most `limit` webhooks out.
    pub(crate) fn next(&mut self, limit: usize) -> Next {
        if self.unread {
            // From here on pushed webhooks are kept again: what is committed after the read arrives that way.
            self.unread = false;
            self.queue.clear();
            return Next::ReadJournal;
        }
        if self.queue.is_empty() {
            return Next::Nothing;
        }
        let count = limit.min(self.queue.len());
        Next::Events(self.queue.drain(..count).collect())
    }

    /// Records what a read of the journal with this limit returned. A full page means that there may be more.
    pub(crate) fn on_journal_read(&mut self, events: &[PendingEvent], limit: usize) {
        if let Some(last) = events.last() {
            self.read_up_to = self.read_up_to.max(Some(last.id));
            let read_up_to = self.read_up_to;
            self.queue.retain(|event| Some(event.id) > read_up_to);
        }
        if events.len() >= limit {
            self.invalidate();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: u128) -> PendingEvent {
        PendingEvent { id: JournalId(uuid::Uuid::from_u128(n)), attempts: 0, content: Err("a test".into()) }
    }

    fn ids(next: Next) -> Vec<u128> {
        match next {
            Next::Events(events) => events.iter().map(|event| event.id.0.as_u128()).collect(),
            Next::ReadJournal | Next::Nothing => Vec::new(),
        }
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
        inbox.push((1..=MAX_WEBHOOKS as u128 + 1).map(event).collect());
        assert!(matches!(inbox.next(2), Next::ReadJournal));
    }
}
