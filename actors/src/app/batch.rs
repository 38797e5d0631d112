//! A batch of webhooks while it is decided: what is drafted for each call, which events each webhook causes, and the
//! unit of work that all of it becomes. Nothing here leaves memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use metrics::counter;
use tracing::{Level, debug, enabled, error};

use super::call_actor::ApplyOutcome;
use crate::{
    event::OutEvent,
    id::{AppId, DialpadCallId},
    model::{
        call::{CallRecord, VoicemailRecord},
        interaction::StoredInteraction,
        message::StoredMessage,
    },
    ports::{Inbound, PendingEvent},
    unit::{IncomingStatus, Receipt, Unit},
};

/// How often a webhook is tried before it is given up.
pub(crate) const MAX_ATTEMPTS: u16 = 3;

/// A batch under way. A webhook is named by its position in `pending`.
pub(super) struct Batch<'p> {
    pub(super) pending: &'p [PendingEvent],
    pub(super) now: DateTime<Utc>,
    unit: Unit,
    /// Which webhooks have a status now, by position.
    decided: Vec<bool>,
    /// The events that each webhook causes, by position, so that the feed follows the order of the journal.
    events: Vec<Vec<OutEvent>>,
    drafts: BTreeMap<DialpadCallId, Draft>,
}

/// A call as the batch has left it so far.
#[derive(Default)]
struct Draft {
    record: Option<CallRecord>,
    voicemail: Option<VoicemailRecord>,
}

impl<'p> Batch<'p> {
    pub(super) fn new(app_id: AppId, pending: &'p [PendingEvent], now: DateTime<Utc>) -> Self {
        let events = vec![Vec::new(); pending.len()];
        let decided = vec![false; pending.len()];
        Self { pending, now, unit: Unit::new(app_id, now), decided, events, drafts: BTreeMap::new() }
    }

    /// Adds what a call has decided. `positions` are those of its webhooks, or of the one that caused the decision.
    pub(super) fn add_outcome(&mut self, call: DialpadCallId, positions: &[usize], outcome: ApplyOutcome) {
        if let (Some(joined), Some(first)) = (outcome.joined, positions.first()) {
            self.events[*first].push(joined);
        }
        for (position, events) in positions.iter().zip(outcome.events) {
            self.events[*position].extend(events);
        }
        let draft = self.drafts.entry(call).or_default();
        draft.record = outcome.record.or(draft.record.take());
        draft.voicemail = outcome.voicemail.or(draft.voicemail.take());
    }

    /// Returns the time of the webhook at this position.
    pub(super) fn time_of(&self, position: usize) -> DateTime<Utc> {
        match &self.pending[position].content {
            Ok(Inbound::Call(event)) => event.at,
            _ => self.now,
        }
    }

    /// Adds an event that the webhook at this position causes.
    pub(super) fn add_event(&mut self, position: usize, event: OutEvent) {
        self.events[position].push(event);
    }

    pub(super) fn add_messages(&mut self, messages: impl IntoIterator<Item = StoredMessage>) {
        self.unit.messages.extend(messages);
    }

    /// Whether something is drafted for a call already.
    pub(super) fn has_draft(&self, call: DialpadCallId) -> bool {
        self.drafts.contains_key(&call)
    }

    /// Returns a call as it is drafted.
    pub(super) fn record(&self, call: DialpadCallId) -> Option<&CallRecord> {
        self.drafts.get(&call)?.record.as_ref()
    }

    /// Returns the calls that are drafted.
    pub(super) fn records(&self) -> impl Iterator<Item = &CallRecord> {
        self.drafts.values().filter_map(|draft| draft.record.as_ref())
    }

    /// Adds what a call has changed about an interaction.
    pub(super) fn add_interaction(&mut self, interaction: StoredInteraction) {
        self.unit.interactions.push(interaction);
    }

    /// Returns the calls that have a draft.
    pub(super) fn drafted_calls(&self) -> Vec<DialpadCallId> {
        self.drafts.keys().copied().collect()
    }

    /// Drops the drafts of these calls and the events of these webhooks, which will come again.
    pub(super) fn discard(&mut self, calls: &BTreeSet<DialpadCallId>, positions: &[usize]) {
        self.drafts.retain(|call, _| !calls.contains(call));
        for position in positions {
            self.events[*position].clear();
        }
    }

    /// Marks webhooks as processed.
    pub(super) fn mark_processed(&mut self, positions: &[usize]) {
        for position in positions {
            self.decided[*position] = true;
            let webhook = &self.pending[*position];
            match &webhook.incoming {
                Some(row) => self.unit.incoming.push((Arc::clone(row), IncomingStatus::Processed)),
                None => self.unit.processed.push(webhook.id),
            }
        }
    }

    /// Marks a webhook as failed: no retry would help.
    pub(super) fn mark_failed(&mut self, position: usize, reason: &str) {
        self.decided[position] = true;
        fail(&self.pending[position], reason, &mut self.unit);
    }

    /// Counts a failed attempt at a webhook.
    pub(super) fn record_failed_attempt(&mut self, position: usize, reason: &str) {
        self.decided[position] = true;
        record_failed_attempt(&self.pending[position], reason, &mut self.unit);
    }

    /// Returns how many events each webhook causes, by position.
    pub(super) fn event_counts(&self) -> impl Iterator<Item = usize> {
        self.events.iter().map(Vec::len)
    }

    /// Returns everything that is to be written, and which webhooks have a status with it, by position. The others come
    /// again.
    pub(super) fn into_unit(self) -> (Unit, Vec<bool>) {
        let mut unit = self.unit;
        for draft in self.drafts.into_values() {
            unit.calls.extend(draft.record);
            unit.voicemails.extend(draft.voicemail);
        }
        unit.events = self.events.into_iter().flatten().collect();
        (unit, self.decided)
    }
}

/// Counts a failed attempt; after the last one the webhook is given up.
pub(super) fn record_failed_attempt(webhook: &PendingEvent, reason: &str, unit: &mut Unit) {
    if webhook.attempts + 1 >= MAX_ATTEMPTS {
        counter!("cti_webhooks_given_up_total").increment(1);
        error!(app.id = %unit.app_id, webhook.id = %webhook.id, reason, "an accepted webhook is given up");
        fail(webhook, reason, unit);
        return;
    }
    match &webhook.incoming {
        Some(row) => unit.incoming.push((Arc::clone(row), IncomingStatus::Retried)),
        None => unit.retried.push(webhook.id),
    }
}

fn fail(webhook: &PendingEvent, reason: &str, unit: &mut Unit) {
    match &webhook.incoming {
        Some(row) => unit.incoming.push((Arc::clone(row), IncomingStatus::Failed(reason.to_owned()))),
        None => unit.failed.push((webhook.id, reason.to_owned())),
    }
}

/// Logs which webhooks a unit of work has processed, and which events came of them all.
pub(super) fn log_processed(unit: &Unit, receipt: Receipt) {
    if !enabled!(Level::DEBUG) {
        return;
    }
    let (first_seq, last) =
        (receipt.last_seq_before.next(), receipt.last_seq_before.0 + unit.events.len() as i64);
    let incoming = unit.incoming.iter().map(|(webhook, _)| webhook.id);
    for webhook in incoming.chain(unit.processed.iter().copied()) {
        debug!(
            app.id = %unit.app_id, webhook.id = %webhook, first_seq = first_seq.0, last_seq = last,
            "webhooks were processed"
        );
    }
}
