//! The events, typed. To add an event type: a variant of [`Body`], a line in [`Body::read`].

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::enums::{Direction, Leg, Outcome, Status};

/// One event of the feed.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its position in the app's feed: 1, 2, 3 … without holes.
    pub seq: u64,
    /// The same at every delivery.
    pub event_id: String,
    /// The app that it belongs to.
    pub app_id: String,
    /// Its type, such as `call.ring`.
    pub kind: String,
    /// When its cause happened, in Unix seconds.
    pub timestamp: Option<i64>,
    /// What happened.
    pub body: Body,
    /// The event as it was received.
    pub json: String,
}

impl Event {
    /// Returns the call that it is about; `None` for other events.
    #[must_use]
    pub fn call(&self) -> Option<&Call> {
        match &self.body {
            Body::CallRing(event) => Some(&event.call),
            Body::CallStarted(event) => Some(&event.call),
            Body::CallHeld(event) => Some(&event.call),
            Body::CallResumed(event) => Some(&event.call),
            Body::CallEnded(event) => Some(&event.call),
            Body::CallUpdated(event) => Some(&event.call),
            Body::CallRaw(event) => Some(&event.call),
            Body::VoicemailReceived(event) | Body::VoicemailUpdated(event) => Some(&event.call),
            Body::InteractionEnded(_)
            | Body::InteractionUpdated(_)
            | Body::MessageReceived(_)
            | Body::MessageSent(_)
            | Body::MessageUpdated(_)
            | Body::ConnectionConnected(_)
            | Body::ConnectionDegraded(_)
            | Body::ConnectionRecovered(_)
            | Body::ConnectionExpired(_)
            | Body::ConnectionDisconnected(_)
            | Body::Other(_) => None,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// A call is on its way to a person.
    CallRing(CallRing),
    /// A person answered the call.
    CallStarted(CallStarted),
    /// The call is on hold.
    CallHeld(CallHeld),
    /// The hold ended.
    CallResumed(CallResumed),
    /// The call ended.
    CallEnded(CallEnded),
    /// Facts of the call changed, its status did not; or a presumed end is withdrawn.
    CallUpdated(CallUpdated),
    /// Dialpad reported something for which there is no type.
    CallRaw(CallRaw),
    /// A voicemail was left.
    VoicemailReceived(Voicemail),
    /// The audio or the transcript of a voicemail arrived.
    VoicemailUpdated(Voicemail),
    /// A human call is over, with all its legs, and nothing more came for a while.
    InteractionEnded(Interaction),
    /// Something became known of it after that.
    InteractionUpdated(Interaction),
    /// The company received a text message.
    MessageReceived(TextMessage),
    /// The company sent a text message.
    MessageSent(TextMessage),
    /// The status or another fact of a text message changed.
    MessageUpdated(TextMessage),
    /// The app was connected to Dialpad.
    ConnectionConnected(Connection),
    /// The app's tokens could not be refreshed; this may recover by itself.
    ConnectionDegraded(Connection),
    /// The tokens could be refreshed again.
    ConnectionRecovered(Connection),
    /// The tokens expired: the app must be authorized again.
    ConnectionExpired(Connection),
    /// The app was disconnected.
    ConnectionDisconnected(Connection),
    /// A type that this version does not know, or that has an unknown shape.
    Other(Value),
}

impl Body {
    /// Reads what it can: an event of a newer server must not stop an older client.
    pub(crate) fn read(kind: &str, json: &str) -> Self {
        match kind {
            "call.ring" => typed(json, Self::CallRing),
            "call.started" => typed(json, Self::CallStarted),
            "call.held" => typed(json, Self::CallHeld),
            "call.resumed" => typed(json, Self::CallResumed),
            "call.ended" => typed(json, Self::CallEnded),
            "call.updated" => typed(json, Self::CallUpdated),
            "call.raw" => typed(json, Self::CallRaw),
            "voicemail.received" => typed(json, Self::VoicemailReceived),
            "voicemail.updated" => typed(json, Self::VoicemailUpdated),
            "interaction.ended" => typed(json, Self::InteractionEnded),
            "interaction.updated" => typed(json, Self::InteractionUpdated),
            "message.received" => typed(json, Self::MessageReceived),
            "message.sent" => typed(json, Self::MessageSent),
            "message.updated" => typed(json, Self::MessageUpdated),
            "connection.connected" => typed(json, Self::ConnectionConnected),
            "connection.degraded" => typed(json, Self::ConnectionDegraded),
            "connection.recovered" => typed(json, Self::ConnectionRecovered),
            "connection.expired" => typed(json, Self::ConnectionExpired),
            "connection.disconnected" => typed(json, Self::ConnectionDisconnected),
            _ => other(json),
        }
    }
}

fn typed<T: DeserializeOwned>(json: &str, body: impl FnOnce(T) -> Body) -> Body {
    serde_json::from_str(json).map_or_else(|_| other(json), body)
}

fn other(json: &str) -> Body {
    Body::Other(serde_json::from_str(json).unwrap_or_default())
}

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

impl std::ops::Deref for CallUpdated {
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

/// A text message.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct TextMessage {
    /// The server's id of it.
    pub message_id: String,
    /// Dialpad's id of it.
    pub dialpad_message_id: Option<DialpadId>,
    /// The direction, from the company's viewpoint.
    pub direction: Option<Direction>,
    /// The sending number.
    pub from_number: Option<String>,
    /// The receiving number; several are separated by commas.
    pub to_number: Option<String>,
    /// The receiving numbers.
    #[serde(default)]
    pub to_numbers: Vec<String>,
    /// The sending number in E.164 form, if it is a phone number.
    pub from_e164: Option<String>,
    /// The receiving numbers in E.164 form, separated by commas.
    pub to_e164: Option<String>,
    /// The Dialpad user of the message.
    pub dialpad_user_id: Option<i64>,
    /// The CRM's id of that user.
    pub crm_user_id: Option<String>,
    /// The text, if the connection's scopes include it.
    pub text: Option<String>,
    /// The URL of a picture or file.
    pub mms_url: Option<String>,
    /// The URLs of all pictures and files.
    #[serde(default)]
    pub media_urls: Vec<String>,
    /// Dialpad's delivery status.
    pub message_status: Option<String>,
    /// Dialpad's result of the delivery.
    pub message_delivery_result: Option<String>,
    /// When it was sent.
    pub sent_at: Option<DateTime<Utc>>,
}

/// The app's connection to Dialpad.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Connection {
    /// `sandbox` or `production`.
    pub environment: Option<String>,
    /// Dialpad's id of the company.
    pub dialpad_org_id: Option<i64>,
    /// A stable code if something is wrong: `TOKEN_REFRESH_FAILED`, `TOKENS_EXPIRED`.
    pub code: Option<String>,
    /// Why the tokens could not be refreshed, for people. Only of `connection.degraded`.
    pub reason: Option<String>,
}

/// An id of Dialpad: a number if Dialpad uses a number.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum DialpadId {
    /// A number.
    Number(i64),
    /// A string.
    Text(String),
}

impl fmt::Display for DialpadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}
