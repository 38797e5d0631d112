//! What a CRM is told, typed. To add a type of event: a variant of [`Body`], a line in [`Body::read`].

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::word::{Direction, Leg, Outcome, Status};

/// One event of the feed.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its place in the app's feed: 1, 2, 3 … without holes.
    pub seq: u64,
    /// The same however often it comes.
    pub event_id: String,
    /// Whose it is.
    pub app_id: String,
    /// Its type, such as `call.ring`.
    pub kind: String,
    /// The instant of what caused it, in unix seconds.
    pub timestamp: Option<i64>,
    /// What happened.
    pub body: Body,
    /// All of it as it came.
    pub json: String,
}

impl Event {
    /// The call that it is about, if it is about one.
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
            Body::MessageReceived(_)
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
    /// A person answered.
    CallStarted(CallStarted),
    /// One side waits.
    CallHeld(CallHeld),
    /// The hold is over.
    CallResumed(CallResumed),
    /// The call is over.
    CallEnded(CallEnded),
    /// Something became known, the status stayed.
    CallUpdated(CallUpdated),
    /// Dialpad said what has no name.
    CallRaw(CallRaw),
    /// There is a voicemail.
    VoicemailReceived(Voicemail),
    /// Its audio or its words came.
    VoicemailUpdated(Voicemail),
    /// Somebody wrote to the company.
    MessageReceived(TextMessage),
    /// The company wrote to somebody.
    MessageSent(TextMessage),
    /// The status of a text message, or anything else of it, became another.
    MessageUpdated(TextMessage),
    /// The app was connected to Dialpad.
    ConnectionConnected(Connection),
    /// Its tokens could not be renewed; may heal by itself.
    ConnectionDegraded(Connection),
    /// They could again.
    ConnectionRecovered(Connection),
    /// They are dead: somebody must authorize the app again.
    ConnectionExpired(Connection),
    /// The app was disconnected.
    ConnectionDisconnected(Connection),
    /// A type that this version does not know, or one that is written otherwise than it knows.
    Other(Value),
}

impl Body {
    /// Understands as much as it can: an event of a newer server must not stop an older client.
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

/// What every event of a call says of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Call {
    /// Dialpad's id of the call.
    pub dialpad_call_id: i64,
    /// The human call that it is a leg of.
    pub interaction_id: Option<String>,
    /// Which leg.
    pub leg: Option<Leg>,
    /// Who called whom.
    pub direction: Option<Direction>,
    /// The number that calls.
    pub from_number: Option<String>,
    /// The number that is called.
    pub to_number: Option<String>,
    /// The Dialpad user whose leg it is.
    pub dialpad_user_id: Option<i64>,
    /// The same person in the CRM.
    pub crm_user_id: Option<String>,
    /// Where it stands.
    pub status: Option<Status>,
    /// `repaired` in an event: webhooks had been missing, and the server asked Dialpad.
    pub source: Option<String>,
    /// Whether an event is a guess: nothing was heard of the call for too long.
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

/// A person answered.
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

/// One side waits.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct CallHeld {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// Since when.
    pub held_at: Option<DateTime<Utc>>,
}

/// The hold is over.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct CallResumed {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// Since when.
    pub resumed_at: Option<DateTime<Utc>>,
}

/// The call is over.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct CallEnded {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// As Dialpad reports it, else from the first sight of it to its end.
    pub duration_seconds: Option<u64>,
    /// Without holds.
    pub talk_seconds: Option<u64>,
    /// All holds.
    pub hold_seconds: Option<u64>,
    /// Where Dialpad keeps the recording.
    pub recording_url: Option<String>,
    /// What became of it.
    pub outcome: Option<Outcome>,
    /// Somebody else took the call.
    #[serde(default)]
    pub answered_elsewhere: bool,
}

/// Something became known, the status stayed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct CallUpdated {
    /// The call as it is now, with what is known of its end.
    #[serde(flatten)]
    pub ended: CallEnded,
    /// Which fields became others.
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

/// Dialpad said what has no name.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct CallRaw {
    /// The call; little may be known of it.
    #[serde(flatten)]
    pub call: Call,
    /// Dialpad's word for it.
    pub state: Option<String>,
    /// All that it said.
    #[serde(default)]
    pub payload: Value,
}

/// A voicemail.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Voicemail {
    /// The call that it was left on.
    #[serde(flatten)]
    pub call: Call,
    /// Our id of it.
    pub voicemail_id: String,
    /// Dialpad's.
    pub dialpad_voicemail_id: Option<DialpadId>,
    /// Where Dialpad keeps the audio.
    pub recording_url: Option<String>,
    /// What was said.
    pub transcript: Option<String>,
    /// How long it is.
    pub duration_seconds: Option<u64>,
}

/// A text message.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct TextMessage {
    /// Our id of it.
    pub message_id: String,
    /// Dialpad's.
    pub dialpad_message_id: Option<DialpadId>,
    /// Who wrote to whom.
    pub direction: Option<Direction>,
    /// The number that wrote.
    pub from_number: Option<String>,
    /// The number that was written to; with commas between where there are several.
    pub to_number: Option<String>,
    /// The numbers that were written to.
    #[serde(default)]
    pub to_numbers: Vec<String>,
    /// The Dialpad user whose message it is.
    pub dialpad_user_id: Option<i64>,
    /// The same person in the CRM.
    pub crm_user_id: Option<String>,
    /// What was written, where the connection's scopes include it.
    pub text: Option<String>,
    /// The address of a picture or file.
    pub mms_url: Option<String>,
    /// Dialpad's word for how far it got.
    pub message_status: Option<String>,
    /// When it was sent.
    pub sent_at: Option<DateTime<Utc>>,
}

/// The app's connection to Dialpad.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Connection {
    /// `sandbox` or `production`.
    pub environment: Option<String>,
    /// The organization at Dialpad.
    pub dialpad_org_id: Option<i64>,
    /// A stable code where something must be done, such as `TOKENS_EXPIRED`.
    pub code: Option<String>,
}

/// An id of Dialpad's that is a number where Dialpad has numbers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum DialpadId {
    /// A number.
    Number(i64),
    /// A text.
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
