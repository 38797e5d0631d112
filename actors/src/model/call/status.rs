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
