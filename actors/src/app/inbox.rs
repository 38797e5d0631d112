//! The webhooks that wait for an app's supervisor: a bounded copy of the journal's end, in memory.
//!
//! The journal is the truth. What was just written is handed over here as well, so that reading it back is
//! spared while the supervisor keeps up; when it does not, or when anything is in invalidate, the copy is dropped and
//! the journal is read. Both ways give the same webhooks in the same order. Pure.

use std::collections::VecDeque;

use crate::{id::JournalId, ports::PendingEvent};

/// How many webhooks are kept in memory per app; more are left to the journal.
const CAPACITY: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: VecDeque<PendingEvent>,
    /// The journal may hold pending webhooks that are not in the queue.
    unread: bool,
    /// Everything up to here has been read from the journal: a webhook handed over late is not taken twice.
    read_up_to: Option<JournalId>,
}

/// What to work on next.
#[derive(Debug)]
pub(crate) enum Next {
    /// These.
    Events(Vec<PendingEvent>),
    /// Read the journal, and say so with [`Inbox::on_journal_read`].
    ReadJournal,
    /// Nothing.
    Nothing,
}

impl Default for Inbox {
    /// At the start nothing is known, so the journal must be read: a restart is not a special case.
    fn default() -> Self {
        Self { queue: VecDeque::new(), unread: true, read_up_to: None }
    }
}

impl Inbox {
    /// Hands over webhooks that are durable in the journal, in its order.
    pub(crate) fn offer(&mut self, events: Vec<PendingEvent>) {
        if self.queue.len() + events.len() > CAPACITY {
            self.unread = true;
        }
        if self.unread {
            // They will be read with the rest; keeping them would only cost memory.
            return;
        }
        let read_up_to = self.read_up_to;
        self.queue.extend(events.into_iter().filter(|event| Some(event.id) > read_up_to));
    }

    /// Says that the journal holds something that was not handed over.
    pub(crate) fn invalidate(&mut self) {
        self.unread = true;
        self.queue.clear();
    }

    pub(crate) fn next(&mut self, limit: usize) -> Next {
        if self.unread {
            // From here on offers are kept again: whatever is committed after the read comes by them.
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

    /// Takes note of what a read of the journal with this limit gave.
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
        inbox.offer(vec![event(3), event(4), event(5)]);
        assert_eq!(ids(inbox.next(2)), [3, 4]);
        assert_eq!(ids(inbox.next(2)), [5]);
    }

    #[test]
    fn a_webhook_that_was_read_and_is_handed_over_late_is_taken_once() {
        let mut inbox = Inbox::default();
        assert!(matches!(inbox.next(10), Next::ReadJournal));
        inbox.offer(vec![event(1)]);
        inbox.on_journal_read(&[event(1), event(2)], 10);
        inbox.offer(vec![event(2), event(3)]);
        assert_eq!(ids(inbox.next(10)), [3]);
    }

    #[test]
    fn a_full_page_means_that_there_is_more_to_read() {
        let mut inbox = Inbox::default();
        read(&mut inbox, &[1, 2], 2);
        inbox.offer(vec![event(4)]);
        read(&mut inbox, &[3, 4], 3);
        assert!(matches!(inbox.next(2), Next::Nothing));
    }

    #[test]
    fn what_does_not_fit_is_left_to_the_journal() {
        let mut inbox = Inbox::default();
        read(&mut inbox, &[], 2);
        inbox.offer((1..=CAPACITY as u128 + 1).map(event).collect());
        assert!(matches!(inbox.next(2), Next::ReadJournal));
    }
}
