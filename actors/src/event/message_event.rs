//! The events of a text message.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    EventType,
    ids_as_text::number_or_text,
    keys::EventKeys,
    out_event::{EventBody, OutEvent},
    schema::DialpadId,
};
use crate::{
    id::{AppId, MessageId},
    model::{
        call::Direction,
        message::{MessageChange, StoredMessage, to_numbers},
        number::{Region, e164, e164_list},
    },
};

/// The fields of every event of a text message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MessageBody {
    message_id: MessageId,
    /// Dialpad's id of the message.
    #[schema(value_type = DialpadId)]
    dialpad_message_id: serde_json::Value,
    direction: Option<Direction>,
    /// The sender.
    from_number: Option<String>,
    /// The recipients, separated by commas.
    to_number: Option<String>,
    /// The recipients as a list.
    to_numbers: Vec<String>,
    /// The sender in E.164 form; null if it is no phone number.
    from_e164: Option<String>,
    /// The recipients in E.164 form, separated by commas; null if none is a phone number.
    to_e164: Option<String>,
    /// The Dialpad user who wrote or received it.
    #[schema(value_type = Option<DialpadId>)]
    pub(super) dialpad_user_id: Option<i64>,
    /// The same person in the CRM, if a mapping is stored.
    pub(super) crm_user_id: Option<String>,
    /// The text, if the connection's scopes include it.
    text: Option<String>,
    /// Where the attached picture or file is.
    mms_url: Option<String>,
    /// Where all attached pictures and files are.
    media_urls: Vec<String>,
    /// The delivery status, in Dialpad's words.
    message_status: Option<String>,
    /// The result of the delivery, in Dialpad's words.
    message_delivery_result: Option<String>,
    /// When it was sent.
    sent_at: DateTime<Utc>,
}

impl MessageBody {
    /// Adds the numbers in E.164 form.
    pub(super) fn set_e164(&mut self, region: Region) {
        self.from_e164 = self.from_number.as_deref().and_then(|number| e164(number, region));
        self.to_e164 = self.to_number.as_deref().and_then(|numbers| e164_list(numbers, region));
    }

    pub(super) fn keys(&self) -> EventKeys {
        EventKeys {
            direction: self.direction,
            from_number: self.from_number.as_deref().map(Into::into),
            to_number: self.to_number.as_deref().map(Into::into),
            crm_user_id: self.crm_user_id.as_deref().map(Into::into),
            partition_key: EventKeys::partition_of_message(self.message_id),
        }
    }
}

impl From<MessageChange> for EventType {
    fn from(change: MessageChange) -> Self {
        match change {
            MessageChange::Received => Self::MessageReceived,
            MessageChange::Sent => Self::MessageSent,
            MessageChange::Updated => Self::MessageUpdated,
        }
    }
}

/// Returns the event for a change of a message. `occurred_at` is the time of the webhook that caused it.
#[must_use]
pub fn message_event(
    app_id: AppId,
    message: &StoredMessage,
    change: MessageChange,
    occurred_at: DateTime<Utc>,
) -> OutEvent {
    let shown = message.facts.snapshot();
    let body = MessageBody {
        message_id: message.id,
        dialpad_message_id: number_or_text(&message.dialpad_message_id),
        direction: shown.direction,
        to_numbers: to_numbers(shown.to_number.as_deref()).into_iter().map(str::to_owned).collect(),
        from_number: shown.from_number,
        to_number: shown.to_number,
        from_e164: None,
        to_e164: None,
        dialpad_user_id: shown.dialpad_user_id,
        crm_user_id: None,
        text: shown.text,
        mms_url: shown.mms_url,
        media_urls: shown.media_urls,
        message_status: shown.status,
        message_delivery_result: shown.delivery_result,
        sent_at: shown.sent_at,
    };
    OutEvent::new(app_id, change.into(), occurred_at, EventBody::Message(Box::new(body)))
}
