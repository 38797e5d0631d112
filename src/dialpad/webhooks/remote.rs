//! What stands at Dialpad, as its lists say.

use cti_actors::id::AppId;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::dialpad::{
    api::Dialpad,
    client::{
        DialpadError, id_text,
        request::{ApiRequest, Endpoint, Urgency},
    },
};

/// More pages than any company's limit of subscriptions could fill: a cursor that never ends is a fault.
const MOST_PAGES: usize = 100;

/// The path of a list below `/api/v2/`.
pub(crate) fn path(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::CallSubscriptions => "subscriptions/call",
        Endpoint::MessageSubscriptions => "subscriptions/sms",
        _ => "webhooks",
    }
}

/// Everything of a company that could be ours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) webhooks: Vec<FoundWebhook>,
    pub(crate) calls: Vec<FoundSubscription>,
    /// Unknown where Dialpad refuses to list them.
    pub(crate) messages: Option<Vec<FoundSubscription>>,
}

/// A webhook.
#[derive(Clone, Debug)]
pub(crate) struct FoundWebhook {
    pub(crate) id: String,
    pub(crate) hook_url: Option<String>,
    pub(crate) signing: Signing,
}

/// What a webhook's events are signed with.
#[derive(Clone, Debug)]
pub(crate) enum Signing {
    With(SecretString),
    /// With something that Dialpad does not show.
    Hidden,
    Unsigned,
}

impl Signing {
    pub(crate) fn is_with(&self, secret: &SecretString) -> bool {
        matches!(self, Self::With(it) if it.expose_secret() == secret.expose_secret())
    }
}

/// A subscription.
#[derive(Clone, Debug)]
pub(crate) struct FoundSubscription {
    pub(crate) id: String,
    pub(crate) webhook_id: Option<String>,
    pub(crate) hook_url: Option<String>,
    pub(crate) enabled: bool,
    /// It is for one user or group, and not for the whole company.
    pub(crate) has_target: bool,
    /// It leaves out something that we want to hear. What a reply does not mention is taken to be right.
    pub(crate) is_narrow: bool,
}

/// Asks for everything.
pub(crate) async fn look(dialpad: &Dialpad, app: AppId, urgency: Urgency) -> Result<Found, DialpadError> {
    let webhooks = list(dialpad, app, Endpoint::Webhooks, urgency).await?;
    let calls = list(dialpad, app, Endpoint::CallSubscriptions, urgency).await?;
    let messages = match list(dialpad, app, Endpoint::MessageSubscriptions, urgency).await {
        Ok(items) => Some(items.iter().filter_map(|item| subscription(item, messages_are_narrow)).collect()),
        // An app that may not see them still gets its calls.
        Err(DialpadError::Refused(status)) if status.is_client_error() => None,
        Err(error) => return Err(error),
    };
    Ok(Found {
        webhooks: webhooks.iter().filter_map(webhook).collect(),
        calls: calls.iter().filter_map(|item| subscription(item, calls_are_narrow)).collect(),
        messages,
    })
}

/// All items of a list, page by page. An empty list may leave `items` out.
async fn list(
    dialpad: &Dialpad,
    app: AppId,
    endpoint: Endpoint,
    urgency: Urgency,
) -> Result<Vec<Value>, DialpadError> {
    let first = ApiRequest { urgency, ..ApiRequest::get(endpoint, path(endpoint)) };
    let (mut items, mut question) = (Vec::new(), first.clone());
    for _ in 0..MOST_PAGES {
        let mut page = dialpad.ask(app, &question).await?;
        if !page.is_object() {
            return Err(DialpadError::InvalidResponse);
        }
        if let Some(Value::Array(part)) = page.get_mut("items").map(Value::take) {
            items.extend(part);
        }
        match page.get("cursor").and_then(id_text).filter(|cursor| !cursor.is_empty()) {
            Some(cursor) => question = first.clone().with("cursor", cursor),
            None => return Ok(items),
        }
    }
    Err(DialpadError::InvalidResponse)
}

fn text(item: &Value, pointer: &str) -> Option<String> {
    item.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn webhook(item: &Value) -> Option<FoundWebhook> {
    let signing = match (item.get("signature"), text(item, "/signature/secret")) {
        (_, Some(secret)) => Signing::With(secret.into()),
        (Some(Value::Object(_)), None) => Signing::Hidden,
        _ => Signing::Unsigned,
    };
    Some(FoundWebhook { id: id_text(item.get("id")?)?, hook_url: text(item, "/hook_url"), signing })
}

fn subscription(item: &Value, is_narrow: fn(&Value) -> bool) -> Option<FoundSubscription> {
    let endpoint = item.pointer("/webhook/id").or_else(|| item.get("endpoint_id"));
    Some(FoundSubscription {
        id: id_text(item.get("id")?)?,
        webhook_id: endpoint.and_then(id_text),
        hook_url: text(item, "/webhook/hook_url"),
        enabled: item.get("enabled") != Some(&Value::Bool(false)),
        has_target: !matches!(item.get("target_type"), None | Some(Value::Null)),
        is_narrow: is_narrow(item),
    })
}

fn calls_are_narrow(item: &Value) -> bool {
    let states = item.get("call_states").and_then(Value::as_array);
    let some_only = states.is_some_and(|states| states.iter().all(|state| state != "all"));
    some_only || item.get("group_calls_only") == Some(&Value::Bool(true))
}

fn messages_are_narrow(item: &Value) -> bool {
    let one_way = item.get("direction").and_then(Value::as_str).is_some_and(|direction| direction != "all");
    one_way || item.get("status") == Some(&Value::Bool(false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_read_as_numbers_or_as_text() {
        let item = json!({"id": 7, "webhook": {"id": "8", "hook_url": "http://here/"}});
        let found = subscription(&item, calls_are_narrow).expect("a subscription");
        assert_eq!((found.id.as_str(), found.webhook_id.as_deref()), ("7", Some("8")));
        assert!(found.enabled && !found.has_target && !found.is_narrow, "{found:?}");
        assert!(subscription(&json!({"enabled": true}), calls_are_narrow).is_none());
    }

    #[test]
    fn a_subscription_is_narrow_when_it_leaves_something_out() {
        for (item, narrow) in [
            (json!({}), false),
            (json!({"call_states": null, "group_calls_only": false}), false),
            (json!({"call_states": ["ringing", "all"]}), false),
            (json!({"call_states": ["ringing", "hangup"]}), true),
            (json!({"call_states": []}), true),
            (json!({"group_calls_only": true}), true),
        ] {
            assert_eq!(calls_are_narrow(&item), narrow, "{item}");
        }
        for (item, narrow) in [
            (json!({}), false),
            (json!({"direction": "all", "status": true, "include_internal": false}), false),
            (json!({"direction": "inbound", "status": true}), true),
            (json!({"direction": "all", "status": false}), true),
        ] {
            assert_eq!(messages_are_narrow(&item), narrow, "{item}");
        }
    }

    #[test]
    fn signing_is_told_apart() {
        let signing = |item: Value| webhook(&item).expect("a webhook").signing;
        let signed = json!({"id": "1", "signature": {"algo": "HS256", "secret": "s"}});
        assert!(signing(signed).is_with(&"s".into()));
        assert!(matches!(signing(json!({"id": "1", "signature": {"algo": "HS256"}})), Signing::Hidden));
        assert!(matches!(signing(json!({"id": "1"})), Signing::Unsigned));
    }
}
