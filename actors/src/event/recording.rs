//! The parts of a call's recording as they are delivered.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ids_as_text::number_or_text, schema::DialpadId};
use crate::model::call::Recording;

/// One part of a call's recording: one that is paused and continued has several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Recording)]
pub struct RecordingBody {
    /// Dialpad's id of it.
    #[schema(value_type = Option<DialpadId>)]
    id: Option<serde_json::Value>,
    /// Where Dialpad keeps the audio.
    pub url: Option<String>,
    /// The kind, in Dialpad's words: `callrecording` or `admincallrecording`.
    #[serde(rename = "type")]
    kind: String,
    /// The length in seconds.
    duration_seconds: Option<i64>,
    /// When it began.
    started_at: Option<DateTime<Utc>>,
}

impl RecordingBody {
    /// Whether it is this part, by Dialpad's id, or by the address where there is none.
    #[must_use]
    pub fn is(&self, other: &Recording) -> bool {
        let other = Self::from(other);
        if self.id.is_some() || other.id.is_some() { self.id == other.id } else { self.url == other.url }
    }
}

impl From<&RecordingBody> for Recording {
    fn from(body: &RecordingBody) -> Self {
        Self {
            id: body.id.as_ref().map(id_text),
            url: body.url.clone(),
            kind: body.kind.clone(),
            duration_seconds: body.duration_seconds,
            started_at: body.started_at,
        }
    }
}

/// Returns an id of Dialpad's as text, whichever way JSON has it.
fn id_text(id: &serde_json::Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

impl From<&Recording> for RecordingBody {
    fn from(recording: &Recording) -> Self {
        Self {
            id: recording.id.as_deref().map(number_or_text),
            url: recording.url.clone(),
            kind: recording.kind.clone(),
            duration_seconds: recording.duration_seconds,
            started_at: recording.started_at,
        }
    }
}

/// Returns the parts as they are delivered.
#[must_use]
pub fn recording_bodies(recordings: &[Recording]) -> Vec<RecordingBody> {
    recordings.iter().map(RecordingBody::from).collect()
}
