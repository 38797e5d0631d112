//! A call as the store has it.

use chrono::{DateTime, Utc};

use super::{
    event::Direction,
    facts::CallFacts,
    snapshot::{Snapshot, Voicemail},
};
use crate::id::{CallId, DialpadCallId, InteractionId, VoicemailId};

/// A call as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCall {
    /// Our id.
    pub id: CallId,
    /// Dialpad's id.
    pub dialpad_call_id: DialpadCallId,
    /// The human call of the leg.
    pub interaction_id: InteractionId,
    /// Our id of its voicemail, if it has one.
    pub voicemail_id: Option<VoicemailId>,
    /// Detects a second writer: every write replaces exactly the version before.
    pub version: i64,
    /// When anything that is shown last changed.
    pub updated_at: DateTime<Utc>,
    /// What is known.
    pub facts: CallFacts,
}

impl StoredCall {
    /// Returns a call that the store does not have yet.
    #[must_use]
    pub fn unseen(dialpad_call_id: DialpadCallId, now: DateTime<Utc>) -> Self {
        let id = CallId::generate();
        Self {
            id,
            dialpad_call_id,
            interaction_id: id.into(),
            voicemail_id: None,
            version: 0,
            updated_at: now,
            facts: CallFacts::default(),
        }
    }
}

/// A changed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The call, with its new version.
    pub call: StoredCall,
    /// The call as it is shown.
    pub snapshot: Snapshot,
}

/// A changed voicemail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoicemailRecord {
    /// Our id.
    pub id: VoicemailId,
    /// Dialpad's id of the call on which it was left.
    pub dialpad_call_id: DialpadCallId,
    /// The content.
    pub voicemail: Voicemail,
    /// The direction of the call.
    pub direction: Option<Direction>,
    /// The calling number.
    pub from_number: Option<String>,
    /// The called number.
    pub to_number: Option<String>,
    /// The Dialpad user for whom it was left.
    pub dialpad_user_id: Option<i64>,
    /// The time of the decision.
    pub updated_at: DateTime<Utc>,
}
