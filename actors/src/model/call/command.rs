//! What a call decides on.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::event::{CallEvent, Origin};

/// One input of a call: see [`apply`](super::apply).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "nearly all of them are webhooks")]
pub enum CallCommand {
    /// A webhook about the call.
    Webhook {
        /// The webhook.
        event: CallEvent,
        /// What the other legs of its interaction prove once this webhook is known, in place of what they proved before;
        /// `None` for a call of one leg.
        proof: Option<Proof>,
    },
    /// What the other legs of its interaction prove now, in place of what they proved before. It follows from a webhook
    /// about another leg.
    Proven {
        /// What they prove.
        proof: Proof,
        /// The time of that webhook.
        at: DateTime<Utc>,
        /// The origin of that webhook.
        origin: Origin,
    },
}

impl CallCommand {
    /// Returns the time of the webhook that caused it.
    #[must_use]
    pub fn at(&self) -> DateTime<Utc> {
        match self {
            Self::Webhook { event, .. } => event.at,
            Self::Proven { at, .. } => *at,
        }
    }

    /// Returns the origin of the webhook that caused it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self {
            Self::Webhook { event, .. } => event.origin,
            Self::Proven { origin, .. } => *origin,
        }
    }
}

impl From<CallEvent> for CallCommand {
    fn from(event: CallEvent) -> Self {
        Self::Webhook { event, proof: None }
    }
}

/// What the other legs of an interaction prove of one leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Proof {
    /// On a group's leg: when a person whom the group had rung took the call.
    pub taken_at: Option<DateTime<Utc>>,
    /// On a person's leg that ended unanswered: whether another person answered while it rang, or later.
    pub answered_elsewhere: bool,
}
