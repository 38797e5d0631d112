//! The webhooks at Dialpad, for administrators.

use std::future::Future;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use cti_actors::{event::number_or_text, event::schema::DialpadId, id::AppId};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::apps::SCOPE;
use crate::http::{
    crm::status::named,
    extract::{
        auth::Administrator,
        idempotency::{Outcome, once},
        lists,
        query::{Query, write_ids_as_text},
    },
    state::AppState,
};
use crate::{
    dialpad::webhooks::KeepError,
    http::error::{ApiError, ErrorCode},
    store::{
        dialpad::webhook_views::{WebhookName, WebhookView},
        views::listing::Page,
    },
};

/// Makes sure that an app's webhook and subscriptions stand: 201 if something had to be made.
pub(crate) async fn create(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["app_id", "ids"])?;
    let app = named(&shared, query.text("app_id"))
        .await?
        .ok_or_else(|| ApiError::invalid("app_id: is required"))?;
    let (ids_as_text, webhook_reconciler) = (query.ids_as_text()?, shared.webhook_reconciler.clone());
    // What stands already is not made twice, so an attempt that nobody heard the end of is simply repeated.
    once(&request, &shared, SCOPE.to_owned(), &json!([app, ids_as_text]), move |_| async move {
        match to_its_end(async move { webhook_reconciler.ensure(app).await }).await {
            Ok((webhook, made)) => {
                let status = if made { StatusCode::CREATED } else { StatusCode::OK };
                let mut body = json!(shape(webhook));
                if ids_as_text {
                    write_ids_as_text(&mut body);
                }
                Outcome::Done(status, body)
            }
            Err(error) => Outcome::NothingDone(error),
        }
    })
    .await
}

pub(crate) async fn list(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["app_id", "limit", "cursor", "ids"])?;
    let app = named(&shared, query.text("app_id")).await?;
    let limit = lists::limit(&query)?;
    let page = shared.store.webhooks().list(app, query.cursor()?, limit).await?;
    let page = Page { items: page.items.into_iter().map(shape).collect::<Vec<_>>(), next: page.next };
    lists::page(&request, &query, &page)
}

pub(crate) async fn one(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    lists::item(&query, &shape(find(&shared, &name).await?))
}

/// Removes a webhook, here and at Dialpad.
pub(crate) async fn delete(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    let (app, webhook_reconciler) = (find(&shared, &name).await?.app, shared.webhook_reconciler.clone());
    to_its_end(async move { webhook_reconciler.remove(app).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Gives a webhook a new secret.
pub(crate) async fn rotate_secret(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    let (app, webhook_reconciler) = (find(&shared, &name).await?.app, shared.webhook_reconciler.clone());
    let webhook = to_its_end(async move { webhook_reconciler.rotate(app).await }).await?;
    lists::item(&query, &shape(webhook))
}

/// How an app's webhook is, for its own eyes.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookInShort {
    /// `none`, `pending` (not checked yet), `active` or `degraded`.
    state: &'static str,
    webhook_id: Option<Uuid>,
    /// When calls were last known to come as they should.
    verified_at: Option<DateTime<Utc>>,
    /// What stands in the way, in sentences.
    problems: Vec<String>,
}

pub(crate) async fn in_short(shared: &AppState, app: AppId) -> Result<WebhookInShort, ApiError> {
    let webhook = shared.store.webhooks().of_app(app).await?;
    Ok(WebhookInShort {
        state: webhook.as_ref().map_or("none", |webhook| webhook.state().as_str()),
        webhook_id: webhook.as_ref().map(|webhook| webhook.id),
        verified_at: webhook.as_ref().and_then(|webhook| webhook.verified_at),
        problems: webhook.map(|webhook| webhook.problems).unwrap_or_default(),
    })
}

/// Goes on with what was begun even if whoever asked for it hangs up: it has several steps, here and at Dialpad.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, KeepError>> + Send + 'static,
) -> Result<T, ApiError> {
    let broken = |_| ApiError::internal();
    Ok(tokio::spawn(work).await.map_err(broken)??)
}

impl From<KeepError> for ApiError {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::Store(failure) => failure.into(),
            KeepError::Dialpad(error) => error.into(),
            KeepError::NotThere => not_found(),
            KeepError::Busy => Self {
                retry_after: Some(5),
                ..Self::new(ErrorCode::DialpadUnavailable, "The webhook is being looked after; try again")
            },
        }
    }
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::WebhookNotFound, "There is no such webhook")
}

/// A webhook by our id or by Dialpad's.
async fn find(shared: &AppState, name: &str) -> Result<WebhookView, ApiError> {
    let name = name.parse().map_or_else(|_| WebhookName::Dialpads(name.to_owned()), WebhookName::Ours);
    shared.store.webhooks().find(&name).await?.ok_or_else(not_found)
}

/// What is shown of a webhook at Dialpad: never its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct Shown {
    webhook_id: Uuid,
    app_id: AppId,
    /// Where Dialpad sends to.
    hook_url: String,
    /// Dialpad's id of it, once it has one.
    #[schema(value_type = Option<DialpadId>)]
    dialpad_webhook_id: Option<Value>,
    /// What it is subscribed to.
    subscriptions: Vec<ShownSubscription>,
    /// `pending` (not checked yet), `active` or `degraded`.
    state: &'static str,
    /// When calls were last known to come as they should.
    verified_at: Option<DateTime<Utc>>,
    /// When it was last looked at.
    checked_at: Option<DateTime<Utc>>,
    /// What stands in the way, in sentences.
    problems: Vec<String>,
    created_at: DateTime<Utc>,
}

/// A subscription at Dialpad.
#[derive(Serialize, ToSchema)]
#[schema(as = Subscription)]
pub(crate) struct ShownSubscription {
    /// `call` or `sms`.
    r#type: &'static str,
    /// Dialpad's id of it.
    #[schema(value_type = DialpadId)]
    dialpad_subscription_id: Value,
}

fn shape(webhook: WebhookView) -> Shown {
    let subscription = |kind, id: &Option<String>| {
        let dialpad_subscription_id = id.as_deref().map(number_or_text)?;
        Some(ShownSubscription { r#type: kind, dialpad_subscription_id })
    };
    let subscriptions =
        [subscription("call", &webhook.call_subscription), subscription("sms", &webhook.sms_subscription)];
    Shown {
        webhook_id: webhook.id,
        app_id: webhook.app,
        state: webhook.state().as_str(),
        hook_url: webhook.hook_url,
        dialpad_webhook_id: webhook.dialpad_webhook_id.as_deref().map(number_or_text),
        subscriptions: subscriptions.into_iter().flatten().collect(),
        verified_at: webhook.verified_at,
        checked_at: webhook.checked_at,
        problems: webhook.problems,
        created_at: webhook.created_at,
    }
}
