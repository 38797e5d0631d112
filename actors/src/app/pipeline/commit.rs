//! The commit of a unit of work, and what follows from it.

use std::sync::Arc;

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use metrics::counter;

use super::Pipeline;
use crate::{
    app::{batch::log_processed, call_actor::Adopt, work::Work},
    error::StoreError,
    event::Frame,
    id::{AppId, DialpadCallId},
    ports::Ledger,
    trace::{UnitSpans, UnitStep},
    unit::{Receipt, Unit},
};

/// A commit that is under way.
pub(super) type Commit = Shared<BoxFuture<'static, Result<Receipt, StoreError>>>;

/// A unit of work on its way into the store.
pub(super) struct Writing {
    pub(super) unit: Arc<Unit>,
    /// The calls that have staged something.
    pub(super) drafted: Vec<DialpadCallId>,
    spans: UnitSpans,
    commit: Option<(Commit, UnitStep)>,
}

impl Writing {
    pub(super) fn new(unit: Unit, drafted: Vec<DialpadCallId>, spans: UnitSpans) -> Self {
        Self { unit: Arc::new(unit), drafted, spans, commit: None }
    }

    /// Begins with the commit, unless it has begun. It goes on by itself.
    fn begin(&mut self, ledger: &Arc<dyn Ledger>) -> Commit {
        let begin = || {
            let step = self.spans.step("commit");
            let (ledger, unit) = (Arc::clone(ledger), Arc::clone(&self.unit));
            let commit = async move { ledger.commit(unit).await }.boxed().shared();
            // Until here it is only described.
            drop(commit.clone().now_or_never());
            (commit, step)
        };
        self.commit.get_or_insert_with(begin).0.clone()
    }
}

impl Pipeline {
    /// Commits, then acts: memory and the feed follow what is durable. Meanwhile it is decided on the batch after that of
    /// `work`; without it, on none.
    pub(super) async fn commit(
        &mut self,
        mut writing: Writing,
        work: Option<&Work>,
    ) -> Result<(), StoreError> {
        if writing.unit.is_empty() {
            return Ok(());
        }
        let known = self.feed.known();
        let commit = writing.begin(&self.ports.ledger);
        let is_adopted = match work {
            Some(work) => self.work_ahead(&commit, work, &writing).await,
            None => false,
        };
        let receipt = match commit.await {
            Ok(receipt) => receipt,
            Err(failure) => {
                writing.spans.fail(&failure);
                self.take_back_ahead();
                self.discard(&writing);
                return Err(failure);
            }
        };
        // First, so that the database does not wait for what follows here.
        if let Some(ahead) = &mut self.ahead {
            drop(ahead.writing.begin(&self.ports.ledger));
        }
        if !is_adopted {
            self.adopt(&writing);
        }
        let Writing { unit, spans, commit, .. } = writing;
        drop(commit);
        if !unit.events.is_empty() && known.head > receipt.last_seq_before {
            self.check_feed(known, receipt.last_seq_before).await;
        }
        let mut seq = receipt.last_seq_before;
        let frames = unit.events.iter().enumerate().map(|(position, event)| {
            seq = seq.next();
            if self.app_id != AppId::CANARY {
                counter!("cti_events_emitted_total", "type" => event.event_type.as_str()).increment(1);
            }
            Frame::new(seq, event).traced(spans.of_event(position, unit.events.len()))
        });
        self.feed.publish(frames.collect());
        log_processed(&unit, receipt);
        Ok(())
    }

    /// Takes what a unit of work has for what is durable.
    pub(super) fn adopt(&mut self, Writing { unit, drafted, .. }: &Writing) {
        for actor in drafted.iter().filter_map(|call| self.roster.get(*call)) {
            actor.do_send(Adopt);
        }
        self.interactions.adopt(&unit.interactions, unit.decided_at);
    }

    /// Forgets what a unit of work has that could not be written. What actors and memory have of it, the interactions of
    /// calls too, may differ from what the store has: it is read anew.
    fn discard(&mut self, Writing { unit, drafted, .. }: &Writing) {
        drafted.iter().for_each(|call| self.roster.remove(*call));
        self.interactions.forget(&unit.interactions);
    }
}
