//! The work of an app's supervisor: one batch of webhooks, its call actors, one unit of work, the feed.
//!
//! ```text
//! inbox or journal ─► correlate ─► calls (Apply), messages ─► one Unit ─► ledger.commit ─► calls (Adopt) ─► feed
//! ```
//!
//! This file decides which batch is next, and what happens when it can be written and when it can't. While one is
//! written, the next one is decided on, if enough webhooks wait for it: see [`ahead`].
//!
//! The unit of work contains the journal's rows as well: of an incoming webhook a new row, of a pending one its status.
//! Nothing is published or acknowledged before the unit is durable. Whatever goes wrong on the way, pending webhooks are
//! still pending in the journal and come again; incoming ones come again, or their requests append them to the journal. A webhook that can't
//! be applied is given up after [`MAX_ATTEMPTS`](super::batch::MAX_ATTEMPTS) attempts and does not delay the others any
//! longer.

mod ahead;
mod commit;
mod decide;
mod failures;
mod feed_reset;
mod ledger_after;
mod settling;

use std::{collections::BTreeSet, sync::Arc};

use actix::Addr;
use chrono::TimeDelta;

use self::{decide::Decided, settling::Ends};
use super::{
    call_actor::CallActor,
    inbox::{Next, SharedDue, SharedInbox},
    missing_leg::MissingLegReporter,
    next_step::NextStep,
    recent_keys::RecentKeys,
    recent_legs::RecentLegs,
    roster::Roster,
    stats::SupervisorStats,
    whole::InteractionCache,
    work::Work,
};
use crate::{
    error::StoreError,
    feed::Feed,
    id::{AppId, DialpadCallId, Fence},
    ports::Ports,
};

/// How many webhooks share a unit of work.
const MAX_BATCH: usize = 256;

/// Everything that an app's supervisor works with. It moves from one batch to the next.
pub(crate) struct Pipeline {
    app_id: AppId,
    /// The ownership of the app that it works under.
    fence: Fence,
    ports: Ports,
    inbox: SharedInbox,
    feed: Arc<Feed>,
    roster: Roster<Addr<CallActor>>,
    missing_legs: MissingLegReporter,
    /// Calls whose actor crashed: their webhooks are applied one at a time, to find the one that causes it.
    quarantined: BTreeSet<DialpadCallId>,
    /// How many webhooks are still applied one at a time, because the store refused the batch that they were part of.
    singles_left: usize,
    /// How often in a row another process was first.
    conflicts: u32,
    /// Whether calls that begin to ring are taken for new ones. Not in the batch after one in which they were not.
    expects_new: bool,
    /// The batch that was decided on while the one before it was written, and is written now.
    ahead: Option<Decided>,
    recent_keys: RecentKeys,
    recent_legs: RecentLegs,
    /// The interactions whose end may be due.
    due: SharedDue,
    interactions: InteractionCache,
    tuning: PipelineTuning,
    stats: Arc<SupervisorStats>,
    /// How often the feed had been reset when the last batch began.
    resets: u64,
}

/// What an app has for as long as this process owns it.
#[derive(Clone)]
pub(crate) struct Ownership {
    pub(crate) fence: Fence,
    pub(crate) inbox: SharedInbox,
    pub(crate) due: SharedDue,
}

/// What can be set of the work on an app.
#[derive(Clone, Copy)]
pub(crate) struct PipelineTuning {
    /// How long nothing must come of an interaction that is over before its end is emitted.
    pub(crate) settle: TimeDelta,
    /// How many webhooks must wait for the next batch to be decided on while one is written.
    pub(crate) min_ahead: usize,
}

impl Pipeline {
    pub(crate) fn new(
        app_id: AppId,
        ports: Ports,
        ownership: Ownership,
        tuning: PipelineTuning,
        feed: Arc<Feed>,
        missing_legs: MissingLegReporter,
        stats: Arc<SupervisorStats>,
    ) -> Self {
        let roster = Roster::default();
        Self {
            app_id,
            fence: ownership.fence,
            ports,
            inbox: ownership.inbox,
            feed,
            roster,
            missing_legs,
            quarantined: BTreeSet::new(),
            singles_left: 0,
            conflicts: 0,
            expects_new: true,
            ahead: None,
            recent_keys: RecentKeys::default(),
            recent_legs: RecentLegs::default(),
            due: ownership.due,
            interactions: InteractionCache::default(),
            tuning,
            stats,
            resets: 0,
        }
    }

    /// Drops the call actors that need not be kept. Between batches: none of them has anything staged then.
    pub(super) fn evict(&mut self) {
        let now = self.ports.clock.now();
        self.roster.evict_idle(now);
        self.interactions.evict_idle(now);
        let all = &self.stats.process_calls;
        self.roster.evict_beyond(all.max, all.live(), now);
    }

    /// Forgets what is in memory of the store, because it was changed. Between batches.
    pub(super) fn forget(&mut self) {
        self.roster.clear();
        self.interactions = InteractionCache::default();
        self.inbox.lock().invalidate();
    }

