//! An event from its decision until it is committed: a struct, which is serialised once it is final.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    EventType, call_event::CallBody, connection_event::ConnectionBody, interaction_event::InteractionBody,
    keys::EventKeys, message_event::MessageBody,
};
use crate::{
    id::{AppId, DialpadCallId, EventId, Seq},
    model::number::Region,
};

/// An event that was decided and has no place in the feed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutEvent {
    /// The id, the same whenever the event is delivered.
    pub id: EventId,
    /// The app whose feed it belongs to.
    pub app_id: AppId,
    /// The type.
    pub event_type: EventType,
    /// When it happened: for calls and messages, the time of the webhook that caused it.
    pub occurred_at: DateTime<Utc>,
    /// The fields of its family and its type.
    pub body: EventBody,
}

/// The fields of an event beyond those that every event has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum EventBody {
    /// Of a call or its voicemail.
    Call(Box<CallBody>),
    /// Of an interaction.
    Interaction(Box<InteractionBody>),
    /// Of a text message.
    Message(Box<MessageBody>),
    /// Of the app's connection to Dialpad.
    Connection(ConnectionBody),
}

impl OutEvent {
    /// Returns an event with a new id.
    pub(super) fn new(
        app_id: AppId,
        event_type: EventType,
        occurred_at: DateTime<Utc>,
        body: EventBody,
    ) -> Self {
        Self { id: EventId::generate(), app_id, event_type, occurred_at, body }
    }

    /// Returns the call that the event is about.
    #[must_use]
    pub fn dialpad_call_id(&self) -> Option<DialpadCallId> {
        match &self.body {
            EventBody::Call(call) => Some(call.dialpad_call_id),
            EventBody::Interaction(_) | EventBody::Message(_) | EventBody::Connection(_) => None,
        }
    }

    /// Returns the Dialpad user whom the event concerns.
    #[must_use]
    pub fn dialpad_user_id(&self) -> Option<i64> {
        match &self.body {
            EventBody::Call(call) => call.dialpad_user_id,
            EventBody::Interaction(interaction) => interaction.user(),
            EventBody::Message(message) => message.dialpad_user_id,
            EventBody::Connection(_) => None,
        }
    }

    /// Returns the Dialpad user whose id in the CRM the event names.
    #[must_use]
    pub fn named_user(&self) -> Option<i64> {
        match &self.body {
            EventBody::Interaction(interaction) => interaction.answered_by(),
            _ => self.dialpad_user_id(),
        }
    }

    /// Sets the id that the CRM has for the event's named user.
    pub fn set_crm_user_id(&mut self, crm_user_id: &str) {
        let crm_user_id = Some(crm_user_id.to_owned());
        match &mut self.body {
            EventBody::Call(call) => call.crm_user_id = crm_user_id,
            EventBody::Interaction(interaction) => interaction.set_crm_user_id(crm_user_id),
            EventBody::Message(message) => message.crm_user_id = crm_user_id,
            EventBody::Connection(_) => {}
        }
    }

    /// Adds the numbers in E.164 form, as the app's region reads them.
    pub fn set_e164(&mut self, region: Region) {
        match &mut self.body {
            EventBody::Call(call) => call.set_e164(region),
            EventBody::Message(message) => message.set_e164(region),
            EventBody::Interaction(_) | EventBody::Connection(_) => {}
        }
    }

    /// Returns the JSON object that the store keeps: the event without `type` and `seq`.
    ///
    /// Both have columns of their own, because `seq` is assigned by the statement that writes the event.
    #[must_use]
    pub fn stored_body(&self) -> String {
        to_json(&self.fields())
    }

    /// Returns the JSON object that is delivered at this place in the feed.
    pub(super) fn text_at(&self, seq: Seq) -> String {
        to_json(&DeliveredFields { event_type: self.event_type, seq, fields: self.fields() })
    }

    /// Returns what filters and consumers ask of the event.
    pub(super) fn keys(&self) -> EventKeys {
        match &self.body {
            EventBody::Call(call) => call.keys(),
            EventBody::Interaction(interaction) => interaction.keys(),
            EventBody::Message(message) => message.keys(),
            EventBody::Connection(_) => EventKeys::default(),
        }
    }

