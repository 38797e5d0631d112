//! Text messages. Pure: what a webhook about a message changes, and what must be told.
//!
//! A message has no life of its own between webhooks, so it needs no actor; like a call it is a set of facts that
//! merge in any order, and what is shown is derived from them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    id::MessageId,
    model::{
        call::Direction,
        latest::{Latest, earliest, latest, value},
    },
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
    /// Where the picture or file is that came with it.
    pub mms_url: Option<String>,
    /// Where delivery stands, in Dialpad's words.
    pub status: Option<String>,
    /// The Dialpad user who wrote or was written to.
    pub dialpad_user_id: Option<i64>,
    /// When it was sent.
    pub sent_at: Option<DateTime<Utc>>,
}

/// All that is known of a message. As with calls, every part merges without regard to the order of arrival.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageFacts {
    first_seen: DateTime<Utc>,
    reported_sent: Option<DateTime<Utc>>,
    direction: Option<Latest<Direction>>,
    from_number: Option<Latest<String>>,
    to_number: Option<Latest<String>>,
    text: Option<Latest<String>>,
    mms_url: Option<Latest<String>>,
    dialpad_user_id: Option<Latest<i64>>,
    status: Option<StatusReport>,
}

/// Where delivery stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StatusReport {
    at: DateTime<Utc>,
    /// In Dialpad's words.
    status: String,
}

impl StatusReport {
    /// A report further along the way counts more than a later one: a `pending` that was sent again after hours, or
    /// within the same second as what followed it, undoes nothing.
    fn weight(&self) -> (u8, DateTime<Utc>, &str) {
        let way = match self.status.to_ascii_lowercase().as_str() {
            "accepted" | "created" | "new" | "pending" | "queued" | "scheduled" | "sending" => 0,
            "delivered" | "failed" | "rejected" | "undelivered" => 2,
            "read" | "seen" => 3,
            // `sent`, `success`, and words that are not known here.
            _ => 1,
        };
        (way, self.at, &self.status)
    }
}

/// A message as the world sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who wrote whom, where anybody said so.
    pub direction: Option<Direction>,
    /// The writing number.
    pub from_number: Option<String>,
    /// The numbers written to, comma-separated where there are several.
    pub to_number: Option<String>,
    /// The words.
    pub text: Option<String>,
    /// Where the picture or file is that came with it.
    pub mms_url: Option<String>,
    /// The Dialpad user who wrote or was written to.
    pub dialpad_user_id: Option<i64>,
    /// Where delivery stands, in Dialpad's words.
    pub status: Option<String>,
    /// When it was sent, or first seen.
    pub sent_at: DateTime<Utc>,
}

impl MessageFacts {
    /// What one webhook knows.
    fn of(event: &MessageEvent) -> Self {
        let mut facts = Self {
            first_seen: event.at,
            reported_sent: None,
            direction: None,
            from_number: None,
            to_number: None,
            text: None,
            mms_url: None,
            dialpad_user_id: None,
            status: None,
        };
        facts.absorb(event);
        facts
    }

    /// Takes in what one webhook says. Absorbing it again, or in another order, changes nothing.
    fn absorb(&mut self, event: &MessageEvent) {
        let (at, said) = (event.at, &event.knowledge);
        self.first_seen = self.first_seen.min(at);
        earliest(&mut self.reported_sent, said.sent_at);
        latest(&mut self.direction, at, &said.direction);
        latest(&mut self.from_number, at, &said.from_number);
        latest(&mut self.to_number, at, &said.to_number);
        latest(&mut self.text, at, &said.text);
        latest(&mut self.mms_url, at, &said.mms_url);
        latest(&mut self.dialpad_user_id, at, &said.dialpad_user_id);
        if let Some(status) = &said.status {
            let report = StatusReport { at, status: status.clone() };
            if self.status.as_ref().is_none_or(|known| known.weight() < report.weight()) {
                self.status = Some(report);
            }
        }
    }

    /// The message as the world sees it.
    #[must_use]
    pub fn snapshot(&self) -> Message {
        Message {
            direction: value(&self.direction),
            from_number: value(&self.from_number),
            to_number: value(&self.to_number),
            text: value(&self.text),
            mms_url: value(&self.mms_url),
            dialpad_user_id: value(&self.dialpad_user_id),
            status: self.status.as_ref().map(|report| report.status.clone()),
            sent_at: self.reported_sent.unwrap_or(self.first_seen),
        }
    }
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
    /// When anything that is shown last changed.
    pub updated_at: DateTime<Utc>,
    /// What is known.
    pub facts: MessageFacts,
}

impl StoredMessage {
    /// A message that the store does not know yet.
    #[must_use]
    pub fn unseen(dialpad_message_id: String, facts: MessageFacts, now: DateTime<Utc>) -> Self {
        Self { id: MessageId::generate(), dialpad_message_id, version: 0, updated_at: now, facts }
    }
}

/// What to tell of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageChange {
    /// Somebody wrote to the company.
    Received,
    /// The company wrote to somebody.
    Sent,
    /// Something else about it became known or changed.
    Updated,
}

/// Applies one webhook to what is known so far (`None` for a message never seen).
///
/// A message is told as received or sent once: when it becomes known who wrote whom. Until then it is only updated.
#[must_use]
pub fn apply(known: Option<&MessageFacts>, event: &MessageEvent) -> (MessageFacts, Option<MessageChange>) {
    let facts = match known {
        Some(known) => {
            let mut facts = known.clone();
            facts.absorb(event);
            facts
        }
        None => MessageFacts::of(event),
    };
    let (before, after) = (known.map(MessageFacts::snapshot), facts.snapshot());
    let known_direction = before.as_ref().and_then(|before| before.direction);
    let change = match (known_direction, after.direction) {
        (None, Some(Direction::Inbound)) => Some(MessageChange::Received),
        (None, Some(Direction::Outbound)) => Some(MessageChange::Sent),
        _ if before.as_ref() != Some(&after) => Some(MessageChange::Updated),
        _ => None,
    };
    (facts, change)
}

/// The numbers that a message was written to, one by one.
#[must_use]
pub fn to_numbers(to_number: Option<&str>) -> Vec<&str> {
    to_number.map(|numbers| numbers.split(',').collect()).unwrap_or_default()
}
