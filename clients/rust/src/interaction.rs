//! What the events about interactions say: human calls with all their legs.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::{
    call::Recording,
    enums::{Direction, Outcome, Status},
    event::DialpadId,
};

/// A human call with all its legs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Interaction {
    /// Its id, which all its legs have.
    pub interaction_id: String,
    /// The status of the leg that has come furthest.
    pub status: Option<Status>,
    /// The best outcome of its legs.
    pub outcome: Option<Outcome>,
    /// The direction, from the company's viewpoint.
    pub direction: Option<Direction>,
    /// The number outside the company.
    pub external_number: Option<String>,
    /// Whether every leg is within the company, as those of a consultation are.
    pub is_internal: Option<bool>,
    /// The Dialpad user who answered first.
    pub answered_by: Option<i64>,
    /// The CRM's id of that user.
    pub answered_by_crm_user_id: Option<String>,
    /// When a person answered.
    pub answered_at: Option<DateTime<Utc>>,
    /// When the last leg ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The time from the beginning of the first leg to the end.
    pub duration_seconds: Option<u64>,
    /// The talk of all persons, without holds.
    pub talk_seconds: Option<u64>,
    /// The holds of all persons.
    pub hold_seconds: Option<u64>,
    /// The voicemail.
    pub voicemail: Option<InteractionVoicemail>,
    /// The recordings of all legs.
    #[serde(default)]
    pub recordings: Vec<InteractionRecording>,
    /// Dialpad's ids of the legs.
    #[serde(default)]
    pub calls: Vec<i64>,
    /// The fields that changed, of `interaction.updated`.
    #[serde(default)]
    pub changed: Vec<String>,
}

/// The voicemail of an interaction.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct InteractionVoicemail {
    /// The server's id of it.
    pub voicemail_id: String,
    /// Dialpad's id of it.
    pub dialpad_voicemail_id: Option<DialpadId>,
    /// Where Dialpad keeps the audio.
    pub recording_url: Option<String>,
    /// The transcript.
    pub transcript: Option<String>,
    /// Its duration.
    pub duration_seconds: Option<u64>,
    /// When it was left.
    pub received_at: Option<DateTime<Utc>>,
}

/// One part of a recording of an interaction.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct InteractionRecording {
    /// Dialpad's id of the leg that was recorded.
    pub call_id: Option<i64>,
    /// The part.
    #[serde(flatten)]
    pub recording: Recording,
}
