//! The types of events.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};
use strum::{Display, EnumMessage, EnumString, IntoStaticStr, VariantArray, VariantNames};

/// The type of an event.
///
/// The doc comment of a variant says when the event is emitted; the API documents show it.
///
/// To add a type, add a variant here; the compiler then asks for its body and its schema, and everything that lists
/// types iterates this enum.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Display,
    EnumMessage,
    EnumString,
    IntoStaticStr,
    VariantArray,
    VariantNames,
)]
pub enum EventType {
    /// A call is on its way to a person.
    #[strum(serialize = "call.ring")]
    CallRing,
    /// A person answered.
    #[strum(serialize = "call.started")]
    CallStarted,
    /// One side was put on hold.
    #[strum(serialize = "call.held")]
    CallHeld,
    /// The hold ended.
    #[strum(serialize = "call.resumed")]
    CallResumed,
    /// The call is over. Emitted at most once per call.
    #[strum(serialize = "call.ended")]
    CallEnded,
    /// Something became known late, a recording for instance; or a presumed end is withdrawn.
    #[strum(serialize = "call.updated")]
    CallUpdated,
    /// Dialpad sent a state that has no event type here. It changes nothing about the call.
    #[strum(serialize = "call.raw")]
    CallRaw,
    /// A voicemail exists. Emitted at most once per call.
    #[strum(serialize = "voicemail.received")]
    VoicemailReceived,
    /// The audio or the transcript of a voicemail arrived.
    #[strum(serialize = "voicemail.updated")]
    VoicemailUpdated,
    /// A human call is over, with all its legs, and nothing more came for a while. Emitted once per interaction.
    #[strum(serialize = "interaction.ended")]
    InteractionEnded,
    /// Something became known of an interaction after `interaction.ended`.
    #[strum(serialize = "interaction.updated")]
    InteractionUpdated,
    /// An inbound text message arrived.
    #[strum(serialize = "message.received")]
    MessageReceived,
    /// An outbound text message was sent.
    #[strum(serialize = "message.sent")]
    MessageSent,
    /// The status of a text message, or anything else of it, changed.
    #[strum(serialize = "message.updated")]
    MessageUpdated,
    /// The app was connected to Dialpad, or connected again.
    #[strum(serialize = "connection.connected")]
    ConnectionConnected,
    /// The tokens could not be refreshed. Emitted once until they are; it can recover without your help.
    #[strum(serialize = "connection.degraded")]
    ConnectionDegraded,
    /// The tokens could be refreshed again.
    #[strum(serialize = "connection.recovered")]
    ConnectionRecovered,
    /// The tokens are no longer valid: an administrator has to authorize the app again.
    #[strum(serialize = "connection.expired")]
    ConnectionExpired,
    /// The app was disconnected from Dialpad.
    #[strum(serialize = "connection.disconnected")]
    ConnectionDisconnected,
}

impl EventType {
    /// Returns the type as it is written in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Says when an event of this type is emitted, as the API documents do.
    #[must_use]
    pub fn description(self) -> &'static str {
        self.get_documentation().unwrap_or_default()
    }

    /// Returns the part before the dot: `call`, `voicemail`, `interaction`, `message` or `connection`.
    #[must_use]
    pub fn family(self) -> &'static str {
        let text = self.as_str();
        text.split_once('.').map_or(text, |(family, _)| family)
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The name of the type of an event in a feed.
///
/// A feed can hold events that a newer version of the server has written: after a rollback, or while two versions share
/// a database. Their types are not known here, and they are delivered all the same. So this is not an [`EventType`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeName {
    /// A type that this version emits.
    Known(EventType),
    /// A type of another version.
    Unknown(Arc<str>),
}

impl TypeName {
    /// Returns the type as it is written in JSON and in the database.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(known) => known.as_str(),
            Self::Unknown(text) => text,
        }
    }
}

impl From<EventType> for TypeName {
    fn from(known: EventType) -> Self {
        Self::Known(known)
    }
}

impl From<&str> for TypeName {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Unknown(text.into()), Self::Known)
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for TypeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_back_and_described() {
        for known in <EventType as VariantArray>::VARIANTS {
            assert_eq!(TypeName::from(known.as_str()), TypeName::Known(*known));
            assert!(known.description().ends_with('.'), "{known} has no description");
            assert!(!known.description().contains('\n'), "{known}: one line");
        }
        assert_eq!(EventType::CallRing.family(), "call");
    }

    #[test]
    fn a_type_of_another_version_keeps_its_text() {
        let parked = TypeName::from("call.parked");
        assert_eq!(parked, TypeName::Unknown("call.parked".into()));
        assert_eq!(serde_json::to_string(&parked).expect("JSON"), "\"call.parked\"");
    }
}
