//! A batch of webhooks while it is decided: what is drafted for each call, what will be told for each webhook, and the
//! unit of work that it all becomes. Nothing here leaves memory.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use metrics::counter;

use super::call_actor::ApplyOutcome;
use crate::{
    event::OutEvent,
    id::{AppId, DialpadCallId},
    model::{
        call::{CallRecord, VoicemailRecord},
        message::StoredMessage,
    },
    ports::PendingEvent,
    unit::Unit,
};

/// How often a webhook is tried.
pub(crate) const MAX_ATTEMPTS: u16 = 3;

/// See the module.
pub(super) struct Batch<'p> {
    pub(super) pending: &'p [PendingEvent],
    pub(super) now: DateTime<Utc>,
    unit: Unit,
    /// What is told for each webhook, so that the feed follows the order of the journal.
    told: Vec<Vec<OutEvent>>,
    drafts: BTreeMap<DialpadCallId, Draft>,
}

/// A call as the batch has left it so far.
struct Draft {
    record: Option<CallRecord>,
    voicemail: Option<VoicemailRecord>,
}

impl<'p> Batch<'p> {
    pub(super) fn new(app_id: AppId, pending: &'p [PendingEvent], now: DateTime<Utc>) -> Self {
        let told = vec![Vec::new(); pending.len()];
        Self { pending, now, unit: Unit::new(app_id, now), told, drafts: BTreeMap::new() }
    }

    /// Takes over what a call has decided. `places` are those of its webhooks, or of the one that caused it.
    pub(super) fn take(&mut self, call: DialpadCallId, places: &[usize], outcome: ApplyOutcome) {
        if let (Some(joined), Some(first)) = (outcome.joined, places.first()) {
            self.told[*first].push(joined);
        }
        for (place, events) in places.iter().zip(outcome.told) {
            self.told[*place].extend(events);
        }
        let draft = self.drafts.entry(call).or_insert(Draft { record: None, voicemail: None });
        draft.record = outcome.record.or(draft.record.take());
        draft.voicemail = outcome.voicemail.or(draft.voicemail.take());
    }

    /// Whether something is drafted for a call already.
    pub(super) fn has_draft(&self, call: DialpadCallId) -> bool {
        self.drafts.contains_key(&call)
    }

    /// The calls that have staged something.
    pub(super) fn drafted(&self) -> Vec<DialpadCallId> {
        self.drafts.keys().copied().collect()
    }

    /// Forgets what was drafted for these calls and told for these webhooks; they will come again.
    pub(super) fn forget(&mut self, calls: &BTreeSet<DialpadCallId>, places: &[usize]) {
        self.drafts.retain(|call, _| !calls.contains(call));
        places.iter().for_each(|place| self.told[*place].clear());
    }

    /// These webhooks are dealt with.
    pub(super) fn processed(&mut self, places: &[usize]) {
        self.unit.processed.extend(places.iter().map(|place| self.pending[*place].id));
    }

    pub(super) fn tell(&mut self, place: usize, event: Option<OutEvent>) {
        self.told[place].extend(event);
    }

    pub(super) fn write(&mut self, messages: impl IntoIterator<Item = StoredMessage>) {
        self.unit.messages.extend(messages);
    }

    /// This webhook can't be applied, whatever is tried.
    pub(super) fn fail(&mut self, place: usize, reason: &str) {
        self.unit.failed.push((self.pending[place].id, reason.to_owned()));
    }

    /// This webhook could not be applied: it has used up an attempt.
    pub(super) fn record_failed_attempt(&mut self, place: usize, reason: &str) {
        record_failed_attempt(&self.pending[place], reason, &mut self.unit);
    }

    /// What is to be written.
    pub(super) fn into_unit(self) -> Unit {
        let mut unit = self.unit;
        for draft in self.drafts.into_values() {
            unit.calls.extend(draft.record);
            unit.voicemails.extend(draft.voicemail);
        }
        unit.events = self.told.into_iter().flatten().collect();
        unit
    }
}

/// Counts an attempt in vain; the last one gives the webhook up.
pub(super) fn record_failed_attempt(pending: &PendingEvent, reason: &str, unit: &mut Unit) {
    if pending.attempts + 1 < MAX_ATTEMPTS {
        unit.retried.push(pending.id);
    } else {
        counter!("cti_webhooks_given_up_total").increment(1);
        unit.failed.push((pending.id, reason.to_owned()));
    }
}
