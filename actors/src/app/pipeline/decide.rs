//! Decides what follows from a batch of webhooks. Nothing leaves memory: what is decided becomes durable later, or is
//! forgotten.

use std::collections::BTreeSet;

use super::{NextStep, Pipeline, commit::Writing, settling::Ends};
use crate::{
    app::{
        batch::Batch, call_group::group_by_call, calls::apply_calls, context::CallContext,
        correlate::correlate, messages::apply_messages, whole::apply_whole, work::Work,
    },
    error::StoreError,
    event::OutEvent,
    id::DialpadCallId,
    ports::{Ledger, PendingEvent},
    trace::UnitSpans,
    unit::Unit,
};

/// A batch with what was decided on it.
pub(super) struct Decided {
    pub(super) work: Work,
    pub(super) ends: Ends,
    pub(super) writing: Writing,
    /// The calls that were taken for new ones.
    pub(super) unseen: Vec<DialpadCallId>,
    /// Which webhooks have a status with the unit, by position. The others come again.
    pub(super) with_status: Vec<bool>,
    pub(super) next: NextStep,
}

/// What follows from a batch.
struct Decision {
    unit: Unit,
    drafted: Vec<DialpadCallId>,
    unseen: Vec<DialpadCallId>,
    with_status: Vec<bool>,
    next: NextStep,
}

impl Pipeline {
    /// Decides on webhooks, and adds these ends.
    ///
    /// # Errors
    /// The store could not be read: with the batch as it was. What is in memory of the calls is forgotten, because legs
    /// may be bound to interactions that the store does not have.
    pub(super) async fn decide(
        &mut self,
        ledger: &dyn Ledger,
        work: Work,
        ends: Ends,
    ) -> Result<Decided, (Work, Ends, StoreError)> {
        let mut spans = UnitSpans::start(self.app_id, &work.webhooks);
        let applying = spans.step("apply");
        let decided = self.apply(ledger, &work.webhooks, &ends, &mut spans).await;
        applying.end();
        match decided {
            Ok(Decision { unit, drafted, unseen, with_status, next }) => {
                let writing = Writing::new(unit, drafted, spans);
                Ok(Decided { work, ends, writing, unseen, with_status, next })
            }
            Err(failure) => {
                spans.fail(&failure);
                self.roster.clear();
                Err((work, ends, failure))
            }
        }
    }

    async fn apply(
        &mut self,
        ledger: &dyn Ledger,
        webhooks: &[PendingEvent],
        ends: &Ends,
        spans: &mut UnitSpans,
    ) -> Result<Decision, StoreError> {
        let mut batch = Batch::new(self.app_id, webhooks, self.ports.clock.now());
        let (groups, messages) = group_by_call(&mut batch, &self.quarantined);
        if let Some((rings, waits)) = self.recent_legs.unread_since(batch.now) {
            let stored = ledger.recent_calls(self.app_id, rings, waits).await?;
            self.recent_legs.start(stored, batch.now);
        }
        let mut unseen = Vec::new();
        let mut ctx = CallContext {
            app_id: self.app_id,
            ledger,
            inbox: &self.inbox,
            roster: &mut self.roster,
            quarantined: &mut self.quarantined,
            recent_legs: &mut self.recent_legs,
            missing_legs: &self.missing_legs,
            expects_new: self.expects_new,
            unseen: &mut unseen,
            stats: &self.stats,
        };
        let correlated = correlate(&mut ctx, &groups, batch.now).await?;
        let (next, touched) = apply_calls(&mut ctx, groups, correlated, &mut batch).await?;
        apply_whole(&ctx, &self.interactions, &touched, self.tuning.settle, &mut batch).await?;
        self.stats.set_quarantined(self.quarantined.len());
        apply_messages(self.app_id, ledger, &messages, &mut batch).await?;
        let drafted = batch.drafted_calls();
        spans.set_events(batch.event_counts());
        let (mut unit, with_status) = batch.into_unit();
        unit.fence = self.fence;
        unit.unseen.clone_from(&unseen);
        ends.add_to(&mut unit, &touched);
        self.complete(&mut unit).await?;
        Ok(Decision { unit, drafted, unseen, with_status, next })
    }

    /// Adds to a unit what is known of the app: its region, and the CRM's names of its users.
    pub(super) async fn complete(&self, unit: &mut Unit) -> Result<(), StoreError> {
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
