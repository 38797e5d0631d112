//! The words between a server and a reader of its feed beyond the events themselves. Pure.

use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};
use utoipa::ToSchema;

use super::subscription::Subscribe;
use crate::{
    consumer::{Consumer, Membership, Mode},
    event::{Frame, TypeName},
    id::{AppId, Seq, SessionId},
    ports::Bounds,
};

/// What a client may say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum ClientMessage {
    /// The first message of a client that brought no key with its request.
    Subscribe(#[schema(inline)] Subscribe),
    /// "I have dealt with everything up to here." Without a named consumer nobody keeps it.
    Ack { seq: i64 },
}

/// What the server says beyond events.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum ControlMessage {
    /// The first message of every session.
    Connected {
        app_id: AppId,
        session_id: SessionId,
        /// The newest event of the feed.
        seq: Seq,
        /// The oldest event that is still kept.
        oldest_seq: Seq,
        /// The consumer that the session belongs to.
        #[serde(flatten)]
        #[schema(inline)]
        consumer: Option<ConsumerSaid>,
    },
    /// Events that the client asked for are not to be had.
    Gap {
        /// `expired`: they are no longer kept; `cursor_ahead`: there are no such events yet.
        reason: &'static str,
        /// The first of them.
        from_seq: Seq,
        /// The last of them.
        to_seq: Seq,
        /// The oldest event that is still kept.
        oldest_seq: Seq,
        /// The newest event of the feed.
        seq: Seq,
    },
    /// What lies between the last event and here is not for this reader.
    Cursor { seq: Seq },
    /// A planned stop: come back after this time.
    Reconnect { after_ms: u64 },
}

/// What a consumer's connection hears of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConsumerSaid {
    /// The name of the consumer that the session belongs to.
    consumer: String,
    /// How its connections stand to each other.
    #[schema(value_type = Mode)]
    mode: &'static str,
    /// Everything up to here was dealt with before.
    acked_seq: Seq,
}

impl ConsumerSaid {
    pub(super) fn of(membership: &Membership) -> Self {
        let Consumer { name, mode } = membership.consumer();
        Self { consumer: name.clone(), mode: mode.as_str(), acked_seq: membership.acked() }
    }
}

impl ControlMessage {
    fn control_type(&self) -> ControlType {
        match self {
            Self::Connected { .. } => ControlType::Connected,
            Self::Gap { .. } => ControlType::Gap,
            Self::Cursor { .. } => ControlType::Cursor,
            Self::Reconnect { .. } => ControlType::Reconnect,
        }
    }

    /// Returns the message to send; `cursor` is where a client that has received it resumes.
    pub(super) fn message(&self, cursor: Option<Seq>) -> OutboundMessage {
        let text = serde_json::to_string(self).expect("a control message has only string keys");
        let kind = MessageKind::Control(self.control_type());
        OutboundMessage { kind, cursor, text: text.into() }
    }
}

/// One message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundMessage {
    /// The kind, with the message's `type`.
    pub kind: MessageKind,
    /// Where a client that has received it resumes. `None`: where it would have without it.
    pub cursor: Option<Seq>,
    /// The whole message as JSON.
    pub text: ByteString,
}

/// The kinds of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// An event.
    Event(TypeName),
    /// About the session.
    Control(ControlType),
}

impl MessageKind {
    /// Returns the message's `type`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Event(event_type) => event_type.as_str(),
            Self::Control(control_type) => (*control_type).into(),
        }
    }
}

/// The types of the messages about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum ControlType {
    /// The first message of every session.
    Connected,
    /// A part of the calls that are not over.
    Snapshot,
    /// Events are missing.
    Gap,
    /// Events were skipped, because they match no filter.
    Cursor,
    /// A planned stop follows.
    Reconnect,
    /// The end of a stream of server-sent events; a WebSocket has a close code instead.
    Closed,
}

impl OutboundMessage {
    pub(super) fn of(frame: Frame, ids_as_text: bool) -> Self {
        let text = if ids_as_text { frame.text_with_text_ids() } else { frame.text };
        Self { kind: MessageKind::Event(frame.event_type), cursor: Some(frame.seq), text }
    }
}

/// Why a reader can't begin where it asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCursor {
    /// It lies beyond the newest event.
    Ahead,
    /// What follows it is no longer kept.
    Expired,
}

/// Where a reader begins. Beside it stands what is wrong with what it asked for: then that is the nearest there is.
pub(super) fn starting_point(after: Option<Seq>, bounds: Bounds) -> (Seq, Option<BadCursor>) {
    match after {
        None => (bounds.head, None),
        Some(after) if after > bounds.head => (bounds.head, Some(BadCursor::Ahead)),
        Some(after) if !bounds.reach_back_to(after) => (Seq(bounds.oldest.0 - 1), Some(BadCursor::Expired)),
        Some(after) => (after, None),
    }
}

/// Says what a reader that asked for `after` will miss.
pub(super) fn gap(after: Seq, problem: BadCursor, bounds: Bounds) -> ControlMessage {
    let (reason, from_seq, to_seq) = match problem {
        BadCursor::Ahead => ("cursor_ahead", bounds.head.next(), after),
        BadCursor::Expired => ("expired", after.next(), Seq(bounds.oldest.0 - 1)),
    };
    ControlMessage::Gap { reason, from_seq, to_seq, oldest_seq: bounds.oldest, seq: bounds.head }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Bounds = Bounds { oldest: Seq(5), head: Seq(9) };

    #[test]
    fn without_a_cursor_a_session_begins_at_the_head() {
        assert_eq!(starting_point(None, KEPT), (Seq(9), None));
    }

    #[test]
    fn a_cursor_at_the_edge_of_retention_needs_no_gap() {
        assert_eq!(starting_point(Some(Seq(4)), KEPT), (Seq(4), None));
    }

    #[test]
    fn an_expired_cursor_resumes_at_the_oldest_event_behind_an_announced_gap() {
        assert_eq!(starting_point(Some(Seq(2)), KEPT), (Seq(4), Some(BadCursor::Expired)));
        let gap = gap(Seq(2), BadCursor::Expired, KEPT);
        assert!(matches!(gap, ControlMessage::Gap { from_seq: Seq(3), to_seq: Seq(4), .. }));
    }

    #[test]
    fn a_cursor_beyond_the_head_is_announced_and_goes_on_live() {
        assert_eq!(starting_point(Some(Seq(12)), KEPT), (Seq(9), Some(BadCursor::Ahead)));
        let gap = gap(Seq(12), BadCursor::Ahead, KEPT);
        assert!(matches!(gap, ControlMessage::Gap { reason: "cursor_ahead", to_seq: Seq(12), .. }));
    }
}
