//! The events of an interaction: one human call with all its legs.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    EventType,
    ids_as_text::number_or_text,
    keys::EventKeys,
    out_event::{EventBody, OutEvent},
    schema::DialpadId,
};
use crate::{
    id::{AppId, DialpadCallId, InteractionId, VoicemailId},
    model::{
        call::{Direction, Outcome, Status},
        interaction::{InteractionChange, Part, Summary, VoicemailShown},
    },
};

/// The fields of every event of an interaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InteractionBody {
    interaction_id: InteractionId,
    status: Status,
    /// How the human call ended: the best outcome of its legs.
    outcome: Option<Outcome>,
    direction: Option<Direction>,
    /// The number outside the company.
    external_number: Option<String>,
    /// Whether every leg is within the company, as those of a consultation are; null where that is not known of all.
    is_internal: Option<bool>,
    /// The Dialpad user who answered first.
    #[schema(value_type = Option<DialpadId>)]
    answered_by: Option<i64>,
    /// The same person in the CRM, if a mapping is stored.
    answered_by_crm_user_id: Option<String>,
    /// When a person answered.
    started_at: Option<DateTime<Utc>>,
    /// The same instant.
    answered_at: Option<DateTime<Utc>>,
    /// When the last leg ended.
    ended_at: Option<DateTime<Utc>>,
    /// The time from the beginning of the first leg to the end, in seconds.
    duration_seconds: Option<i64>,
    /// The talk of all persons, without holds, in seconds.
    talk_seconds: Option<i64>,
    /// The holds of all persons, in seconds.
    hold_seconds: Option<i64>,
    voicemail: Option<InteractionVoicemail>,
    recordings: Vec<InteractionRecording>,
    /// Dialpad's ids of the legs.
    #[schema(value_type = Vec<DialpadId>)]
    calls: Vec<DialpadCallId>,
    #[serde(flatten)]
    #[schema(ignore)]
    of_type: OfType,
    /// Whom the event concerns, for filters.
    #[serde(skip)]
    user: Option<i64>,
}

/// The fields of one type of event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum OfType {
    Ended {},
    Updated(InteractionUpdatedFields),
}

/// The fields of `interaction.updated`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct InteractionUpdatedFields {
    /// The names of the fields that changed.
    #[schema(value_type = Vec<String>)]
    changed: Vec<&'static str>,
}

/// The voicemail of an interaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InteractionVoicemail {
    voicemail_id: VoicemailId,
    /// Dialpad's id of the voicemail.
    #[schema(value_type = Option<DialpadId>)]
    dialpad_voicemail_id: Option<serde_json::Value>,
    /// Where Dialpad keeps the audio.
    recording_url: Option<String>,
    /// The transcript.
    transcript: Option<String>,
    /// The length in seconds.
    duration_seconds: Option<i64>,
    /// When it was left.
    received_at: Option<DateTime<Utc>>,
}

/// One part of a recording of an interaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InteractionRecording {
    /// Dialpad's id of the leg that was recorded.
    #[schema(value_type = DialpadId)]
    call_id: DialpadCallId,
    /// Dialpad's id of the recording.
    #[schema(value_type = Option<DialpadId>)]
    id: Option<serde_json::Value>,
    /// Where Dialpad keeps the audio.
    url: Option<String>,
    /// The kind, in Dialpad's words: `callrecording` or `admincallrecording`.
    #[serde(rename = "type")]
    kind: String,
    /// The length in seconds.
    duration_seconds: Option<i64>,
    /// When it began.
    started_at: Option<DateTime<Utc>>,
}

impl From<VoicemailShown> for InteractionVoicemail {
    fn from(voicemail: VoicemailShown) -> Self {
        let VoicemailShown {
            voicemail_id,
            dialpad_voicemail_id,
            recording_url,
            transcript,
            duration_seconds,
            received_at,
        } = voicemail;
        let dialpad_voicemail_id = dialpad_voicemail_id.as_deref().map(number_or_text);
        Self { voicemail_id, dialpad_voicemail_id, recording_url, transcript, duration_seconds, received_at }
    }
}

impl From<Part> for InteractionRecording {
    fn from(part: Part) -> Self {
        let Part { call_id, recording } = part;
        Self {
            call_id,
            id: recording.id.as_deref().map(number_or_text),
            url: recording.url,
            kind: recording.kind,
            duration_seconds: recording.duration_seconds,
            started_at: recording.started_at,
        }
    }
}

impl InteractionBody {
    pub(super) fn user(&self) -> Option<i64> {
        self.user
    }

    /// Returns whose name in the CRM the event has.
    pub(super) fn answered_by(&self) -> Option<i64> {
        self.answered_by
    }

    pub(super) fn set_crm_user_id(&mut self, crm_user_id: Option<String>) {
        self.answered_by_crm_user_id = crm_user_id;
    }

    pub(super) fn keys(&self) -> EventKeys {
        let external = self.external_number.as_deref();
        EventKeys::of_interaction(
            self.interaction_id,
            self.direction,
            external,
            self.answered_by_crm_user_id.as_deref(),
        )
    }
}

impl From<&InteractionChange> for EventType {
    fn from(change: &InteractionChange) -> Self {
        match change {
            InteractionChange::Ended => Self::InteractionEnded,
            InteractionChange::Updated(_) => Self::InteractionUpdated,
        }
    }
}

/// Returns the event for a change of an interaction. `occurred_at` is when it ended, or the time of the webhook that
/// changed it.
#[must_use]
pub fn interaction_event(
    app_id: AppId,
    interaction_id: InteractionId,
    summary: &Summary,
    change: &InteractionChange,
    occurred_at: DateTime<Utc>,
) -> OutEvent {
    let user = summary.user();
    let body = InteractionBody {
        interaction_id,
        status: summary.status,
        outcome: summary.outcome,
        direction: summary.direction,
        external_number: summary.external_number.clone(),
        is_internal: summary.is_internal,
        answered_by: summary.answered_by,
        answered_by_crm_user_id: None,
        started_at: summary.answered_at,
        answered_at: summary.answered_at,
        ended_at: summary.ended_at,
        duration_seconds: summary.duration_seconds,
        talk_seconds: summary.talk_seconds,
        hold_seconds: summary.hold_seconds,
        voicemail: summary.voicemail.clone().map(Into::into),
        recordings: summary.recordings.iter().cloned().map(Into::into).collect(),
        calls: summary.calls.clone(),
        of_type: match change {
            InteractionChange::Ended => OfType::Ended {},
            InteractionChange::Updated(changed) => {
                OfType::Updated(InteractionUpdatedFields { changed: changed.clone() })
            }
        },
        user,
    };
    OutEvent::new(app_id, change.into(), occurred_at, EventBody::Interaction(Box::new(body)))
}
