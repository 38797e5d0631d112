//! The words for the state of a call.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantNames};
use utoipa::ToSchema;

/// The state of a call.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    ToSchema,
    EnumString,
    IntoStaticStr,
    VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Status {
    /// The call is on its way to a person.
    Ringing,
    /// Two people talk.
    Active,
    /// One side is on hold.
    Held,
    /// The call is over.
    Ended,
}

impl Status {
    /// Returns the word in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How a call ended.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    ToSchema,
    EnumString,
    IntoStaticStr,
    VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Outcome {
    /// A person answered.
    Answered,
    /// An inbound call that no person answered.
    Missed,
    /// The caller left a voicemail.
    Voicemail,
    /// The call was blocked or declined.
    Rejected,
    /// The caller left a menu or a queue, or an outbound call was not answered.
    Abandoned,
}

impl Outcome {
    /// Returns the word in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A state of a live call in Dialpad's own words. Of two states of the same instant the later one here counts.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum DialpadState {
    /// An outbound call was placed.
    Calling,
    /// Dialpad picked up: a greeting or a menu.
    Preanswer,
    /// The caller waits in a queue.
    Queued,
    /// A phone rings.
    Ringing,
    /// The caller was sent to voicemail.
    Voicemail,
    /// Two sides are connected; on a group's leg it can be a menu.
    Connected,
    /// One side is on hold.
    Hold,
    /// The call is parked.
    Parked,
    /// The call is no longer parked.
    Unpark,
    /// The call was joined with another one.
    Merged,
    /// A supervisor listens.
    Monitor,
    /// A supervisor listens.
    Eavesdrop,
    /// A supervisor joined.
    Barge,
    /// A supervisor took the call over.
    Takeover,
}

impl DialpadState {
    /// Returns Dialpad's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
