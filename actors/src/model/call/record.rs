//! A call at rest: what the store gives back and what it is given.

use chrono::{DateTime, Utc};

use super::{
    event::Direction,
    facts::CallFacts,
    snapshot::{Snapshot, Voicemail},
};
use crate::id::{CallId, DialpadCallId, InteractionId, VoicemailId};

/// A call as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCall {
    /// Our name of it.
    pub id: CallId,
    /// Dialpad's name of it.
    pub dialpad_call_id: DialpadCallId,
    /// The human call that it is a leg of.
    pub interaction_id: InteractionId,
    /// Our name of its voicemail, where it has one.
    pub voicemail_id: Option<VoicemailId>,
    /// Guards against a second writer: every write replaces exactly the version before.
    pub version: i64,
    /// When anything that is shown last changed.
    pub updated_at: DateTime<Utc>,
    /// What is known.
    pub facts: CallFacts,
}

impl StoredCall {
    /// A call that the store does not know yet.
    #[must_use]
    pub fn unseen(dialpad_call_id: DialpadCallId, now: DateTime<Utc>) -> Self {
        let (id, facts) = (CallId::generate(), CallFacts::default());
        let interaction_id = id.into();
        Self { id, dialpad_call_id, interaction_id, voicemail_id: None, version: 0, updated_at: now, facts }
    }
}

/// A call as it is from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The call, with its new version.
    pub call: StoredCall,
    /// What its facts amount to.
    pub snapshot: Snapshot,
}

/// A voicemail as it is from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoicemailRecord {
    /// Our name of it.
    pub id: VoicemailId,
    /// Dialpad's name of the call on which it was left.
    pub dialpad_call_id: DialpadCallId,
    /// Its content.
    pub voicemail: Voicemail,
    /// Who called whom.
    pub direction: Option<Direction>,
    /// The calling number.
    pub from_number: Option<String>,
    /// The called number.
    pub to_number: Option<String>,
    /// The Dialpad user for whom it was left.
    pub dialpad_user_id: Option<i64>,
    /// When this was decided.
    pub updated_at: DateTime<Utc>,
}
