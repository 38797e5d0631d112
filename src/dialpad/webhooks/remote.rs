//! The webhooks and subscriptions that a company has at Dialpad.

use std::collections::BTreeMap;

use cti_actors::id::AppId;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use strum::VariantArray;

use super::kind::SubscriptionKind;
use crate::dialpad::{
    api::{Dialpad, next_cursor},
    client::{
        DialpadError, id_text,
        request::{ApiRequest, Endpoint, Urgency},
    },
};

/// More pages than the subscriptions that Dialpad allows could fill: a cursor without end is an error.
const MAX_PAGES: usize = 100;

/// Returns the path of a list below `/api/v2/`.
pub(crate) fn path(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::CallSubscriptions => "subscriptions/call",
        Endpoint::MessageSubscriptions => "subscriptions/sms",
        _ => "webhooks",
    }
}

/// Everything of a company that could belong to an app.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remote {
    pub(crate) webhooks: Vec<RemoteWebhook>,
    /// A kind that Dialpad refuses to list is absent.
    pub(crate) subscriptions: BTreeMap<SubscriptionKind, Vec<RemoteSubscription>>,
}

#[derive(Clone, Debug)]
pub(crate) struct RemoteWebhook {
    pub(crate) id: String,
    pub(crate) hook_url: Option<String>,
    pub(crate) signing: Signing,
}

/// What a webhook's events are signed with.
#[derive(Clone, Debug)]
pub(crate) enum Signing {
    With(SecretString),
    /// With a secret that Dialpad does not show.
    Hidden,
    Unsigned,
}

impl Signing {
    pub(crate) fn is_with(&self, secret: &SecretString) -> bool {
        matches!(self, Self::With(shown) if shown.expose_secret() == secret.expose_secret())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct RemoteSubscription {
    pub(crate) id: String,
    pub(crate) webhook_id: Option<String>,
    pub(crate) hook_url: Option<String>,
    pub(crate) enabled: bool,
    /// Whether it is for one user or group, and not for the whole company.
    pub(crate) has_target: bool,
    /// Whether it leaves out events.
    pub(crate) is_restricted: bool,
}

/// Reads everything from Dialpad.
pub(crate) async fn read(dialpad: &Dialpad, app: AppId, urgency: Urgency) -> Result<Remote, DialpadError> {
    let webhooks = list(dialpad, app, Endpoint::Webhooks, urgency).await?;
    let mut remote = Remote { webhooks: webhooks.iter().filter_map(webhook).collect(), ..Remote::default() };
    for kind in SubscriptionKind::VARIANTS {
        let items = match list(dialpad, app, kind.endpoint(), urgency).await {
            Err(DialpadError::Refused(status))
                if status.is_client_error() && kind.optional_scope().is_some() =>
            {
                continue;
            }
            items => items?,
        };
        let subscriptions = items.iter().filter_map(|item| subscription(*kind, item)).collect();
        remote.subscriptions.insert(*kind, subscriptions);
    }
    Ok(remote)
}

/// Reads all pages of a list. An empty list may omit `items`.
async fn list(
    dialpad: &Dialpad,
    app: AppId,
    endpoint: Endpoint,
    urgency: Urgency,
) -> Result<Vec<Value>, DialpadError> {
    let first = ApiRequest { urgency, ..ApiRequest::get(endpoint, path(endpoint)) };
    let mut cursor = None;
    let mut items = Vec::new();
    for _ in 0..MAX_PAGES {
        let request = match &cursor {
            Some(cursor) => first.clone().with("cursor", cursor),
            None => first.clone(),
        };
        let mut page = dialpad.send(app, &request).await?;
        if !page.is_object() {
            return Err(DialpadError::InvalidResponse);
        }
        if let Some(Value::Array(part)) = page.get_mut("items").map(Value::take) {
            items.extend(part);
        }
        cursor = next_cursor(&page, cursor.as_deref());
        if cursor.is_none() {
            return Ok(items);
        }
    }
    Err(DialpadError::InvalidResponse)
}

fn text(item: &Value, pointer: &str) -> Option<String> {
    item.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn webhook(item: &Value) -> Option<RemoteWebhook> {
    let signing = match (item.get("signature"), text(item, "/signature/secret")) {
        (_, Some(secret)) => Signing::With(secret.into()),
        (Some(Value::Object(_)), None) => Signing::Hidden,
        _ => Signing::Unsigned,
    };
    Some(RemoteWebhook { id: id_text(item.get("id")?)?, hook_url: text(item, "/hook_url"), signing })
}

fn subscription(kind: SubscriptionKind, item: &Value) -> Option<RemoteSubscription> {
    let webhook = item.pointer("/webhook/id").or_else(|| item.get("endpoint_id"));
    Some(RemoteSubscription {
        id: id_text(item.get("id")?)?,
        webhook_id: webhook.and_then(id_text),
        hook_url: text(item, "/webhook/hook_url"),
        enabled: item.get("enabled") != Some(&Value::Bool(false)),
        has_target: !matches!(item.get("target_type"), None | Some(Value::Null)),
        is_restricted: kind.is_restricted(item),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_read_as_numbers_or_as_text() {
        let item = json!({"id": 7, "webhook": {"id": "8", "hook_url": "http://here/"}});
        let found = subscription(SubscriptionKind::Calls, &item).expect("a subscription");
        assert_eq!((found.id.as_str(), found.webhook_id.as_deref()), ("7", Some("8")));
        assert!(found.enabled && !found.has_target && !found.is_restricted, "{found:?}");
        assert!(subscription(SubscriptionKind::Calls, &json!({"enabled": true})).is_none());
    }

    #[test]
    fn the_ways_of_signing_are_distinguished() {
        let signing = |item: Value| webhook(&item).expect("a webhook").signing;
        let signed = json!({"id": "1", "signature": {"algo": "HS256", "secret": "s"}});
        assert!(signing(signed).is_with(&"s".into()));
        assert!(matches!(signing(json!({"id": "1", "signature": {"algo": "HS256"}})), Signing::Hidden));
        assert!(matches!(signing(json!({"id": "1"})), Signing::Unsigned));
    }
}
