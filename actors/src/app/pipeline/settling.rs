//! Emitting the ends of interactions.

use tracing::warn;

use super::Pipeline;
use crate::{
    app::inbox::Oldest,
    error::StoreError,
    event::interaction_event,
    id::{InteractionId, JournalId},
    model::interaction::InteractionChange,
    unit::Unit,
};

/// How many ends are emitted between two batches.
const MAX_SETTLED: usize = 64;

impl Pipeline {
    /// Emits the ends of interactions that are due: over, and nothing more came for a while. What was received before and
    /// is not processed yet may be such news, after a restart for instance: then they wait. A few at a time, so that no
    /// webhook waits long for them.
    pub(super) async fn settle_due(&mut self) -> Result<(), StoreError> {
        let due: Vec<InteractionId> = {
            let mut all = self.due.lock();
            let rest = all.iter().nth(MAX_SETTLED).copied().map(|next| all.split_off(&next));
            std::mem::replace(&mut *all, rest.unwrap_or_default()).into_iter().collect()
        };
        if due.is_empty() {
            return Ok(());
        }
        let now = self.ports.clock.now();
        let oldest = self.inbox.lock().oldest();
        let oldest = match oldest {
            Oldest::Nothing => None,
            Oldest::Webhook(id) => Some(id),
            Oldest::Unread => self.ports.journal.pending(self.app_id, 1).await?.first().map(|it| it.id),
        };
        let until = oldest.and_then(JournalId::generated_at).map_or(now, |at| at.min(now));
        let mut unit = Unit::new(self.app_id, now);
        for interaction in self.interactions.read(&*self.ports.ledger, self.app_id, &due).await? {
            let Some(settled) = interaction.settled(until, now) else { continue };
            let summary = &settled.summary;
            let at = summary.ended_at.unwrap_or(now);
            let ended = interaction_event(self.app_id, settled.id, summary, &InteractionChange::Ended, at);
            unit.events.push(ended);
            unit.interactions.push(settled);
        }
        unit.region = self.ports.log.region(self.app_id).await?;
        self.name_crm_users(&mut unit).await?;
        match self.commit(unit, &[]).await {
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
