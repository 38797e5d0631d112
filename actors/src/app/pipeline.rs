//! The work of an app's supervisor: one batch of webhooks, its call actors, one unit of work, the feed.
//!
//! ```text
//! inbox or journal ─► correlate ─► calls (Apply), messages ─► one Unit ─► ledger.commit ─► calls (Settle) ─► feed
//! ```
//!
//! This file decides which batch is next, and what happens when it can be written and when it can't.
//!
//! The unit of work contains the journal's rows as well: of an incoming webhook a new row, of a pending one its status.
//! Nothing is published or acknowledged before the unit is durable. Whatever goes wrong on the way, pending webhooks are
//! still pending in the journal and come again; incoming ones come again, or their requests append them to the journal. A webhook that can't
//! be applied is given up after [`MAX_ATTEMPTS`](super::batch::MAX_ATTEMPTS) attempts and does not delay the others any
//! longer.

mod commit;
mod failures;
mod feed_reset;
mod settling;

use std::{collections::BTreeSet, sync::Arc};

use actix::Addr;
use chrono::TimeDelta;

use self::settling::Ends;
use super::{
    batch::Batch,
    call_actor::CallActor,
    call_group::group_by_call,
    calls::apply_calls,
    context::CallContext,
    correlate::correlate,
    inbox::{Next, SharedDue, SharedInbox},
    messages::apply_messages,
    missing_leg::MissingLegReporter,
    next_step::NextStep,
    recent_keys::RecentKeys,
    recent_legs::RecentLegs,
    roster::Roster,
    stats::SupervisorStats,
    whole::{InteractionCache, apply_whole},
    work::Work,
};
use crate::{
    error::StoreError,
    event::OutEvent,
    feed::Feed,
    id::{AppId, DialpadCallId, Fence},
    ports::{PendingEvent, Ports},
    trace::UnitSpans,
    unit::Unit,
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
    /// Such calls of the batch under way.
    unseen: Vec<DialpadCallId>,
    /// Whether the roster has what the batch under way decided, and which no commit has settled yet.
    is_ahead: bool,
    recent_keys: RecentKeys,
    recent_legs: RecentLegs,
    /// The interactions whose end may be due.
    due: SharedDue,
    interactions: InteractionCache,
    /// How long nothing must come of an interaction that is over before its end is emitted.
    settle: TimeDelta,
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

impl Pipeline {
    pub(crate) fn new(
        app_id: AppId,
        ports: Ports,
        ownership: Ownership,
        settle: TimeDelta,
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
            unseen: Vec::new(),
            is_ahead: false,
            recent_keys: RecentKeys::default(),
            recent_legs: RecentLegs::default(),
            due: ownership.due,
            interactions: InteractionCache::default(),
            settle,
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

    /// Applies one batch.
    pub(super) async fn step(&mut self) -> NextStep {
        self.inbox.lock().open();
        self.forget_before_reset();
        // Here as well: a supervisor that always has a batch under way has no other moment for it.
        self.evict();
        let next = match self.due_ends().await {
            Ok(ends) => self.next_step(&ends).await,
            Err(failure) => self.retry_later(Work::default(), &failure),
        };
        if let NextStep::After(_) = next {
            // Nothing waits here meanwhile: it would wait for too long.
            let waiting = self.inbox.lock().close();
            waiting.into_iter().for_each(|webhook| webhook.request.not_taken());
        }
        next
    }

    async fn next_step(&mut self, ends: &Ends) -> NextStep {
        let taken = match self.take_work().await {
            Ok(Some(work)) if !work.webhooks.is_empty() => return self.work(work, ends).await,
            taken => taken.map(|work| work.is_some()),
        };
        if let Err(failure) = self.settle(ends).await {
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
            Next::Incoming(webhooks) => Ok(Some(Work::incoming(webhooks, &self.recent_keys, &self.inbox))),
            Next::ReadJournal => {
                let webhooks = self.ports.journal.pending(self.app_id, limit).await?;
                self.inbox.lock().on_journal_read(&webhooks, limit);
                Ok(Some(Work::pending(webhooks)))
            }
        }
    }

    async fn work(&mut self, work: Work, ends: &Ends) -> NextStep {
        let count = work.webhooks.len();
        let mut spans = UnitSpans::start(self.app_id, &work.webhooks);
        let processed = self.process(&work.webhooks, ends, &mut spans).await;
        if let Err(failure) = &processed {
            spans.fail(failure);
            self.forget_undurable();
        }
        drop(spans);
        match processed {
            Ok((next, decided)) => {
                self.conflicts = 0;
                self.expects_new = true;
                self.singles_left = self.singles_left.saturating_sub(count);
                work.committed(&decided, &mut self.recent_keys, &self.inbox);
                next
            }
            Err(StoreError::Duplicates(duplicates)) => {
                self.singles_left = self.singles_left.saturating_sub(duplicates.len());
                work.without(&duplicates, &mut self.recent_keys, &self.inbox);
                // It may wait in the journal, unknown here: appended by a request whose answer was lost. Its sender sends the
                // next one of the call now, which must not overtake it.
                self.inbox.lock().invalidate();
                NextStep::Again
            }
            Err(StoreError::Conflict(_)) if !self.unseen.is_empty() => {
                // A call that was taken for a new one is known.
                self.expects_new = false;
                work.put_back(&self.inbox);
                NextStep::Again
            }
            // It may be an end that the store refuses, and none of the webhooks.
            Err(StoreError::Rejected(_) | StoreError::Corrupt { .. }) if !ends.is_empty() => {
                work.put_back(&self.inbox);
                match self.settle(ends).await {
                    Ok(()) => NextStep::Again,
                    Err(failure) => self.retry_later(Work::default(), &failure),
                }
            }
            Err(failure @ (StoreError::Rejected(_) | StoreError::Corrupt { .. })) => {
                self.isolate(work, &failure).await
            }
            Err(failure) => self.retry_later(work, &failure),
        }
    }

    /// Decides on webhooks and commits what follows, together with these ends. Returns which of them have a status with it.
    async fn process(
        &mut self,
        webhooks: &[PendingEvent],
        ends: &Ends,
        spans: &mut UnitSpans,
    ) -> Result<(NextStep, Vec<bool>), StoreError> {
        let applying = spans.step("apply");
        self.unseen.clear();
        self.is_ahead = true;
        let mut batch = Batch::new(self.app_id, webhooks, self.ports.clock.now());
        let (groups, messages) = group_by_call(&mut batch, &self.quarantined);
        if let Some((rings, waits)) = self.recent_legs.unread_since(batch.now) {
            let stored = self.ports.ledger.recent_calls(self.app_id, rings, waits).await?;
            self.recent_legs.start(stored, batch.now);
        }
        let mut ctx = CallContext {
            app_id: self.app_id,
            ledger: &*self.ports.ledger,
            inbox: &self.inbox,
            roster: &mut self.roster,
            quarantined: &mut self.quarantined,
            recent_legs: &mut self.recent_legs,
            missing_legs: &self.missing_legs,
            expects_new: self.expects_new,
            unseen: &mut self.unseen,
            stats: &self.stats,
        };
        let correlated = correlate(&mut ctx, &groups, batch.now).await?;
        let (next, touched) = apply_calls(&mut ctx, groups, correlated, &mut batch).await?;
        apply_whole(&ctx, &self.interactions, &touched, self.settle, &mut batch).await?;
        self.stats.set_quarantined(self.quarantined.len());
        apply_messages(self.app_id, &*self.ports.ledger, &messages, &mut batch).await?;
        let drafted = batch.drafted_calls();
        spans.set_events(batch.event_counts());
        let (mut unit, decided) = batch.into_unit();
        unit.unseen.clone_from(&self.unseen);
        ends.add_to(&mut unit, &touched);
        self.complete(&mut unit).await?;
        applying.end();
        self.commit(unit, &drafted, spans).await?;
        Ok((next, decided))
    }

    /// Adds to a unit what is known of the app: its region, and the CRM's names of its users.
    async fn complete(&self, unit: &mut Unit) -> Result<(), StoreError> {
        self.name_crm_users(unit).await?;
        unit.region = self.ports.log.region(self.app_id).await?;
        unit.events.iter_mut().for_each(|event| event.set_e164(unit.region));
        Ok(())
    }

    /// Adds the CRM's name of the Dialpad user to each event, as it is known now. Events emitted earlier keep theirs.
    async fn name_crm_users(&self, unit: &mut Unit) -> Result<(), StoreError> {
        let users: BTreeSet<i64> = unit.events.iter().filter_map(OutEvent::named_user).collect();
        if users.is_empty() {
            return Ok(());
        }
        let users: Vec<i64> = users.into_iter().collect();
        let names = self.ports.ledger.crm_users(self.app_id, &users).await?;
        for event in &mut unit.events {
            if let Some(name) = event.named_user().and_then(|user| names.get(&user)) {
                event.set_crm_user_id(name);
            }
        }
        Ok(())
    }
}
