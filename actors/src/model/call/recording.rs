//! The recordings of a call. A recording that is paused and continued consists of several parts.

use std::{cmp::Ordering, collections::BTreeMap};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::millis::Millis;
use crate::model::latest::{Latest, latest, value};

/// The kind of a recording in Dialpad's words: of the conversation.
pub const CALL_RECORDING: &str = "callrecording";
/// The kind of a recording in Dialpad's words: the administrators' own.
pub const ADMIN_RECORDING: &str = "admincallrecording";

/// What a payload says of one part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordingKnowledge {
    /// Dialpad's id of it.
    pub id: Option<String>,
    /// Where the audio is.
    pub url: Option<String>,
    /// The kind in Dialpad's words.
    pub kind: String,
    /// The length.
    pub duration_ms: Option<Millis>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// Its place in the list that has it.
    pub position: i64,
}

/// One part of a call's recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// Dialpad's id.
    pub id: Option<String>,
    /// Where the audio is.
    pub url: Option<String>,
    /// The kind in Dialpad's words.
    #[serde(rename = "type", default = "call_recording")]
    pub kind: String,
    /// The length.
    pub duration_seconds: Option<i64>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
}

fn call_recording() -> String {
    CALL_RECORDING.to_owned()
}

impl Recording {
    /// Returns whether both are the same audio.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let are_equal = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
        are_equal(&self.id, &other.id) || are_equal(&self.url, &other.url)
    }
}

/// What is known of one part.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Part {
    id: Option<String>,
    url: Option<Latest<String>>,
    kind: Option<Latest<String>>,
    duration_ms: Option<Latest<Millis>>,
    started_at: Option<Latest<DateTime<Utc>>>,
    position: Option<Latest<i64>>,
}

/// What is known of all parts, by Dialpad's id, or by the address where no payload gave an id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Recordings(BTreeMap<String, Part>);

/// Returns the parts that one payload lists, as they are shown.
#[must_use]
pub fn recording_parts(reported: &[RecordingKnowledge]) -> Vec<Recording> {
    let mut recordings = Recordings::default();
    recordings.absorb(DateTime::UNIX_EPOCH, reported);
    recordings.shown()
}

impl Recordings {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Merges in what one payload says, in any order.
    pub(super) fn absorb(&mut self, at: DateTime<Utc>, reported: &[RecordingKnowledge]) {
        for recording in reported {
            let key = match (&recording.id, &recording.url) {
                (Some(id), _) => format!("id:{id}"),
                (None, Some(url)) => format!("url:{url}"),
                (None, None) => continue,
            };
            let part = self.0.entry(key).or_default();
            part.id.clone_from(&recording.id);
            latest(&mut part.url, at, &recording.url);
            latest(&mut part.kind, at, &Some(recording.kind.clone()));
            latest(&mut part.duration_ms, at, &recording.duration_ms);
            latest(&mut part.started_at, at, &recording.started_at);
            latest(&mut part.position, at, &Some(recording.position));
        }
    }

    /// Returns all parts: the conversation's before the administrators', each in the order of time.
    pub(super) fn shown(&self) -> Vec<Recording> {
        let mut parts: Vec<&Part> = self.0.values().filter(|part| !self.is_repeated(part)).collect();
        parts.sort_by(|one, other| one.compare(other));
        parts.into_iter().map(Part::shown).collect()
    }

    /// Dialpad lists the same recordings twice: with their details, and as addresses alone.
    fn is_repeated(&self, part: &Part) -> bool {
        part.id.is_none() && self.0.values().any(|other| other.id.is_some() && other.kind() == part.kind())
    }
}

impl Part {
    fn kind(&self) -> Option<String> {
        value(&self.kind)
    }

    fn compare(&self, other: &Self) -> Ordering {
        let rank = |part: &Self| {
            let is_copy = part.kind().as_deref() != Some(CALL_RECORDING);
            let started_at = value(&part.started_at);
            (is_copy, started_at.is_none(), started_at, value(&part.position))
        };
        let text = |part: &Self| (part.id.clone(), value(&part.url));
        rank(self).cmp(&rank(other)).then_with(|| text(self).cmp(&text(other)))
    }

    fn shown(&self) -> Recording {
        Recording {
            id: self.id.clone(),
            url: value(&self.url),
            kind: self.kind().unwrap_or_default(),
            duration_seconds: value(&self.duration_ms).map(Millis::seconds),
            started_at: value(&self.started_at),
        }
    }
}
