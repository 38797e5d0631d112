//! The unit of work: everything that a batch of webhooks changes, written together or not at all.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use opentelemetry::trace::SpanContext;

use crate::{
    event::OutEvent,
    id::{AppId, DialpadCallId, Fence, JournalId, Seq},
    model::{
        call::{CallRecord, VoicemailRecord},
        interaction::StoredInteraction,
        message::StoredMessage,
        number::Region,
    },
};

/// A webhook that is not in the journal yet: the unit of work that processes it writes its row too. The engine does not
/// look into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingWebhook {
    /// Its id in the journal.
    pub id: JournalId,
    /// The organization that the payload names.
    pub organization_id: Option<i64>,
    /// What makes two webhooks of an app the same one.
    pub dedup_key: DedupKey,
    /// Its event type or state, in the sender's words.
    pub event_type: String,
    /// The payload as it came; of a JWS, its claims.
    pub payload: Arc<[u8]>,
    /// What could not be read of it, although it is processed.
    pub remark: Option<String>,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// The span of its request, if that is recorded.
    pub trace: Option<SpanContext>,
}

/// What makes two webhooks of an app the same one, as the journal stores it.
pub type DedupKey = [u8; 36];

/// The status with which a webhook comes into the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncomingStatus {
    /// It is processed.
    Processed,
    /// An attempt has failed, and it will be tried again.
    Retried,
    /// It has failed for good, for this reason.
    Failed(String),
}

/// One app's changes. The order within `events` is the order in which they get their `seq`.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The app.
    pub app_id: AppId,
    /// The ownership under which it was decided. It is refused under a later one.
    pub fence: Fence,
    /// The time of the decision.
    pub decided_at: DateTime<Utc>,
    /// How the app's numbers are read that have no country code.
    pub region: Region,
    /// Legs of which the store knows nothing: neither such a call, nor one that names it. Otherwise the unit is refused
    /// with [`Conflict`](crate::error::StoreError::Conflict).
    pub unseen: Vec<DialpadCallId>,
    /// The changed calls; each replaces exactly the version before its own.
    pub calls: Vec<CallRecord>,
    /// The changed interactions; each replaces exactly the version before its own.
    pub interactions: Vec<StoredInteraction>,
    /// The changed voicemails.
    pub voicemails: Vec<VoicemailRecord>,
    /// The changed messages; each replaces exactly the version before its own.
    pub messages: Vec<StoredMessage>,
    /// The events to emit.
    pub events: Vec<OutEvent>,
    /// Webhooks that are not in the journal yet, and the status that they get there.
    pub incoming: Vec<(Arc<IncomingWebhook>, IncomingStatus)>,
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
            fence: Fence::UNCHECKED,
            decided_at,
            region: Region::default(),
            unseen: Vec::new(),
            calls: Vec::new(),
            interactions: Vec::new(),
            voicemails: Vec::new(),
            messages: Vec::new(),
            events: Vec::new(),
            incoming: Vec::new(),
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
            fence: _,
            decided_at: _,
            region: _,
            unseen,
            calls,
            interactions,
            voicemails,
            messages,
            events,
            incoming,
            processed,
            retried,
            failed,
        } = self;
        unseen.is_empty()
            && calls.is_empty()
            && interactions.is_empty()
            && voicemails.is_empty()
            && messages.is_empty()
            && events.is_empty()
            && incoming.is_empty()
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
