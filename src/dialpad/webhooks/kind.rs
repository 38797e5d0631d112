//! What a webhook at Dialpad is subscribed to.

use serde_json::{Value, json};
use strum::{Display, VariantArray};

use crate::{
    dialpad::{client::request::Endpoint, oauth::scopes},
    store::dialpad::own_webhooks::OwnWebhook,
};

/// A kind of subscription. An app's webhook has one of each, for the whole company. To add one: a variant, an arm in
/// each function here, and a column in the table of webhooks.
#[derive(Clone, Copy, Debug, Display, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum SubscriptionKind {
    /// Events of calls.
    Calls,
    /// Events of text messages.
    Messages,
}

impl SubscriptionKind {
    pub(crate) fn endpoint(self) -> Endpoint {
        match self {
            Self::Calls => Endpoint::CallSubscriptions,
            Self::Messages => Endpoint::MessageSubscriptions,
        }
    }

    /// Returns the scope without which Dialpad may refuse this kind. An app without it still works; `None` if it would
    /// not.
    pub(crate) fn optional_scope(self) -> Option<&'static str> {
        match self {
            Self::Calls => None,
            Self::Messages => Some(scopes::MESSAGE_TEXTS),
        }
    }

    /// Returns whether a subscription, as Dialpad shows it, leaves out events. A missing field counts as unrestricted.
    pub(crate) fn is_restricted(self, item: &Value) -> bool {
        match self {
            Self::Calls => {
                let states = item.get("call_states").and_then(Value::as_array);
                let has_filter = states.is_some_and(|states| states.iter().all(|state| state != "all"));
                has_filter || item.get("group_calls_only") == Some(&Value::Bool(true))
            }
            Self::Messages => {
                let direction = item.get("direction").and_then(Value::as_str);
                let has_filter = direction.is_some_and(|direction| direction != "all");
                has_filter || item.get("status") == Some(&Value::Bool(false))
            }
        }
    }

    /// Returns the fields with which a subscription covers all events. Omitted `call_states` are all states.
    pub(crate) fn create_fields(self) -> Value {
        match self {
            Self::Calls => json!({}),
            Self::Messages => json!({"direction": "all", "status": true}),
        }
    }

    /// Returns the fields with which an existing subscription covers all events: omitted fields would not change.
    pub(crate) fn update_fields(self) -> Value {
        match self {
            Self::Calls => json!({"call_states": ["all"], "group_calls_only": false}),
            Self::Messages => self.create_fields(),
        }
    }

    /// Returns whether an existing subscription delivers less than a new one would: the scopes of the connection that
    /// created it decide about the texts of messages (<https://developers.dialpad.com/docs/sms-events>).
    pub(crate) fn is_outdated(self, own: &OwnWebhook, can_read_texts: bool) -> bool {
        match self {
            Self::Calls => false,
            Self::Messages => can_read_texts && !own.sms_with_texts,
        }
    }

    /// Records with which scopes a subscription was created.
    pub(crate) fn note_created(self, own: &mut OwnWebhook, can_read_texts: bool) {
        match self {
            Self::Calls => {}
            Self::Messages => own.sms_with_texts = can_read_texts,
        }
    }

    /// Returns Dialpad's id of the app's subscription, as stored.
    pub(crate) fn stored_id(self, own: &OwnWebhook) -> Option<&str> {
        match self {
            Self::Calls => own.call_subscription.as_deref(),
            Self::Messages => own.sms_subscription.as_deref(),
        }
    }

    pub(crate) fn set_stored_id(self, own: &mut OwnWebhook, id: Option<String>) {
        match self {
            Self::Calls => own.call_subscription = id,
            Self::Messages => own.sms_subscription = id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_restricted_when_it_leaves_something_out() {
        for (item, expected) in [
            (json!({}), false),
            (json!({"call_states": null, "group_calls_only": false}), false),
            (json!({"call_states": ["ringing", "all"]}), false),
            (json!({"call_states": ["ringing", "hangup"]}), true),
            (json!({"call_states": []}), true),
            (json!({"group_calls_only": true}), true),
        ] {
            assert_eq!(SubscriptionKind::Calls.is_restricted(&item), expected, "{item}");
        }
        for (item, expected) in [
            (json!({}), false),
            (json!({"direction": "all", "status": true, "include_internal": false}), false),
            (json!({"direction": "inbound", "status": true}), true),
            (json!({"direction": "all", "status": false}), true),
        ] {
            assert_eq!(SubscriptionKind::Messages.is_restricted(&item), expected, "{item}");
        }
    }
}