    #[cfg(feature = "testing")]
    pub(super) fn call_actor(&self, call: DialpadCallId) -> Option<Addr<CallActor>> {
        self.roster.get(call).cloned()
    }

    /// Applies one batch, and those that are decided on while it is written, and so on.
    pub(super) async fn step(&mut self) -> NextStep {
        self.inbox.lock().open();
        self.forget_before_reset();
        // Here as well: a supervisor that always has a batch under way has no other moment for it.
        self.evict();
        let ledger = Arc::clone(&self.ports.ledger);
        let mut next = match self.due_ends(&*ledger).await {
            Ok(ends) => self.next_step(ends).await,
            Err(failure) => self.retry_later(Work::default(), &failure),
        };
        while let Some(ahead) = self.ahead.take() {
            next = self.write(ahead).await;
        }
        if let NextStep::After(_) = next {
            // Nothing waits here meanwhile: it would wait for too long.
            let waiting = self.inbox.lock().close();
            waiting.into_iter().for_each(|webhook| webhook.request.not_taken());
        }
        next
    }

    async fn next_step(&mut self, ends: Ends) -> NextStep {
        let taken = match self.take_work().await {
            Ok(Some(work)) if !work.webhooks.is_empty() => return self.work(work, ends).await,
            taken => taken.map(|work| work.is_some()),
        };
        if let Err(failure) = self.settle(&ends).await {
            return self.retry_later(Work::default(), &failure);
        }
        match taken {
            Ok(true) => NextStep::Again,
            Ok(false) if self.due.lock().is_empty() => NextStep::Idle,
            Ok(false) => NextStep::Again,
            Err(failure) => self.retry_later(Work::default(), &failure),
        }
    }

    async fn take_work(&mut self) -> Result<Option<Work>, StoreError> {
        let limit = if self.singles_left > 0 { 1 } else { MAX_BATCH };
        let next = {
            let mut inbox = self.inbox.lock();
            if self.feed.is_shared() {
                inbox.read_before_incoming();
            }
            inbox.next(limit)
        };
        match next {
            Next::Nothing => {
                // The webhook that is looked for is gone: nobody waits for it any more, or another process took it. Ends
                // that wait until it is found would have the supervisor begin again and again, without a pause.
                self.singles_left = 0;
                Ok(None)
            }
            Next::Pending(webhooks) => Ok(Some(Work::pending(webhooks))),
            Next::Incoming(webhooks) => {
                Ok(Some(Work::incoming(webhooks, None, &self.recent_keys, &self.inbox)))
            }
            Next::ReadJournal => {
                let webhooks = self.ports.journal.pending(self.app_id, limit).await?;
                self.inbox.lock().on_journal_read(&webhooks, limit);
                Ok(Some(Work::pending(webhooks)))
            }
        }
    }

    async fn work(&mut self, work: Work, ends: Ends) -> NextStep {
        let ledger = Arc::clone(&self.ports.ledger);
        match self.decide(&*ledger, work, ends).await {
            Ok(decided) => self.write(decided).await,
            Err((work, ends, failure)) => self.not_written(work, &ends, false, failure).await,
        }
    }

    async fn write(&mut self, decided: Decided) -> NextStep {
        let Decided { work, ends, with_status, unseen, next, writing } = decided;
        if let Err(failure) = self.commit(writing, (next == NextStep::Again).then_some(&work)).await {
            // Whether these calls are new was not confirmed.
            unseen.iter().for_each(|call| self.roster.remove(*call));
            return self.not_written(work, &ends, !unseen.is_empty(), failure).await;
        }
        self.conflicts = 0;
        self.expects_new = true;
        self.singles_left = self.singles_left.saturating_sub(work.webhooks.len());
        work.committed(&with_status, &mut self.recent_keys, &self.inbox);
        next
    }

    /// Decides how to go on after a batch that is not durable. `has_unseen`: it has calls that were taken for new ones.
    async fn not_written(
        &mut self,
        work: Work,
        ends: &Ends,
        has_unseen: bool,
        failure: StoreError,
    ) -> NextStep {
        match failure {
            StoreError::Duplicates(duplicates) => {
                self.singles_left = self.singles_left.saturating_sub(duplicates.len());
                work.without(&duplicates, &mut self.recent_keys, &self.inbox);
                // It may wait in the journal, unknown here: appended by a request whose answer was lost. Its sender sends the
                // next one of the call now, which must not overtake it.
                self.inbox.lock().invalidate();
                NextStep::Again
            }
            StoreError::Conflict(_) if has_unseen => {
                // A call that was taken for a new one is known.
                self.expects_new = false;
                work.put_back(&self.inbox);
                NextStep::Again
            }
            // It may be an end that the store refuses, and none of the webhooks.
            StoreError::Rejected(_) | StoreError::Corrupt { .. } if !ends.is_empty() => {
                work.put_back(&self.inbox);
                match self.settle(ends).await {
                    Ok(()) => NextStep::Again,
                    Err(failure) => self.retry_later(Work::default(), &failure),
                }
            }
            StoreError::Rejected(_) | StoreError::Corrupt { .. } => self.isolate(work, &failure).await,
            _ => self.retry_later(work, &failure),
        }
    }
}
