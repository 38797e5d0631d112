//! The messages between the server and a client beyond the events themselves. Pure.

use bytestring::ByteString;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};
use utoipa::ToSchema;

use super::{close_code::SessionEnd, subscribe::Subscribe};
use crate::{
    consumer::{Consumer, Membership, Mode},
    event::{Frame, TypeName},
    feed::Position,
    id::{AppId, Epoch, Seq, SessionId},
    ports::{Bounds, GapTimes},
};

/// The messages of a client.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ClientMessage {
    /// The first message of a client whose request has no key.
    Subscribe(#[schema(inline)] Subscribe),
    /// Acknowledges everything up to `seq`. It counts for a named consumer and has no effect otherwise.
    Ack { seq: i64 },
}

/// The messages of the server about a session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ControlMessage {
    /// The first message of every session.
    Connected {
        app_id: AppId,
        session_id: SessionId,
        /// The epoch of the feed. Keep it with your cursor, and resume with `after` = `EPOCH:SEQ`.
        epoch: Epoch,
        /// The newest event of the feed.
        seq: Seq,
        /// The oldest event that is kept.
        oldest_seq: Seq,
        /// The consumer that the session belongs to.
        #[serde(flatten)]
        #[schema(inline)]
        consumer: Option<ConsumerFields>,
    },
    /// Events that the client asked for are missing.
    Gap {
        /// `expired`: they are no longer kept. `cursor_ahead`: there are no such events yet. `epoch_changed`: the database
        /// was restored, or has lost events: read everything again, and go on.
        reason: &'static str,
        /// The epoch of the feed.
        epoch: Epoch,
        /// The first of them. With `epoch_changed`: the oldest event that is kept.
        from_seq: Seq,
        /// The last of them. With `epoch_changed`: the event after which the session goes on.
        to_seq: Seq,
        /// The oldest event that is kept.
        oldest_seq: Seq,
        /// The newest event of the feed.
        seq: Seq,
        /// The first of them was emitted at this time or up to about a day later. Null if not known.
        from_at: Option<DateTime<Utc>>,
        /// The last of them was emitted at this time. Null if not known.
        until_at: Option<DateTime<Utc>>,
    },
    /// The events from the last one up to here don't match the client's filters.
    Cursor { seq: Seq },
    /// Everything up to `seq` was sent, and at this time the server had no further event: silence is health.
    Watermark {
        seq: Seq,
        /// The server's time.
        at: DateTime<Utc>,
    },
    /// A planned stop follows: reconnect after this time.
    Reconnect { after_ms: u64 },
}

/// The fields of `connected` for a connection of a named consumer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConsumerFields {
    /// The name of the consumer that the session belongs to.
    consumer: String,
    /// How its events are distributed over its connections.
    mode: Mode,
    /// Everything up to here was processed before.
    acked_seq: Seq,
}

impl ConsumerFields {
    pub(super) fn of(membership: &Membership) -> Self {
        let Consumer { name, mode } = membership.consumer().clone();
        Self { consumer: name, mode, acked_seq: membership.acked() }
    }
}

impl ControlMessage {
    fn control_type(&self) -> ControlType {
        match self {
            Self::Connected { .. } => ControlType::Connected,
            Self::Gap { .. } => ControlType::Gap,
            Self::Cursor { .. } => ControlType::Cursor,
            Self::Watermark { .. } => ControlType::Watermark,
            Self::Reconnect { .. } => ControlType::Reconnect,
        }
    }

    /// Returns the message to send. A client that has received it resumes after `cursor`.
    pub(super) fn message(&self, cursor: Option<Seq>) -> OutboundMessage {
        let text = serde_json::to_string(self).expect("a control message has only string keys");
        let kind = MessageKind::Control(self.control_type());
        OutboundMessage { kind, cursor, text: text.into() }
    }
}

/// The messages to send at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboundBatch {
    /// The messages, in order.
    pub messages: Vec<OutboundMessage>,
    /// The end of the session, after these messages.
    pub end: Option<SessionEnd>,
}

impl OutboundBatch {
    /// Returns how many of the messages are events, and how many bytes all of them have.
    pub(super) fn size(&self) -> (u64, usize) {
        self.messages.iter().fold((0, 0), |(events, bytes), message| {
            let is_event = matches!(message.kind, MessageKind::Event(_));
            (events + u64::from(is_event), bytes + message.text.len())
        })
    }
}

/// One message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundMessage {
    /// The kind, with the message's `type`.
    pub kind: MessageKind,
    /// The event after which a client that has received the message resumes. `None`: the message changes nothing about
    /// that.
    pub cursor: Option<Seq>,
    /// The whole message as JSON.
    pub text: ByteString,
}

