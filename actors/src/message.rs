//! Text messages. Pure: what a webhook about a message changes, and what must be told.
//!
//! A message has no life of its own between webhooks, so it needs no actor; like a call it is a set of facts,
//! and a status report that arrives late never replaces a newer one.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    call::Direction,
    feed::{OutEvent, number_or_text},
    id::{AppId, EventId, MessageId},
};

/// One webhook about one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageEvent {
    /// Dialpad's name of the message.
    pub dialpad_message_id: String,
    /// When this was so, by the payload's own clock.
    pub at: DateTime<Utc>,
    /// What the payload knows.
    pub knowledge: MessageKnowledge,
}

/// What a payload knows of a message; `None` never takes anything away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageKnowledge {
    /// Who wrote whom.
    pub direction: Option<Direction>,
    /// The writing number.
    pub from_number: Option<String>,
    /// The numbers written to, comma-separated where there are several.
    pub to_number: Option<String>,
    /// The words.
    pub text: Option<String>,
    /// Where delivery stands, in Dialpad's words.
    pub status: Option<String>,
    /// The Dialpad user who wrote or was written to.
    pub dialpad_user_id: Option<i64>,
    /// When it was sent.
    pub sent_at: Option<DateTime<Utc>>,
}

/// What is known of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageFacts {
    /// Who wrote whom; inbound until somebody says otherwise.
    pub direction: Option<Direction>,
    /// The writing number.
    pub from_number: Option<String>,
    /// The numbers written to.
    pub to_number: Option<String>,
    /// The words.
    pub text: Option<String>,
    /// Where delivery stands, in Dialpad's words.
    pub status: Option<String>,
    /// When the newest status was so.
    pub status_at: Option<DateTime<Utc>>,
    /// The Dialpad user who wrote or was written to.
    pub dialpad_user_id: Option<i64>,
    /// When it was sent, or first seen.
    pub sent_at: DateTime<Utc>,
}

/// A message as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Our name of it.
    pub id: MessageId,
    /// Dialpad's name of it.
    pub dialpad_message_id: String,
    /// Guards against a second writer.
    pub version: i64,
    /// What is known.
    pub facts: MessageFacts,
}

impl StoredMessage {
    /// A message that the store does not know yet.
    #[must_use]
    pub fn unseen(dialpad_message_id: String, facts: MessageFacts) -> Self {
        Self { id: MessageId::generate(), dialpad_message_id, version: 0, facts }
    }
}

/// A message as it is from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRecord {
    /// The message, with its new version.
    pub message: StoredMessage,
    /// When this was decided.
    pub updated_at: DateTime<Utc>,
}

/// What to tell of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageNews {
    /// Somebody wrote to the company.
    Received,
    /// The company wrote to somebody.
    Sent,
    /// Its status or text became known or changed.
    Updated,
}

/// Applies one webhook to what is known so far (`None` for a message never seen).
#[must_use]
pub fn apply(known: Option<&MessageFacts>, event: &MessageEvent) -> (MessageFacts, Option<MessageNews>) {
    let said = &event.knowledge;
    let Some(known) = known else {
        let facts = MessageFacts {
            direction: said.direction,
            from_number: said.from_number.clone(),
            to_number: said.to_number.clone(),
            text: said.text.clone(),
            status: said.status.clone(),
            status_at: said.status.as_ref().map(|_| event.at),
            dialpad_user_id: said.dialpad_user_id,
            sent_at: said.sent_at.unwrap_or(event.at),
        };
        let news = match said.direction {
            Some(Direction::Outbound) => MessageNews::Sent,
            Some(Direction::Inbound) | None => MessageNews::Received,
        };
        return (facts, Some(news));
    };

    let mut facts = known.clone();
    facts.direction = known.direction.or(said.direction);
    facts.from_number = known.from_number.clone().or_else(|| said.from_number.clone());
    facts.to_number = known.to_number.clone().or_else(|| said.to_number.clone());
    facts.text = known.text.clone().or_else(|| said.text.clone());
    facts.dialpad_user_id = known.dialpad_user_id.or(said.dialpad_user_id);
    facts.sent_at = known.sent_at.min(said.sent_at.unwrap_or(event.at));
    let newer = known.status_at.is_none_or(|at| (at, &known.status) < (event.at, &said.status));
    if said.status.is_some() && newer {
        facts.status.clone_from(&said.status);
        facts.status_at = Some(event.at);
    }
    let shown = |facts: &MessageFacts| (facts.status.clone(), facts.text.clone(), facts.from_number.clone());
    let news = (shown(known) != shown(&facts)).then_some(MessageNews::Updated);
    (facts, news)
}

#[derive(Serialize)]
struct Body<'a> {
    event_id: EventId,
    app_id: AppId,
    message_id: MessageId,
    dialpad_message_id: serde_json::Value,
    direction: Option<&'static str>,
    from_number: Option<&'a str>,
    to_number: Option<&'a str>,
    dialpad_user_id: Option<i64>,
    crm_user_id: Option<&'a str>,
    text: Option<&'a str>,
    message_status: Option<&'a str>,
    sent_at: DateTime<Utc>,
    timestamp: i64,
}

/// Puts news of a message into words. `occurred_at` is the instant of the webhook that brought it.
#[must_use]
pub fn tell(
    app_id: AppId,
    message: &StoredMessage,
    news: MessageNews,
    occurred_at: DateTime<Utc>,
) -> OutEvent {
    let facts = &message.facts;
    let event_id = EventId::generate();
    let body = Body {
        event_id,
        app_id,
        message_id: message.id,
        dialpad_message_id: number_or_text(&message.dialpad_message_id),
        direction: facts.direction.map(Direction::as_str),
        from_number: facts.from_number.as_deref(),
        to_number: facts.to_number.as_deref(),
        dialpad_user_id: facts.dialpad_user_id,
        crm_user_id: None,
        text: facts.text.as_deref(),
        message_status: facts.status.as_deref(),
        sent_at: facts.sent_at,
        timestamp: occurred_at.timestamp(),
    };
    let kind = match news {
        MessageNews::Received => "message.received",
        MessageNews::Sent => "message.sent",
        MessageNews::Updated => "message.updated",
    };
    OutEvent {
        id: event_id,
        kind: Cow::Borrowed(kind),
        dialpad_call_id: None,
        dialpad_user_id: facts.dialpad_user_id,
        occurred_at,
        body: serde_json::to_string(&body).expect("an event has only string keys"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn report(status: &str, second: i64) -> MessageEvent {
        MessageEvent {
            dialpad_message_id: "6095823680520192".into(),
            at: DateTime::from_timestamp(second, 0).expect("a valid instant"),
            knowledge: MessageKnowledge {
                direction: Some(Direction::Outbound),
                status: Some(status.into()),
                ..MessageKnowledge::default()
            },
        }
    }

    #[test]
    fn the_first_sight_of_an_outbound_message_is_told_as_sent() {
        let (facts, news) = apply(None, &report("pending", 1));
        assert_eq!(news, Some(MessageNews::Sent));
        assert_eq!(facts.status.as_deref(), Some("pending"));
    }

    #[test]
    fn a_late_retry_of_an_older_status_is_not_told() {
        let (facts, _) = apply(None, &report("pending", 1));
        let (facts, news) = apply(Some(&facts), &report("delivered", 5));
        assert_eq!(news, Some(MessageNews::Updated));
        let (facts, news) = apply(Some(&facts), &report("sent", 3));
        assert_eq!((facts.status.as_deref(), news), (Some("delivered"), None));
    }
}
