//! What happens to a batch that could not be written.

use std::sync::Arc;

use metrics::counter;
use tracing::{field, info, warn};

use super::Pipeline;
use crate::{
    app::{
        batch::record_failed_attempt,
        next_step::{NextStep, STORE_BACKOFF},
        work::Work,
    },
    error::StoreError,
    unit::Unit,
};

/// How often in a row another process may have been first before the app's work pauses.
const MAX_CONFLICTS: u32 = 8;

impl Pipeline {
    /// Lets webhooks come again, because the store is unavailable or another process wrote first.
    pub(super) fn retry_later(&mut self, work: Work, failure: &StoreError) -> NextStep {
        self.stats.record_error(failure, self.ports.clock.now());
        if *failure == StoreError::Fenced {
            return self.end(work);
        }
        warn!(app.id = %self.app_id, error = %failure, "a batch could not be written and will be tried again");
        let is_conflict = matches!(failure, StoreError::Conflict(_));
        self.conflicts = if is_conflict { self.conflicts + 1 } else { 0 };
        if is_conflict {
            self.recent_legs.forget();
        }
        if is_conflict && !self.conflicts.is_multiple_of(MAX_CONFLICTS) {
            work.put_back(&self.inbox);
            return NextStep::Again;
        }
        work.leave(&self.inbox);
        NextStep::After(STORE_BACKOFF)
    }

    /// Ends, because another process owns the app. What is not in the journal yet is appended by its requests.
    fn end(&self, work: Work) -> NextStep {
        counter!("cti_fence_refusals_total").increment(1);
        info!(app.id = %self.app_id, fence = self.fence.0, "another process owns an app now");
        // First, so that the app is seen as not owned once a request is answered.
        let waiting = self.inbox.lock().end();
        work.leave(&self.inbox);
        waiting.into_iter().for_each(|webhook| webhook.request.not_taken());
        NextStep::End
    }

    /// Finds the webhook that the store refuses: the webhooks of this batch come again one at a time. A batch of one has
    /// used up an attempt.
    pub(super) async fn isolate(&mut self, work: Work, failure: &StoreError) -> NextStep {
        if work.webhooks.len() > 1 {
            self.singles_left = work.webhooks.len();
            work.put_back(&self.inbox);
            return NextStep::Again;
        }
        let webhook = work.webhooks.first().map(|webhook| field::display(webhook.id));
        warn!(app.id = %self.app_id, webhook.id = webhook, error = %failure, "a webhook could not be applied");
        let now = self.ports.clock.now();
        self.stats.record_error(failure, now);
        let mut unit = Unit { fence: self.fence, ..Unit::new(self.app_id, now) };
        for webhook in &work.webhooks {
            record_failed_attempt(webhook, &failure.to_string(), &mut unit);
        }
        // It is tried again as a pending webhook.
        self.inbox.lock().invalidate();
        match self.ports.ledger.commit(Arc::new(unit)).await {
            Ok(_) => {
                self.singles_left = self.singles_left.saturating_sub(1);
                work.committed(&[true], &mut self.recent_keys, &self.inbox);
                NextStep::Again
            }
            Err(failure) => self.retry_later(work, &failure),
        }
    }
}