/// The kinds of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// An event.
    Event(TypeName),
    /// A message about the session.
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
    /// Events were skipped, because they don't match the client's filters.
    Cursor,
    /// Everything was sent that there is.
    Watermark,
    /// A planned stop follows.
    Reconnect,
    /// The end of a stream of server-sent events; a WebSocket has a close code instead.
    Closed,
}

impl OutboundMessage {
    /// Returns an event as a message.
    pub(super) fn of_event(frame: Frame, ids_as_text: bool) -> Self {
        let text = if ids_as_text { frame.text_with_text_ids() } else { frame.text };
        Self { kind: MessageKind::Event(frame.event_type), cursor: Some(frame.seq), text }
    }
}

/// Why a client can't begin at its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCursor {
    /// It is beyond the newest event.
    Ahead,
    /// The events after it are no longer kept.
    Expired,
    /// It belongs to another epoch.
    OtherEpoch,
}

/// Returns after which event a client begins. With a [`BadCursor`], that is the nearest position to its cursor.
pub(super) fn start_position(after: Option<Position>, bounds: Bounds) -> (Seq, Option<BadCursor>) {
    let Some(position) = after else { return (bounds.head, None) };
    match position.seq {
        _ if position.is_of_another(bounds.epoch) => (bounds.head, Some(BadCursor::OtherEpoch)),
        after if after > bounds.head => (bounds.head, Some(BadCursor::Ahead)),
        after if !bounds.reach_back_to(after) => (Seq(bounds.oldest.0 - 1), Some(BadCursor::Expired)),
        after => (after, None),
    }
}

/// Returns the announcement of what a client misses that asked for `after` and begins after `start`.
pub(super) fn gap(
    after: Seq,
    start: Seq,
    problem: BadCursor,
    bounds: Bounds,
    times: GapTimes,
) -> ControlMessage {
    let (reason, from_seq, to_seq) = match problem {
        BadCursor::Ahead => ("cursor_ahead", bounds.head.next(), after),
        BadCursor::Expired => ("expired", after.next(), Seq(bounds.oldest.0 - 1)),
        BadCursor::OtherEpoch => ("epoch_changed", bounds.oldest, start),
    };
    let GapTimes { from_at, until_at } = times;
    ControlMessage::Gap {
        reason,
        epoch: bounds.epoch,
        from_seq,
        to_seq,
        oldest_seq: bounds.oldest,
        seq: bounds.head,
        from_at,
        until_at,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const KEPT: Bounds = Bounds { epoch: Epoch(Uuid::nil()), oldest: Seq(5), head: Seq(9) };

    fn start(after: i64) -> (Seq, Option<BadCursor>) {
        start_position(Some(Seq(after).into()), KEPT)
    }

    #[test]
    fn without_a_cursor_a_session_begins_at_the_head() {
        assert_eq!(start_position(None, KEPT), (Seq(9), None));
    }

    #[test]
    fn a_cursor_at_the_edge_of_retention_needs_no_gap() {
        assert_eq!(start(4), (Seq(4), None));
    }

    #[test]
    fn an_expired_cursor_resumes_at_the_oldest_event_after_an_announced_gap() {
        assert_eq!(start(2), (Seq(4), Some(BadCursor::Expired)));
        let gap = gap(Seq(2), Seq(4), BadCursor::Expired, KEPT, GapTimes::default());
        assert!(matches!(gap, ControlMessage::Gap { from_seq: Seq(3), to_seq: Seq(4), .. }));
    }

    #[test]
    fn a_cursor_beyond_the_head_is_announced_and_only_new_events_follow() {
        assert_eq!(start(12), (Seq(9), Some(BadCursor::Ahead)));
        let gap = gap(Seq(12), Seq(9), BadCursor::Ahead, KEPT, GapTimes::default());
        assert!(matches!(gap, ControlMessage::Gap { reason: "cursor_ahead", to_seq: Seq(12), .. }));
    }

    #[test]
    fn a_cursor_of_another_epoch_is_announced_whatever_its_number() {
        for seq in [0, 2, 7, 9, 12] {
            let of = |epoch| Some(Position { epoch: Some(epoch), seq: Seq(seq) });
            let other = start_position(of(Epoch::generate()), KEPT);
            assert_eq!(other, (Seq(9), Some(BadCursor::OtherEpoch)));
            assert_eq!(start_position(of(KEPT.epoch), KEPT), start(seq));
        }
        let gap = gap(Seq(7), Seq(9), BadCursor::OtherEpoch, KEPT, GapTimes::default());
        let ControlMessage::Gap { reason, from_seq, to_seq, .. } = gap else { panic!("no gap: {gap:?}") };
        assert_eq!((reason, from_seq, to_seq), ("epoch_changed", Seq(5), Seq(9)));
    }
}
