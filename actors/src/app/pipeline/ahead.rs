//! Deciding on the next batch while one is written, so that neither the database nor this thread waits for the other.
//!
//! Memory is taken for durable as soon as the next batch is decided on. What has to be read from the store is read after
//! the commit. If that fails, the decisions are dropped with all that is in memory of the calls, and the webhooks come
//! again, in their order.
//!
//! Few webhooks are not worth it: those that arrive later, but before the commit, would wait for one commit more.

use std::sync::Arc;

use futures_util::future::{Either, select};

use super::{
    InteractionCache, MAX_BATCH, Pipeline,
    commit::{Commit, Writing},
    decide::Decided,
    ledger_after::LedgerAfter,
};
use crate::app::{incoming::Enough, work::Work};

impl Pipeline {
    /// Decides on the next batch once as many webhooks wait as are written now, unless the commit is done before. Returns
    /// whether memory is as if it were.
    pub(super) async fn work_ahead(&mut self, commit: &Commit, written: &Work, writing: &Writing) -> bool {
        if !self.may_work_ahead() {
            return false;
        }
        let (enough, notified) = Enough::new();
        self.inbox.lock().notify_at(self.tuning.min_ahead.max(written.webhooks.len()), enough);
        let Either::Right((Ok(()), _)) = select(commit.clone(), notified).await else { return false };
        self.adopt(writing);
        let ledger = LedgerAfter::new(Arc::clone(&self.ports.ledger), commit.clone());
        let Ok(ends) = self.due_ends(&ledger).await else { return true };
        let Some(taken) = self.inbox.lock().next_incoming(MAX_BATCH) else { return true };
        let work = Work::incoming(taken, Some(written), &self.recent_keys, &self.inbox);
        if work.webhooks.is_empty() {
            return true;
        }
        match self.decide(&ledger, work, ends).await {
            Ok(decided) => self.ahead = Some(decided),
            // It is decided on again after the commit, and what failed with it, if it fails again.
            Err((work, ..)) => work.put_back(&self.inbox),
        }
        true
    }

    /// Whether everything is as it should be, and nothing else has to be done between this batch and the next.
    fn may_work_ahead(&self) -> bool {
        let is_healthy =
            self.singles_left == 0 && self.conflicts == 0 && self.expects_new && self.quarantined.is_empty();
        let is_reset = self.feed.known().resets != self.resets;
        is_healthy
            && !is_reset
            && !self.feed.is_shared()
            && !self.roster.is_eviction_due(self.ports.clock.now())
    }

    /// Puts the batch back that was decided on ahead, and forgets what is in memory because of it.
    pub(super) fn take_back_ahead(&mut self) {
        if let Some(Decided { work, .. }) = self.ahead.take() {
            work.put_back(&self.inbox);
            self.roster.clear();
            self.interactions = InteractionCache::default();
        }
    }
}
