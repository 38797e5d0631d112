//! The events, typed. To add an event type: a variant of [`Body`], a line in [`Body::read`].

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    call::{Call, CallEnded, CallHeld, CallRaw, CallResumed, CallRing, CallStarted, CallUpdated, Voicemail},
    enums::Direction,
    interaction::Interaction,
};

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
