//! Emitting the ends of interactions: in the unit of the next batch, or alone where no webhook waits.

use chrono::{DateTime, Utc};
use tracing::warn;

use super::{Pipeline, commit::Writing};
use crate::{
    app::{calls::Touched, inbox::Oldest},
    error::StoreError,
    event::interaction_event,
    id::{AppId, InteractionId, JournalId},
    model::interaction::{InteractionChange, StoredInteraction},
    ports::Ledger,
    trace::UnitSpans,
    unit::Unit,
};

/// How many ends are emitted with one batch.
const MAX_SETTLED: usize = 64;

/// Interactions whose end is due, as they are once it is emitted.
pub(super) struct Ends {
    app_id: AppId,
    now: DateTime<Utc>,
    settled: Vec<StoredInteraction>,
}

impl Ends {
    pub(super) fn is_empty(&self) -> bool {
        self.settled.is_empty()
    }

    /// Adds the ends to a unit, before its own events. One that the batch is about is left out: that is news of it, and if
    /// it is still due, it is found again.
    pub(super) fn add_to(&self, unit: &mut Unit, touched: &Touched) {
        let is_news = |id| touched.interactions.contains_key(&id) || touched.left.contains_key(&id);
        let settled: Vec<_> = self.settled.iter().filter(|it| !is_news(it.id)).collect();
        let ended = settled.iter().map(|it| {
            let at = it.summary.ended_at.unwrap_or(self.now);
            interaction_event(self.app_id, it.id, &it.summary, &InteractionChange::Ended, at)
        });
        unit.events.splice(0..0, ended);
        unit.interactions.extend(settled.into_iter().cloned());
    }
}

impl Pipeline {
    /// Takes ends of interactions that are due: over, and nothing more came for a while. What was received before and is
    /// not processed yet may be such news, after a restart for instance: then they wait. A few at a time, so that no webhook
    /// waits long for them.
    pub(super) async fn due_ends(&mut self, ledger: &dyn Ledger) -> Result<Ends, StoreError> {
        let now = self.ports.clock.now();
        let mut ends = Ends { app_id: self.app_id, now, settled: Vec::new() };
        // While it is looked for a webhook that the store refuses, nothing else is written with it.
        let due = if self.singles_left > 0 { Vec::new() } else { self.take_due() };
        if due.is_empty() {
            return Ok(ends);
        }
        let oldest = self.inbox.lock().oldest();
        let oldest = match oldest {
            Oldest::Nothing => None,
            Oldest::Webhook(id) => Some(id),
            Oldest::Unread => self.ports.journal.pending(self.app_id, 1).await?.first().map(|it| it.id),
        };
        let until = oldest.and_then(JournalId::generated_at).map_or(now, |at| at.min(now));
        let stored = self.interactions.read(ledger, self.app_id, &due).await?;
        ends.settled = stored.iter().filter_map(|interaction| interaction.settled(until, now)).collect();
        Ok(ends)
    }

    fn take_due(&self) -> Vec<InteractionId> {
        let mut all = self.due.lock();
        let rest = all.iter().nth(MAX_SETTLED).copied().map(|next| all.split_off(&next));
        std::mem::replace(&mut *all, rest.unwrap_or_default()).into_iter().collect()
    }

    /// Emits ends by themselves.
    pub(super) async fn settle(&mut self, ends: &Ends) -> Result<(), StoreError> {
        if ends.is_empty() {
            return Ok(());
        }
        let mut unit = Unit { fence: self.fence, ..Unit::new(self.app_id, ends.now) };
        ends.add_to(&mut unit, &Touched::default());
        self.complete(&mut unit).await?;
        match self.commit(Writing::new(unit, Vec::new(), UnitSpans::default()), None).await {
            // Another process was first, or a webhook: whatever is still due is found again.
            Err(StoreError::Conflict(_)) => Ok(()),
            Err(failure @ (StoreError::Rejected(_) | StoreError::Corrupt { .. })) => {
                warn!(app.id = %self.app_id, error = %failure, "the end of an interaction could not be emitted");
                Ok(())
            }
            committed => committed,
        }
    }
}
