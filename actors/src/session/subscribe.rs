//! The first message of a WebSocket whose request has no key. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::subscription::{Subscription, SubscriptionError};

/// The first message of a client whose request has no key.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct Subscribe {
    /// The app's API key.
    pub(super) api_key: String,
    /// The parameters that the query can have as well.
    #[serde(flatten)]
    #[schema(ignore)]
    parameters: Map<String, Value>,
}

impl Subscribe {
    /// Returns the subscription; `None` if the message has no parameters, so that those of the query count.
    pub(super) fn subscription(&self) -> Result<Option<Subscription>, SubscriptionError> {
        let mut texts = BTreeMap::new();
        for (name, value) in &self.parameters {
            let mut known = Subscription::PARAMETERS.iter().chain(&Subscription::OF_SESSIONS);
            if !known.any(|known| known == name) {
                return Err(SubscriptionError::new(name, "there is no such parameter here"));
            }
            if let Some(text) = query_text(name, value)? {
                texts.insert(name.as_str(), text);
            }
        }
        if texts.is_empty() {
            return Ok(None);
        }
        Subscription::read(|name| texts.get(name).map(String::as_str)).map(Some)
    }
}

/// Returns a parameter as a query would have it.
fn query_text(name: &str, value: &Value) -> Result<Option<String>, SubscriptionError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(switch) => Ok(Some(switch.to_string())),
        Value::Array(items) if name == "types" => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            let texts = texts.ok_or_else(|| SubscriptionError::new(name, "must be a list of strings"))?;
            Ok(Some(texts.join(",")))
        }
        Value::Array(_) | Value::Object(_) => Err(SubscriptionError::new(name, "must be a single value")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_message_takes_the_parameters_of_the_query() {
        let subscription = |message| {
            let subscribe: Subscribe = serde_json::from_value(message).expect("a subscribe");
            subscribe.subscription()
        };
        let message = json!({"api_key": "raw_1", "after": 3, "types": ["call.*", "message.sent"]});
        let query = [("after", "3"), ("types", "call.*,message.sent")];
        let text_of = |name| query.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        assert_eq!(subscription(message), Subscription::read(text_of).map(Some));
        let with_snapshot = subscription(json!({"api_key": "raw_1", "snapshot": true}));
        assert!(with_snapshot.expect("valid").expect("parameters").snapshot);
        assert_eq!(subscription(json!({"api_key": "raw_1", "after": null})), Ok(None));
        for (name, value) in [("colour", json!("red")), ("after", json!([1])), ("types", json!([1]))] {
            let refused = subscription(json!({"api_key": "raw_1", name: value}));
            assert_eq!(refused.map_err(|problem| problem.field), Err(name.to_owned()));
        }
    }
}