    fn fields(&self) -> EventFields<'_> {
        EventFields {
            event_id: self.id,
            app_id: self.app_id,
            body: &self.body,
            timestamp: self.occurred_at.timestamp(),
        }
    }
}

/// The fields of every event but `type` and `seq`, in the order in which they are written.
#[derive(Serialize, ToSchema)]
pub(super) struct EventFields<'e> {
    event_id: EventId,
    app_id: AppId,
    #[serde(flatten)]
    #[schema(ignore)]
    body: &'e EventBody,
    /// When it happened, in Unix seconds; for calls and messages, the time of the webhook that caused it.
    timestamp: i64,
}

#[derive(Serialize)]
struct DeliveredFields<'e> {
    #[serde(rename = "type")]
    event_type: EventType,
    seq: Seq,
    #[serde(flatten)]
    fields: EventFields<'e>,
}

fn to_json(fields: &impl Serialize) -> String {
    serde_json::to_string(fields).expect("an event has only string keys")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{Frame, call_event, message_event},
        model::{
            call::{CallChange, CallEvent, Direction, Knowledge, Origin, Signal, StoredCall},
            message::{self, MessageChange, MessageEvent, MessageKnowledge, StoredMessage},
        },
    };

    fn ring() -> OutEvent {
        let mut call = StoredCall::unseen(DialpadCallId(-7), DateTime::UNIX_EPOCH);
        let knowledge = Knowledge {
            direction: Some(Direction::Inbound),
            from_number: Some("\"+1\"".into()),
            to_number: Some("+2".into()),
            dialpad_user_id: Some(555),
            ..Knowledge::default()
        };
        call.facts.absorb(&CallEvent {
            dialpad_call_id: call.dialpad_call_id,
            at: DateTime::UNIX_EPOCH,
            signal: Signal::Ringing,
            knowledge,
            origin: Origin::Webhook,
        });
        let snapshot = call.facts.snapshot();
        let app = AppId::generate();
        call_event(app, &call, &snapshot, &CallChange::Ring, DateTime::UNIX_EPOCH, Origin::Webhook)
    }

    fn message() -> OutEvent {
        let knowledge = MessageKnowledge {
            direction: Some(Direction::Outbound),
            from_number: Some("+1".into()),
            to_number: Some("+2,+3".into()),
            dialpad_user_id: Some(555),
            ..MessageKnowledge::default()
        };
        let at = DateTime::UNIX_EPOCH;
        let (facts, _) =
            message::apply(None, &MessageEvent { dialpad_message_id: "m".into(), at, knowledge });
        let stored = StoredMessage::unseen("m".into(), facts, at);
        message_event(AppId::generate(), &stored, MessageChange::Sent, at)
    }

    #[test]
    fn a_stored_event_is_delivered_like_a_fresh_one() {
        for mut event in [ring(), message()] {
            event.set_crm_user_id("agent \"7\"\n");
            let fresh = Frame::new(Seq(7), &event);
            let event_type = event.event_type.as_str();
            let body = event.stored_body();
            let stored =
                Frame::stored(Seq(7), event_type, event.dialpad_user_id(), &body).expect("an object");
            assert_eq!(stored, fresh);
            assert_eq!(stored.keys(), fresh.keys());
            assert_eq!(fresh.keys().crm_user_id.as_deref(), Some("agent \"7\"\n"));
            assert_ne!(fresh.partition_key(), 0);
        }
    }

    #[test]
    fn the_crm_user_is_named_in_the_events_own_field_and_nowhere_else() {
        let call = StoredCall::unseen(DialpadCallId(7), DateTime::UNIX_EPOCH);
        let payload = Box::new(serde_json::json!({"text": "\"crm_user_id\":null", "crm_user_id": null}));
        let change = CallChange::Raw { state: "odd".into(), payload };
        let snapshot = call.facts.snapshot();
        let mut event =
            call_event(AppId::generate(), &call, &snapshot, &change, DateTime::UNIX_EPOCH, Origin::Webhook);
        event.set_crm_user_id("agent");
        let body: serde_json::Value = serde_json::from_str(&event.stored_body()).expect("an object");
        assert_eq!(body["crm_user_id"], "agent");
        assert_eq!(body["payload"]["crm_user_id"], serde_json::Value::Null);
    }
}
