//! The unit of work: everything that a batch of webhooks changes, written together or not at all.

use chrono::{DateTime, Utc};

use crate::{
    event::OutEvent,
    id::{AppId, JournalId, Seq},
    model::{
        call::{CallRecord, VoicemailRecord},
        message::StoredMessage,
        number::Region,
    },
};

/// One app's changes. The order within `events` is the order in which they get their `seq`.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The app.
    pub app_id: AppId,
    /// The time of the decision.
    pub decided_at: DateTime<Utc>,
    /// How the app's numbers are read that have no country code.
    pub region: Region,
    /// The changed calls; each replaces exactly the version before its own.
    pub calls: Vec<CallRecord>,
    /// The changed voicemails.
    pub voicemails: Vec<VoicemailRecord>,
    /// The changed messages; each replaces exactly the version before its own.
    pub messages: Vec<StoredMessage>,
    /// The events to emit.
    pub events: Vec<OutEvent>,
    /// Webhooks that are processed.
    pub processed: Vec<JournalId>,
    /// Webhooks whose attempt failed and that will be tried again.
    pub retried: Vec<JournalId>,
    /// Webhooks that have failed for good, with the reason.
    pub failed: Vec<(JournalId, String)>,
}

impl Unit {
    /// Returns a unit without changes.
    #[must_use]
    pub fn new(app_id: AppId, decided_at: DateTime<Utc>) -> Self {
        Self {
            app_id,
            decided_at,
            region: Region::default(),
            calls: Vec::new(),
            voicemails: Vec::new(),
            messages: Vec::new(),
            events: Vec::new(),
            processed: Vec::new(),
            retried: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            app_id: _,
            decided_at: _,
            region: _,
            calls,
            voicemails,
            messages,
            events,
            processed,
            retried,
            failed,
        } = self;
        calls.is_empty()
            && voicemails.is_empty()
            && messages.is_empty()
            && events.is_empty()
            && processed.is_empty()
            && retried.is_empty()
            && failed.is_empty()
    }
}

/// The proof that a unit is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The last event of the feed before this unit: its first event has the next `seq`.
    pub last_seq_before: Seq,
}
