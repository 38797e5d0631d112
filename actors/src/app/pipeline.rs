//! The work of an app's supervisor: one batch of webhooks, its call actors, one unit of work, the feed.
//!
//! ```text
//! inbox or journal ─► correlate ─► calls (Apply), messages ─► one Unit ─► ledger.commit ─► calls (Settle) ─► feed
//! ```
//!
//! This file decides which batch is next, and what happens when it can be written and when it can't.
//!
//! Nothing is published before it is durable. Whatever goes wrong on the way, the webhooks are still pending in the
//! journal and come again. A webhook that can't be applied is given up after [`MAX_ATTEMPTS`](super::batch::MAX_ATTEMPTS)
//! attempts and does not delay the others any longer.

use std::{collections::BTreeSet, sync::Arc};

use actix::Addr;
use metrics::counter;
use tracing::warn;

use super::{
    batch::{Batch, record_failed_attempt},
    call_actor::{CallActor, Settle},
    call_group::group_by_call,
    calls::apply_calls,
    context::CallContext,
    correlate::correlate,
    inbox::{Next, SharedInbox},
    messages::apply_messages,
    missing_leg::MissingLegReporter,
    next_step::{NextStep, STORE_BACKOFF},
    roster::Roster,
    stats::SupervisorStats,
};
use crate::{
    error::StoreError,
    event::{Frame, OutEvent},
    feed::Feed,
    id::{AppId, DialpadCallId},
    ports::{PendingEvent, Ports},
    unit::Unit,
};

/// How many webhooks share a unit of work.
const MAX_BATCH: usize = 256;

/// Everything that an app's supervisor works with. It moves from one batch to the next.
pub(crate) struct Pipeline {
    app_id: AppId,
    ports: Ports,
    inbox: SharedInbox,
    feed: Arc<Feed>,
    roster: Roster<Addr<CallActor>>,
    missing_legs: MissingLegReporter,
    /// Calls whose actor crashed: their webhooks are applied one at a time, to find the one that causes it.
    quarantined: BTreeSet<DialpadCallId>,
    /// How many webhooks are still applied one at a time, because the store refused the batch that they were part of.
    singles_left: usize,
    stats: Arc<SupervisorStats>,
}

impl Pipeline {
    pub(crate) fn new(
        app_id: AppId,
        ports: Ports,
        inbox: SharedInbox,
        feed: Arc<Feed>,
        missing_legs: MissingLegReporter,
        stats: Arc<SupervisorStats>,
    ) -> Self {
        let roster = Roster::default();
        Self {
            app_id,
            ports,
            inbox,
            feed,
            roster,
            missing_legs,
            quarantined: BTreeSet::new(),
            singles_left: 0,
            stats,
        }
    }

    pub(super) fn evict_idle(&mut self) {
        self.roster.evict_idle(self.ports.clock.now());
    }

    #[cfg(feature = "testing")]
    pub(super) fn call_actor(&self, call: DialpadCallId) -> Option<Addr<CallActor>> {
        self.roster.get(call).cloned()
    }

    /// Applies one batch.
    pub(super) async fn step(&mut self) -> NextStep {
        let batch = match self.next_batch().await {
            Ok(Some(batch)) => batch,
            Ok(None) => return NextStep::Idle,
            Err(failure) => return self.retry_later(&failure),
        };
        match self.process(&batch).await {
            Ok(next) => {
                self.singles_left = self.singles_left.saturating_sub(batch.len());
                next
            }
            Err(failure @ (StoreError::Rejected(_) | StoreError::Corrupt { .. })) => {
                self.isolate(&batch, &failure).await
            }
            Err(failure) => self.retry_later(&failure),
        }
    }

    async fn next_batch(&mut self) -> Result<Option<Vec<PendingEvent>>, StoreError> {
        let limit = if self.singles_left > 0 { 1 } else { MAX_BATCH };
        let next = self.inbox.lock().next(limit);
        match next {
            Next::Nothing => Ok(None),
            Next::Events(events) => Ok(Some(events)),
            Next::ReadJournal => {
                let events = self.ports.journal.pending(self.app_id, limit).await?;
                self.inbox.lock().on_journal_read(&events, limit);
                Ok(Some(events).filter(|events| !events.is_empty()))
            }
        }
    }

