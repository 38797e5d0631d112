//! The commit of a unit of work, and what follows from it.

use std::sync::Arc;

use metrics::counter;

use super::Pipeline;
use crate::{
    app::{batch::log_processed, call_actor::Settle},
    error::StoreError,
    event::Frame,
    id::{AppId, DialpadCallId},
    trace::UnitSpans,
    unit::Unit,
};

impl Pipeline {
    /// Commits, then acts: memory and the feed follow what is durable.
    pub(super) async fn commit(
        &mut self,
        mut unit: Unit,
        staged: &[DialpadCallId],
        spans: &UnitSpans,
    ) -> Result<(), StoreError> {
        self.is_ahead = false;
        if unit.is_empty() {
            return Ok(());
        }
        unit.fence = self.fence;
        let unit = Arc::new(unit);
        let known = self.feed.known();
        let committing = spans.step("commit");
        let committed = self.ports.ledger.commit(Arc::clone(&unit)).await;
        committing.end();
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
        match &committed {
            Ok(_) => self.interactions.adopt(&unit.interactions, unit.decided_at),
            Err(_) => self.interactions.forget(&unit.interactions),
        }
        let receipt = committed?;
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
}
