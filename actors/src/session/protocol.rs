//! The words of `/ws` beyond the events themselves: what a client may say, and the server's control messages.
//! Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    feed::Filter,
    id::{AppId, Seq, SessionId},
    ports::Bounds,
};

/// What a client asks for: in the query of `/ws`, or in its first message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Resume behind this event; `None`: only what comes from now on.
    pub after: Option<Seq>,
    /// Which events.
    pub filter: Filter,
    /// Whether Dialpad's ids are written as strings.
    pub ids_as_text: bool,
}

/// Why a subscription can't be granted as asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{field}: {problem}")]
pub struct SubscriptionError {
    /// The parameter.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Subscription {
    /// Reads the parameters as they come in a query: cursor, comma-separated types, Dialpad user, how ids are
    /// written.
    ///
    /// # Errors
    /// Names the first parameter that can't be understood.
    pub fn parse(
        after: Option<&str>,
        types: Option<&str>,
        dialpad_user_id: Option<&str>,
        ids: Option<&str>,
    ) -> Result<Self, SubscriptionError> {
        let after = after.map(|text| whole("after", text)).transpose()?;
        if after.is_some_and(|after| after < 0) {
            return Err(SubscriptionError { field: "after", problem: "must not be negative" });
        }
        let types = types.map(|text| text.split(',').map(|part| part.trim().to_owned()).collect());
        let types: BTreeSet<String> = types.unwrap_or_default();
        if !types.iter().all(|wanted| is_type_pattern(wanted)) {
            return Err(SubscriptionError { field: "types", problem: "names no event type" });
        }
        let dialpad_user_id = dialpad_user_id.map(|text| whole("dialpad_user_id", text)).transpose()?;
        let ids_as_text = match ids {
            None | Some("number") => false,
            Some("string") => true,
            Some(_) => return Err(SubscriptionError { field: "ids", problem: "must be number or string" }),
        };
        Ok(Self { after: after.map(Seq), filter: Filter { types, dialpad_user_id }, ids_as_text })
    }
}

fn whole(field: &'static str, text: &str) -> Result<i64, SubscriptionError> {
    text.parse().map_err(|_| SubscriptionError { field, problem: "must be a whole number" })
}

/// Every type of event that is told.
pub const EVENT_TYPES: [&str; 17] = [
    "call.ring",
    "call.started",
    "call.held",
    "call.resumed",
    "call.ended",
    "call.updated",
    "call.raw",
    "voicemail.received",
    "voicemail.updated",
    "message.received",
    "message.sent",
    "message.updated",
    "connection.connected",
    "connection.degraded",
    "connection.recovered",
    "connection.expired",
    "connection.disconnected",
];

fn is_type_pattern(wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => EVENT_TYPES.iter().any(|kind| kind.starts_with(prefix)),
        None => EVENT_TYPES.contains(&wanted),
    }
}

/// What a client may say.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ClientMessage {
    /// The first message of a client that brought no key with its request.
    Subscribe(Subscribe),
    /// "I have dealt with everything up to here."
    Ack {
        #[expect(dead_code, reason = "checked to be there; without a named consumer nobody keeps it")]
        seq: i64,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Subscribe {
    pub(super) api_key: String,
    after: Option<TextOrNumber>,
    types: Option<Types>,
    dialpad_user_id: Option<TextOrNumber>,
    ids: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Number(i64),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Types {
    Text(String),
    List(Vec<String>),
}

impl Subscribe {
    /// What is asked for, or `None` where the message leaves that to the query.
    pub(super) fn subscription(&self) -> Result<Option<Subscription>, SubscriptionError> {
        let Self { api_key: _, after, types, dialpad_user_id, ids } = self;
        if after.is_none() && types.is_none() && dialpad_user_id.is_none() && ids.is_none() {
            return Ok(None);
        }
        let types = types.as_ref().map(|types| match types {
            Types::Text(text) => text.clone(),
            Types::List(list) => list.join(","),
        });
        let text = |value: &Option<TextOrNumber>| {
            value.as_ref().map(|value| match value {
                TextOrNumber::Number(number) => number.to_string(),
                TextOrNumber::Text(text) => text.clone(),
            })
        };
        let (after, user) = (text(after), text(dialpad_user_id));
        Subscription::parse(after.as_deref(), types.as_deref(), user.as_deref(), ids.as_deref()).map(Some)
    }
}

/// What the server says beyond events.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ControlMessage {
    /// The first message of every session.
    Connected {
        app_id: AppId,
        session_id: SessionId,
        /// The newest event of the feed.
        seq: Seq,
        /// The oldest event that is still kept.
        oldest_seq: Seq,
    },
    /// Events that the client asked for are not to be had.
    Gap {
        reason: &'static str,
        /// The first and the last of them.
        from_seq: Seq,
        to_seq: Seq,
        oldest_seq: Seq,
        seq: Seq,
    },
    /// A planned stop: come back after this time.
    Reconnect { after_ms: u64 },
}

impl ControlMessage {
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("a control message has only string keys")
    }
}

/// Where a session begins, and the gap to announce before.
pub(super) fn starting_point(after: Option<Seq>, bounds: Bounds) -> (Seq, Option<ControlMessage>) {
    let Some(after) = after else { return (bounds.head, None) };
    let gap = |reason, from_seq, to_seq| ControlMessage::Gap {
        reason,
        from_seq,
        to_seq,
        oldest_seq: bounds.oldest,
        seq: bounds.head,
    };
    if after > bounds.head {
        return (bounds.head, Some(gap("cursor_ahead", bounds.head.next(), after)));
    }
    if !bounds.reach_back_to(after) {
        let resume = Seq(bounds.oldest.0 - 1);
        return (resume, Some(gap("expired", after.next(), resume)));
    }
    (after, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Bounds = Bounds { oldest: Seq(5), head: Seq(9) };

    #[test]
    fn without_a_cursor_a_session_begins_at_the_head() {
        assert!(matches!(starting_point(None, KEPT), (Seq(9), None)));
    }

    #[test]
    fn a_cursor_at_the_edge_of_retention_needs_no_gap() {
        assert!(matches!(starting_point(Some(Seq(4)), KEPT), (Seq(4), None)));
    }

    #[test]
    fn an_expired_cursor_resumes_at_the_oldest_event_behind_an_announced_gap() {
        let (start, gap) = starting_point(Some(Seq(2)), KEPT);
        assert_eq!(start, Seq(4));
        assert!(matches!(gap, Some(ControlMessage::Gap { from_seq: Seq(3), to_seq: Seq(4), .. })));
    }

    #[test]
    fn a_cursor_beyond_the_head_is_announced_and_goes_on_live() {
        let (start, gap) = starting_point(Some(Seq(12)), KEPT);
        assert_eq!(start, Seq(9));
        assert!(matches!(gap, Some(ControlMessage::Gap { reason: "cursor_ahead", .. })));
    }

    #[test]
    fn a_type_that_does_not_exist_is_refused() {
        assert!(Subscription::parse(None, Some("call.*,voicemail.received"), None, None).is_ok());
        assert_eq!(
            Subscription::parse(None, Some("call.rings"), None, None).map_err(|error| error.field),
            Err("types")
        );
    }
}
