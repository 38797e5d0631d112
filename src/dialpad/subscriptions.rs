//! Making sure that Dialpad sends us an app's events: one webhook with the app's own secret, and a subscription to
//! calls and to messages on it. Doing it twice changes nothing: what is there is found before anything is made.

use cti_actors::{error::StoreError, id::AppId};
use reqwest::{Method, Url};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use thiserror::Error;
use tracing::warn;

use super::{
    api::Dialpad,
    client::{DialpadError, id_text},
    question::{Endpoint, Question},
};
use crate::store::{Store, subscriptions::OwnWebhook};

/// The path of webhooks at Dialpad.
const WEBHOOKS: &str = "webhooks";

/// Why it could not be made sure.
#[derive(Debug, Error)]
pub enum SubscribeError {
    /// Our side.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Their side.
    #[error(transparent)]
    Dialpad(#[from] DialpadError),
}

/// Makes sure that an app's events come to us.
///
/// # Errors
/// See [`SubscribeError`]; trying again is right.
pub async fn ensure(
    dialpad: &Dialpad,
    store: &Store,
    app: AppId,
    public_url: &Url,
) -> Result<(), SubscribeError> {
    let hook_url = format!("{}/webhooks/{app}", public_url.as_str().trim_end_matches('/'));
    let mut webhook = store.prepare_webhook(app, &hook_url).await?;
    webhook.hook_url = hook_url;
    let endpoint = find_or_make_webhook(dialpad, app, &webhook).await?;
    let calls =
        find_or_make_subscription(dialpad, app, Endpoint::CallSubscriptions, &endpoint, json!({})).await?;
    let everything = json!({"direction": "all", "status": true});
    let kind = Endpoint::MessageSubscriptions;
    let messages = match find_or_make_subscription(dialpad, app, kind, &endpoint, everything).await {
        Ok(messages) => Some(messages),
        // Needs a scope of its own; an app without it still gets its calls.
        Err(DialpadError::Refused(status)) => {
            warn!(app.id = %app, %status, "Dialpad refused the subscription to messages");
            None
        }
        Err(error) => return Err(error.into()),
    };
    webhook.dialpad_webhook_id = Some(endpoint);
    webhook.call_subscription = Some(calls);
    webhook.sms_subscription = messages;
    store.confirm_webhook(app, &webhook).await?;
    Ok(())
}

async fn find_or_make_webhook(
    dialpad: &Dialpad,
    app: AppId,
    webhook: &OwnWebhook,
) -> Result<String, DialpadError> {
    let secret = webhook.secret.expose_secret();
    for item in list(dialpad, app, Endpoint::Webhooks, WEBHOOKS).await? {
        let Some(id) = item.get("id").and_then(id_text) else { continue };
        if item.get("hook_url").and_then(Value::as_str) != Some(&webhook.hook_url) {
            continue;
        }
        if item.pointer("/signature/secret").and_then(Value::as_str) == Some(secret) {
            return Ok(id);
        }
        // Ours by its address, but signed with something that we no longer know.
        let delete = Question::new(Endpoint::Webhooks, Method::DELETE, format!("{WEBHOOKS}/{id}"));
        dialpad.ask(app, &delete).await?;
    }
    let body = json!({"hook_url": webhook.hook_url, "secret": secret});
    made(&dialpad.ask(app, &Question::new(Endpoint::Webhooks, Method::POST, WEBHOOKS).saying(body)).await?)
}

async fn find_or_make_subscription(
    dialpad: &Dialpad,
    app: AppId,
    kind: Endpoint,
    endpoint: &str,
    wishes: Value,
) -> Result<String, DialpadError> {
    let path = if kind == Endpoint::CallSubscriptions { "subscriptions/call" } else { "subscriptions/sms" };
    for item in list(dialpad, app, kind, path).await? {
        let on_ours = item.pointer("/webhook/id").and_then(id_text).as_deref() == Some(endpoint);
        let enabled = item.get("enabled").and_then(Value::as_bool).unwrap_or(true);
        if let (true, true, Some(id)) = (on_ours, enabled, item.get("id").and_then(id_text)) {
            return Ok(id);
        }
    }
    let mut body = wishes;
    // Ids go out as numbers where they are ones: that is what the API declares.
    body["endpoint_id"] = endpoint.parse::<i64>().map_or_else(|_| endpoint.into(), Value::from);
    body["enabled"] = true.into();
    made(&dialpad.ask(app, &Question::new(kind, Method::POST, path).saying(body)).await?)
}

fn made(reply: &Value) -> Result<String, DialpadError> {
    reply.get("id").and_then(id_text).ok_or(DialpadError::Nonsense)
}

/// All items of a list, page by page. An empty list may leave `items` out.
async fn list(
    dialpad: &Dialpad,
    app: AppId,
    endpoint: Endpoint,
    path: &str,
) -> Result<Vec<Value>, DialpadError> {
    /// More pages than any company's limit of subscriptions could fill: a cursor that never ends is a fault.
    const MOST_PAGES: usize = 100;
    let mut items = Vec::new();
    let mut question = Question::get(endpoint, path);
    for _ in 0..MOST_PAGES {
        let mut page = dialpad.ask(app, &question).await?;
        if let Some(Value::Array(part)) = page.get_mut("items").map(Value::take) {
            items.extend(part);
        }
        match page.get("cursor").and_then(Value::as_str).filter(|cursor| !cursor.is_empty()) {
            Some(cursor) => question = Question::get(endpoint, path).with("cursor", cursor),
            None => return Ok(items),
        }
    }
    Err(DialpadError::Nonsense)
}