    async fn process(&mut self, pending: &[PendingEvent]) -> Result<NextStep, StoreError> {
        let mut batch = Batch::new(self.app_id, pending, self.ports.clock.now());
        let (groups, messages) = group_by_call(&mut batch, &self.quarantined);
        let mut ctx = CallContext {
            app_id: self.app_id,
            ledger: &*self.ports.ledger,
            inbox: &self.inbox,
            roster: &mut self.roster,
            quarantined: &mut self.quarantined,
            missing_legs: &self.missing_legs,
            stats: &self.stats,
        };
        let correlated = correlate(&mut ctx, &groups, batch.now).await?;
        let next = apply_calls(&mut ctx, groups, correlated, &mut batch).await?;
        self.stats.set_quarantined(self.quarantined.len());
        apply_messages(self.app_id, &*self.ports.ledger, &messages, &mut batch).await?;
        let drafted = batch.drafted_calls();
        let mut unit = batch.into_unit();
        self.name_crm_users(&mut unit).await?;
        unit.region = self.ports.log.region(self.app_id).await?;
        unit.events.iter_mut().for_each(|event| event.set_e164(unit.region));
        self.commit(unit, &drafted).await?;
        Ok(next)
    }

    /// Adds the CRM's name of the Dialpad user to each event, as it is known now. Events emitted earlier keep theirs.
    async fn name_crm_users(&self, unit: &mut Unit) -> Result<(), StoreError> {
        let users: BTreeSet<i64> = unit.events.iter().filter_map(OutEvent::dialpad_user_id).collect();
        if users.is_empty() {
            return Ok(());
        }
        let users: Vec<i64> = users.into_iter().collect();
        let names = self.ports.ledger.crm_users(self.app_id, &users).await?;
        for event in &mut unit.events {
            if let Some(name) = event.dialpad_user_id().and_then(|user| names.get(&user)) {
                event.set_crm_user_id(name);
            }
        }
        Ok(())
    }

    /// Commits, then acts: memory and the feed follow what is durable.
    async fn commit(&mut self, unit: Unit, staged: &[DialpadCallId]) -> Result<(), StoreError> {
        if unit.is_empty() {
            return Ok(());
        }
        let unit = Arc::new(unit);
        let committed = self.ports.ledger.commit(Arc::clone(&unit)).await;
        let settle = if committed.is_ok() { Settle::Adopt } else { Settle::Discard };
        for call in staged {
            if let Some(actor) = self.roster.get(*call) {
                actor.do_send(settle);
            }
            if committed.is_err() {
                // What they hold may differ from what the store holds, their interaction too: let them be rebuilt.
                self.roster.remove(*call);
            }
        }
        let receipt = committed?;
        let mut seq = receipt.last_seq_before;
        let frames = unit.events.iter().map(|event| {
            seq = seq.next();
            counter!("cti_events_emitted_total", "type" => event.event_type.as_str()).increment(1);
            Frame::new(seq, event)
        });
        self.feed.publish(frames.collect());
        Ok(())
    }

    /// Leaves the batch to the journal, because the store is unavailable or another process wrote first.
    fn retry_later(&mut self, failure: &StoreError) -> NextStep {
        self.inbox.lock().invalidate();
        self.stats.record_error(failure, self.ports.clock.now());
        warn!(app.id = %self.app_id, error = %failure, "a batch could not be written and will be tried again");
        match failure {
            StoreError::Conflict(_) => NextStep::Again,
            _ => NextStep::After(STORE_BACKOFF),
        }
    }

    /// Finds the webhook that the store refuses: the webhooks of this batch come again one at a time. A batch of one has
    /// used up an attempt.
    async fn isolate(&mut self, batch: &[PendingEvent], failure: &StoreError) -> NextStep {
        self.inbox.lock().invalidate();
        if batch.len() > 1 {
            self.singles_left = batch.len();
            return NextStep::Again;
        }
        warn!(app.id = %self.app_id, error = %failure, "a webhook could not be applied");
        let now = self.ports.clock.now();
        self.stats.record_error(failure, now);
        let mut unit = Unit::new(self.app_id, now);
        for pending in batch {
            record_failed_attempt(pending, &failure.to_string(), &mut unit);
        }
        match self.ports.ledger.commit(Arc::new(unit)).await {
            Ok(_) => NextStep::Again,
            Err(failure) => self.retry_later(&failure),
        }
    }
}
