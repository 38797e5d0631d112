//! `/api/v2/webhooks`.

use actix_web::{HttpResponse, web};
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Caller, Int64, PageQuery, Problem, Query, page};
use crate::registry::Webhook;
use crate::{State, lock};

#[derive(Deserialize)]
pub(crate) struct Change {
    hook_url: Option<String>,
    secret: Option<String>,
}

impl Change {
    fn checked_url(&self) -> Result<Option<String>, Problem> {
        let Some(url) = &self.hook_url else {
            return Ok(None);
        };
        match Url::parse(url) {
            Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(Some(url.clone())),
            _ => Err(Problem::bad("hook_url must be an absolute http(s) address")),
        }
    }

    /// Returns the secret; an empty one is none.
    fn secret(self) -> Option<String> {
        self.secret.filter(|secret| !secret.is_empty())
    }
}

pub(crate) async fn create(
    state: web::Data<State>,
    caller: Caller,
    body: web::Json<Change>,
) -> Result<HttpResponse, Problem> {
    let change = body.into_inner();
    let company_id = caller.company(&state);
    let hook_url = change.checked_url()?.ok_or_else(|| Problem::bad("hook_url is required"))?;
    let mut registry = lock(&state.registry);
    let webhook = Webhook { id: registry.next_id(), company_id, hook_url, secret: change.secret() };
    let reply = rendered(&webhook);
    registry.webhooks.insert(webhook.id, webhook);
    Ok(HttpResponse::Ok().json(reply))
}

pub(crate) async fn list(state: web::Data<State>, caller: Caller, query: Query<PageQuery>) -> HttpResponse {
    let registry = lock(&state.registry);
    let theirs = registry.webhooks.values().filter(|webhook| caller.sees(webhook.company_id));
    page(theirs.map(|webhook| (webhook.id, rendered(webhook))), &query)
}

pub(crate) async fn show(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    let registry = lock(&state.registry);
    let webhook = registry.webhooks.get(&id).filter(|webhook| caller.sees(webhook.company_id));
    let webhook = webhook.ok_or_else(|| Problem::not_found("webhook"))?;
    Ok(HttpResponse::Ok().json(rendered(webhook)))
}

pub(crate) async fn update(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<i64>,
    body: web::Json<Change>,
) -> Result<HttpResponse, Problem> {
    let change = body.into_inner();
    let hook_url = change.checked_url()?;
    let mut registry = lock(&state.registry);
    let webhook = registry.webhooks.get_mut(&id).filter(|webhook| caller.sees(webhook.company_id));
    let webhook = webhook.ok_or_else(|| Problem::not_found("webhook"))?;
    if let Some(url) = hook_url {
        webhook.hook_url = url;
    }
    if change.secret.is_some() {
        webhook.secret = change.secret();
    }
    Ok(HttpResponse::Ok().json(rendered(webhook)))
}

/// Replies with the deleted webhook, as Dialpad does.
pub(crate) async fn delete(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    let deleted = {
        let mut registry = lock(&state.registry);
        let theirs = registry.webhooks.get(&id).is_some_and(|webhook| caller.sees(webhook.company_id));
        if theirs { registry.delete_webhook(*id) } else { None }
    };
    let deleted = deleted.ok_or_else(|| Problem::not_found("webhook"))?;
    state.publish_subscription_count();
    Ok(HttpResponse::Ok().json(rendered(&deleted)))
}

pub(crate) fn rendered(webhook: &Webhook) -> Value {
    let mut reply = json!({"id": Int64(webhook.id), "hook_url": webhook.hook_url});
    if let Some(secret) = &webhook.secret {
        reply["signature"] = json!({"algo": "HS256", "type": "jwt", "secret": secret});
    }
    reply
}
