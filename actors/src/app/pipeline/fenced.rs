//! What an app does when the store refuses its work because another process owns it.

use metrics::counter;
use tracing::info;

use super::Pipeline;
use crate::app::{next_step::NextStep, work::Work};

impl Pipeline {
    /// Ends. What is not in the journal yet is appended by its requests.
    pub(super) fn end(&self, work: Work) -> NextStep {
        counter!("cti_fence_refusals_total").increment(1);
        info!(app.id = %self.app_id, fence = self.fence.0, "another process owns an app now");
        work.leave(&self.inbox);
        let waiting = self.inbox.lock().end();
        waiting.into_iter().for_each(|webhook| webhook.request.not_taken());
        NextStep::End
    }
}
