//! Text messages. Pure: what a webhook about a message changes.
//!
//! Nothing happens to a message between webhooks, so it needs no actor. Like a call it is a set of facts that merge in any
//! order, and what is shown is derived from them.

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
    /// Dialpad's id of the message.
    pub dialpad_message_id: String,
    /// When this was so, by the clock of the payload.
    pub at: DateTime<Utc>,
    /// What the payload says.
    pub knowledge: MessageKnowledge,
}

/// What a payload says of a message; `None` never removes what is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageKnowledge {
    /// The direction.
    pub direction: Option<Direction>,
    /// The sender's number.
    pub from_number: Option<String>,
    /// The recipients' numbers, separated by commas.
    pub to_number: Option<String>,
    /// The text.
    pub text: Option<String>,
    /// Where the attached picture or file is.
    pub mms_url: Option<String>,
    /// Where all attached pictures and files are.
    pub media_urls: Vec<String>,
    /// The delivery status, in Dialpad's words.
    pub status: Option<String>,
    /// The result of the delivery, in Dialpad's words.
    pub delivery_result: Option<String>,
    /// The Dialpad user who wrote or received it.
    pub dialpad_user_id: Option<i64>,
    /// When it was sent.
    pub sent_at: Option<DateTime<Utc>>,
}

/// What is known of a message. As with calls, every part merges without regard to the order of arrival.
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
    media_urls: Option<Latest<Vec<String>>>,
    delivery_result: Option<Latest<String>>,
    dialpad_user_id: Option<Latest<i64>>,
    status: Option<StatusReport>,
    /// A person was erased from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    was_erased: bool,
}

/// A report of the delivery status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StatusReport {
    at: DateTime<Utc>,
    /// In Dialpad's words.
    status: String,
}

impl StatusReport {
    /// A status further along the way counts more than a later report: a `pending` that is sent again after hours, or
    /// within the same second as what followed it, undoes nothing.
    fn weight(&self) -> (u8, DateTime<Utc>, &str) {
        let progress = match self.status.to_ascii_lowercase().as_str() {
            "accepted" | "created" | "new" | "pending" | "queued" | "scheduled" | "sending" => 0,
            "delivered" | "failed" | "rejected" | "undelivered" => 2,
            "read" | "seen" => 3,
            // `sent`, `success`, and unknown words.
            _ => 1,
        };
        (progress, self.at, &self.status)
    }
}

/// A message as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The direction, if a payload said so.
    pub direction: Option<Direction>,
    /// The sender's number.
    pub from_number: Option<String>,
    /// The recipients' numbers, separated by commas.
    pub to_number: Option<String>,
    /// The text.
    pub text: Option<String>,
    /// Where the attached picture or file is.
    pub mms_url: Option<String>,
    /// Where all attached pictures and files are.
    pub media_urls: Vec<String>,
    /// The Dialpad user who wrote or received it.
    pub dialpad_user_id: Option<i64>,
    /// The delivery status, in Dialpad's words.
    pub status: Option<String>,
    /// The result of the delivery, in Dialpad's words.
    pub delivery_result: Option<String>,
    /// When it was sent, or first seen.
    pub sent_at: DateTime<Utc>,
}

impl MessageFacts {
    /// Returns what one webhook says.
    fn of(event: &MessageEvent) -> Self {
        let mut facts = Self {
            first_seen: event.at,
            reported_sent: None,
            direction: None,
            from_number: None,
            to_number: None,
            text: None,
            mms_url: None,
            media_urls: None,
            delivery_result: None,
            dialpad_user_id: None,
            status: None,
            was_erased: false,
        };
        facts.absorb(event);
        facts
    }

    /// Merges in what one webhook says. Absorbing it again, or in another order, changes nothing.
    fn absorb(&mut self, event: &MessageEvent) {
        let at = event.at;
        let said = &event.knowledge;
        self.first_seen = self.first_seen.min(at);
        earliest(&mut self.reported_sent, said.sent_at);
        latest(&mut self.direction, at, &said.direction);
        latest(&mut self.from_number, at, &said.from_number);
        latest(&mut self.to_number, at, &said.to_number);
        latest(&mut self.text, at, &said.text);
        latest(&mut self.mms_url, at, &said.mms_url);
        latest(&mut self.media_urls, at, &Some(said.media_urls.clone()).filter(|urls| !urls.is_empty()));
        latest(&mut self.delivery_result, at, &said.delivery_result);
        latest(&mut self.dialpad_user_id, at, &said.dialpad_user_id);
        if let Some(status) = &said.status {
            let report = StatusReport { at, status: status.clone() };
            if self.status.as_ref().is_none_or(|known| known.weight() < report.weight()) {
                self.status = Some(report);
            }
        }
    }

    /// Forgets the numbers, the text and the attachments. What later webhooks say is new. Returns whether that changed
    /// anything.
    pub fn forget_person(&mut self) -> bool {
        let without = Self {
            was_erased: true,
            from_number: None,
            to_number: None,
            text: None,
            mms_url: None,
            media_urls: None,
            ..self.clone()
        };
        let has_changed = *self != without;
        *self = without;
        has_changed
    }

    /// Whether a person was erased from it.
    #[must_use]
    pub fn was_erased(&self) -> bool {
        self.was_erased
    }

    /// Returns the message as it is shown.
    #[must_use]
    pub fn snapshot(&self) -> Message {
        let mms_url = value(&self.mms_url);
        Message {
            media_urls: value(&self.media_urls).unwrap_or_else(|| mms_url.iter().cloned().collect()),
            delivery_result: value(&self.delivery_result),
            direction: value(&self.direction),
            from_number: value(&self.from_number),
            to_number: value(&self.to_number),
            text: value(&self.text),
            mms_url,
            dialpad_user_id: value(&self.dialpad_user_id),
            status: self.status.as_ref().map(|report| report.status.clone()),
            sent_at: self.reported_sent.unwrap_or(self.first_seen),
        }
    }
}

/// A message as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Our id.
    pub id: MessageId,
    /// Dialpad's id.
    pub dialpad_message_id: String,
    /// Detects a second writer: every write replaces exactly the version before.
    pub version: i64,
    /// When anything that is shown last changed.
    pub updated_at: DateTime<Utc>,
    /// What is known.
    pub facts: MessageFacts,
}

impl StoredMessage {
    /// Returns a message that the store does not have yet.
    #[must_use]
    pub fn unseen(dialpad_message_id: String, facts: MessageFacts, now: DateTime<Utc>) -> Self {
        Self { id: MessageId::generate(), dialpad_message_id, version: 0, updated_at: now, facts }
    }
}

/// A change of a message. Each is emitted as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageChange {
    /// An inbound message arrived.
    Received,
    /// An outbound message was sent.
    Sent,
    /// Something else of it became known or changed.
    Updated,
}

/// Applies one webhook to what is known so far (`None` for a message never seen).
///
/// A message is received or sent once: when its direction becomes known. Until then it is only updated.
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

/// Returns the recipients' numbers as a list.
#[must_use]
pub fn to_numbers(to_number: Option<&str>) -> Vec<&str> {
    to_number.map(|numbers| numbers.split(',').collect()).unwrap_or_default()
}
