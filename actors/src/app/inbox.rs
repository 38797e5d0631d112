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

use super::incoming::{Enough, Incoming, NotTaken};
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
    /// Notified when so many incoming webhooks wait.
    enough: Option<(usize, Enough)>,
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
            enough: None,
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
        if let Some((_, enough)) = self.enough.take_if(|(count, _)| self.incoming.len() >= *count) {
            enough.notify();
        }
        Ok(())
    }

    /// Has it notified when so many incoming webhooks wait. It takes the place of an earlier one.
    pub(crate) fn notify_at(&mut self, count: usize, enough: Enough) {
        self.enough = if self.incoming.len() >= count {
            enough.notify();
            None
        } else {
            Some((count, enough))
        };
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

    /// Takes at most `limit` incoming webhooks out. `None`: something else comes before them, or none waits.
    pub(crate) fn next_incoming(&mut self, limit: usize) -> Option<Vec<Incoming>> {
        if self.closed || self.unread || !self.pending.is_empty() || self.may_follow.is_some() {
            return None;
        }
        match self.next(limit) {
            Next::Incoming(webhooks) => Some(webhooks),
            _ => None,
        }
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
mod tests;
