//! One event on its way out: first without a place in the feed, then with one and as text that every session
//! shares.

use std::borrow::Cow;

use bytestring::ByteString;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::keys::{EventKeys, LazyKeys};
use crate::id::{DialpadCallId, EventId, Seq};

/// An event that was decided and has no place in the feed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutEvent {
    /// Its id.
    pub id: EventId,
    /// Its type, `call.started` for instance.
    pub kind: Cow<'static, str>,
    /// The call it is about.
    pub dialpad_call_id: Option<DialpadCallId>,
    /// The Dialpad user it concerns.
    pub dialpad_user_id: Option<i64>,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// A JSON object with everything but `type` and `seq`. Never empty.
    pub body: String,
}

/// How a body says that nobody knows what the CRM calls the event's user. No value can contain this, because quotation
/// marks within values are escaped; and of several fields of this name, the event's own comes first.
const NOBODY: &str = "\"crm_user_id\":null";

impl OutEvent {
    /// Says what the CRM calls the event's user, if the event has left that open.
    pub fn name_crm_user(&mut self, crm_user_id: &str) {
        let named = format!("\"crm_user_id\":{}", Value::from(crm_user_id));
        self.body = self.body.replacen(NOBODY, &named, 1);
    }
}

/// An event at its place in the feed, as the text that goes over the wire. Cheap to clone: the text is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its place.
    pub seq: Seq,
    /// Its type.
    pub kind: Cow<'static, str>,
    /// The Dialpad user it concerns.
    pub dialpad_user_id: Option<i64>,
    /// The whole event as JSON.
    pub text: ByteString,
    about: LazyKeys,
}

impl Frame {
    /// Puts a stored or freshly decided event at its place.
    #[must_use]
    pub fn new(seq: Seq, kind: Cow<'static, str>, dialpad_user_id: Option<i64>, body: &str) -> Self {
        let rest = body.strip_prefix('{').unwrap_or(body);
        let text = format!("{{\"type\":\"{kind}\",\"seq\":{seq},{rest}");
        Self { seq, kind, dialpad_user_id, text: text.into(), about: LazyKeys::default() }
    }

    /// What must be dealt with in order: the same number for all events of a call, or of a message.
    pub(crate) fn thread(&self) -> u64 {
        self.about().thread
    }

    /// Whom and what it is about.
    pub(crate) fn about(&self) -> &EventKeys {
        self.about.of(&self.text)
    }
}

/// The fields of an event, a call or a webhook that hold an id of Dialpad's.
const ID_FIELDS: [&str; 10] = [
    "answered_by",
    "call_id",
    "dialpad_call_id",
    "dialpad_user_id",
    "dialpad_voicemail_id",
    "dialpad_message_id",
    "dialpad_org_id",
    "dialpad_webhook_id",
    "dialpad_subscription_id",
    "interaction_id",
];

impl Frame {
    /// The event with Dialpad's ids as strings, for readers whose numbers are not exact up to 64 bits.
    #[must_use]
    pub fn text_with_text_ids(&self) -> ByteString {
        let Ok(mut event) = serde_json::from_str::<serde_json::Map<_, _>>(&self.text) else {
            return self.text.clone();
        };
        for name in ID_FIELDS {
            if let Some(Value::Number(id)) = event.get(name) {
                let text = id.to_string().into();
                event.insert(name.to_owned(), text);
            }
        }
        serde_json::to_string(&event).map_or_else(|_| self.text.clone(), Into::into)
    }
}

/// Writes Dialpad's ids as strings, where a client asked for that.
pub fn write_ids_as_text(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(write_ids_as_text),
        Value::Object(object) => {
            for (name, value) in object.iter_mut() {
                match value {
                    Value::Number(number) if ID_FIELDS.contains(&name.as_str()) => {
                        *value = number.to_string().into()
                    }
                    Value::Object(_) | Value::Array(_) if name != "payload" => write_ids_as_text(value),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// An id of theirs as it looked in JSON: a number if it is one, else a string.
#[must_use]
pub fn number_or_text(id: &str) -> Value {
    id.parse::<i64>().map_or_else(|_| id.into(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_named_in_the_events_own_field_and_nowhere_else() {
        let said = r#"{"text":"\"crm_user_id\":null","crm_user_id":null,"payload":{"crm_user_id":null}}"#;
        let mut event = OutEvent {
            id: EventId::generate(),
            kind: Cow::Borrowed("call.raw"),
            dialpad_call_id: None,
            dialpad_user_id: Some(555),
            occurred_at: DateTime::UNIX_EPOCH,
            body: said.to_owned(),
        };
        event.name_crm_user("a \"user\"\n");
        let named =
            r#"{"text":"\"crm_user_id\":null","crm_user_id":"a \"user\"\n","payload":{"crm_user_id":null}}"#;
        assert_eq!(event.body, named);
    }
}
