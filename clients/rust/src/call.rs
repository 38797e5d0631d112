//! What the events about calls and voicemails say.

use std::ops::Deref;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    enums::{Direction, Leg, Outcome, Status},
    event::DialpadId,
};

/// The fields of a call in every event about it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Call {
    /// Dialpad's id of the call.
    pub dialpad_call_id: i64,
    /// The interaction that it is a leg of. `None` if nothing is known of the call but a state without a type.
    pub interaction_id: Option<String>,
    /// The kind of leg.
    pub leg: Option<Leg>,
    /// The direction, from the company's viewpoint.
    pub direction: Option<Direction>,
    /// The calling number.
    pub from_number: Option<String>,
    /// The called number.
    pub to_number: Option<String>,
    /// The calling number in E.164 form, if it is a phone number.
    pub from_e164: Option<String>,
    /// The called number in E.164 form, if it is a phone number.
    pub to_e164: Option<String>,
    /// The name of the person on the other side.
    pub contact_name: Option<String>,
    /// The user or group of the leg.
    pub target_id: Option<i64>,
    /// The name of the user or group of the leg.
    pub target_name: Option<String>,
    /// Whether both sides are in the company.
    pub is_internal: Option<bool>,
    /// Whether the caller asked the queue to be called back.
    pub callback_requested: Option<bool>,
    /// What was passed when the call was placed.
    pub custom_data: Option<Value>,
    /// The Dialpad user of the leg.
    pub dialpad_user_id: Option<i64>,
    /// The CRM's id of that user.
    pub crm_user_id: Option<String>,
    /// Its status.
    pub status: Option<Status>,
    /// The newest live state in Dialpad's own words (`ringing`, `queued`, `parked` …), where they are used.
    #[serde(default)]
    pub dialpad_state: Option<String>,
    /// `repaired`: webhooks were missing, and the server asked Dialpad.
    pub source: Option<String>,
    /// Whether the event is inferred, because there was no webhook about the call for too long.
    #[serde(default)]
    pub inferred: bool,
}

/// A call is on its way to a person.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct CallRing {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// When it began to ring.
    pub ringing_at: Option<DateTime<Utc>>,
}

/// A person answered the call.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct CallStarted {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// When it was answered.
    pub started_at: Option<DateTime<Utc>>,
    /// Where Dialpad keeps the recording.
    pub recording_url: Option<String>,
}

/// The call is on hold.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct CallHeld {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// When the hold began.
    pub held_at: Option<DateTime<Utc>>,
}

/// The hold ended.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct CallResumed {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// When it ended.
    pub resumed_at: Option<DateTime<Utc>>,
}

/// The call ended.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct CallEnded {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The duration that Dialpad reports; otherwise the time from the first webhook to the end.
    pub duration_seconds: Option<u64>,
    /// Without holds.
    pub talk_seconds: Option<u64>,
    /// The sum of all holds.
    pub hold_seconds: Option<u64>,
    /// Where Dialpad keeps the recording.
    pub recording_url: Option<String>,
    /// All parts of the recording.
    #[serde(default)]
    pub recordings: Vec<Recording>,
    /// The outcome of the call.
    pub outcome: Option<Outcome>,
    /// Whether another leg was answered instead.
    #[serde(default)]
    pub answered_elsewhere: bool,
}

/// A part of a call's recording.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Recording {
    /// Dialpad's id of it.
    pub id: Option<DialpadId>,
    /// Where Dialpad keeps the audio.
    pub url: Option<String>,
    /// The kind in Dialpad's words.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its duration.
    pub duration_seconds: Option<u64>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
}

/// Facts of the call changed, its status did not; or a presumed end is withdrawn.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct CallUpdated {
    /// The call as it is now, with the known facts of its end.
    #[serde(flatten)]
    pub ended: CallEnded,
    /// The fields that changed.
    #[serde(default)]
    pub changed: Vec<String>,
    /// When it began to ring.
    pub ringing_at: Option<DateTime<Utc>>,
    /// When it was answered.
    pub started_at: Option<DateTime<Utc>>,
}

impl Deref for CallUpdated {
    type Target = CallEnded;

    fn deref(&self) -> &CallEnded {
        &self.ended
    }
}

/// Dialpad reported something for which there is no type.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct CallRaw {
    /// The call; few fields may be known.
    #[serde(flatten)]
    pub call: Call,
    /// Dialpad's state.
    pub state: Option<String>,
    /// The whole payload.
    #[serde(default)]
    pub payload: Value,
}

/// A voicemail.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Voicemail {
    /// The call on which it was left.
    #[serde(flatten)]
    pub call: Call,
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
}
