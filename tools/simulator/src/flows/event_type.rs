//! The CRM events that webhooks of the flows must cause.

use serde::Serialize;
use strum::IntoStaticStr;

/// An event type of the server's feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, IntoStaticStr)]
#[serde(into = "&'static str")]
pub enum EventType {
    /// A call is on its way to a person.
    #[strum(serialize = "call.ring")]
    CallRing,
    /// A person answered.
    #[strum(serialize = "call.started")]
    CallStarted,
    /// A call was put on hold.
    #[strum(serialize = "call.held")]
    CallHeld,
    /// A hold ended.
    #[strum(serialize = "call.resumed")]
    CallResumed,
    /// A call ended.
    #[strum(serialize = "call.ended")]
    CallEnded,
    /// Facts of a call changed, its status did not.
    #[strum(serialize = "call.updated")]
    CallUpdated,
    /// A webhook for which the feed has no type.
    #[strum(serialize = "call.raw")]
    CallRaw,
    /// A voicemail was left.
    #[strum(serialize = "voicemail.received")]
    VoicemailReceived,
    /// Facts of a voicemail changed.
    #[strum(serialize = "voicemail.updated")]
    VoicemailUpdated,
    /// The company received a text message.
    #[strum(serialize = "message.received")]
    MessageReceived,
    /// The company sent a text message.
    #[strum(serialize = "message.sent")]
    MessageSent,
    /// Facts of a text message changed.
    #[strum(serialize = "message.updated")]
    MessageUpdated,
}

impl EventType {
    /// Returns its name in the feed.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
