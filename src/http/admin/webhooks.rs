//! The webhooks that the server has registered at Dialpad, for administrators.

use std::future::Future;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use cti_actors::{event::number_or_text, event::schema::DialpadId, id::AppId};
use opentelemetry::trace::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    dialpad::webhooks::ReconcileError,
    http::{
        error::{
            ApiError,
            ErrorCode::{
                AppNotFound, DialpadRateLimited, DialpadRefused, DialpadUnavailable, NotConnected,
                TokensExpired, WebhookNotFound,
            },
        },
        extract::{
            app::{AppFilter, AppRef},
            auth::Administrator,
            idempotency::{ADMINISTRATORS, IdempotencyKey, Outcome, once},
            ids::{Ids, Listing, Reply},
            lists::Paging,
            query::parameters,
        },
        openapi::{
            admin_examples,
            errors::{ADMINISTRATOR, CHANGE, Codes, Errors, IDEMPOTENT, codes},
            tags,
        },
        state::AppState,
    },
    store::{
        dialpad::webhook_views::{WebhookRef, WebhookView},
        views::listing::Page,
    },
};

/// What requests that reach Dialpad can be refused with.
const DIALPAD: Codes = codes(&[DialpadRefused, DialpadUnavailable, DialpadRateLimited]);
/// What requests that need the app's connection can be refused with. A deletion does not need it: without a connection
/// the webhook is only deleted here.
const CONNECTED: Codes = DIALPAD | codes(&[NotConnected, TokensExpired]);

/// The app whose webhook is created.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WebhookOwner {
    /// The app that the webhook is for.
    #[param(inline)]
    app_id: AppRef,
}

parameters! {
    /// The parameters of the creation of a webhook.
    pub(crate) struct CreateWebhook {
        owner: WebhookOwner,
        ids: Ids,
    }
}

parameters! {
    /// The parameters of the list of webhooks.
    pub(crate) struct ListWebhooks {
        app: AppFilter,
        paging: Paging,
        ids: Ids,
    }
}

/// A webhook in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct WebhookPath {
    /// The webhook, by the server's id or by Dialpad's.
    webhook_id: String,
}

/// A webhook at Dialpad. Its secret is never shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct Webhook {
    webhook_id: Uuid,
    app_id: AppId,
    /// The address that Dialpad delivers to.
    hook_url: String,
    /// Dialpad's id of the webhook, once it is registered.
    #[schema(value_type = Option<DialpadId>)]
    dialpad_webhook_id: Option<Value>,
    /// The subscriptions that deliver to the webhook.
    subscriptions: Vec<Subscription>,
    /// `pending` (not checked yet), `active` or `degraded`.
    state: &'static str,
    /// When the delivery of calls was last confirmed.
    verified_at: Option<DateTime<Utc>>,
    /// When it was last checked.
    checked_at: Option<DateTime<Utc>>,
    /// The problems that the last check found, a sentence each.
    problems: Vec<String>,
    created_at: DateTime<Utc>,
}

/// A subscription at Dialpad.
#[derive(Serialize, ToSchema)]
#[schema(as = Subscription)]
pub(crate) struct Subscription {
    /// `call` or `sms`.
    r#type: &'static str,
    /// Dialpad's id of the subscription.
    #[schema(value_type = DialpadId)]
    dialpad_subscription_id: Value,
}

impl From<WebhookView> for Webhook {
    fn from(webhook: WebhookView) -> Self {
        let subscription = |kind, id: &Option<String>| {
            let dialpad_subscription_id = id.as_deref().map(number_or_text)?;
            Some(Subscription { r#type: kind, dialpad_subscription_id })
        };
        let calls = subscription("call", &webhook.call_subscription);
        let messages = subscription("sms", &webhook.sms_subscription);
        Self {
            webhook_id: webhook.id,
            app_id: webhook.app,
            state: webhook.state().as_str(),
            hook_url: webhook.hook_url,
            dialpad_webhook_id: webhook.dialpad_webhook_id.as_deref().map(number_or_text),
            subscriptions: calls.into_iter().chain(messages).collect(),
            verified_at: webhook.verified_at,
            checked_at: webhook.checked_at,
            problems: webhook.problems,
            created_at: webhook.created_at,
        }
    }
}

/// Makes sure that an app's webhook and its subscriptions exist.
///
/// What was created before an error stays, and the server continues in the background.
#[utoipa::path(
    post, path = "/internal/webhooks/create", operation_id = "create_webhook", tag = tags::REGISTERED_WEBHOOKS,
    params(CreateWebhook, IdempotencyKey),
    responses(
        (status = 200, description = "Everything existed already.", body = Webhook,
         example = json!(admin_examples::webhook())),
        (status = 201, description = "Something was created.", body = Webhook,
         example = json!(admin_examples::webhook())),
        Errors<{ ADMINISTRATOR | CHANGE | IDEMPOTENT | CONNECTED | codes(&[AppNotFound, WebhookNotFound]) }>,
    ),
)]
pub(crate) async fn create(
    administrator: Administrator<CreateWebhook>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let CreateWebhook { owner, ids } = administrator.query;
    let app = owner.app_id.find(&state).await?;
    let (content, reconciler) = (json!([app, ids.as_text()]), state.webhook_reconciler.clone());
    // What exists is not created twice, so an attempt whose result is unknown is repeated.
    once(&request, &state, ADMINISTRATORS.to_owned(), &content, move |_| async move {
        match complete(async move { reconciler.ensure(app).await }).await {
            Ok((webhook, created)) => {
                let status = if created { StatusCode::CREATED } else { StatusCode::OK };
                Outcome::Done(status, ids.to_json(&Webhook::from(webhook)))
            }
            Err(error) => Outcome::NothingDone(error),
        }
    })
    .await
}

/// Lists the webhooks at Dialpad.
///
/// The newest first.
#[utoipa::path(
    get, path = "/internal/webhooks", operation_id = "list_webhooks", tag = tags::REGISTERED_WEBHOOKS,
    params(ListWebhooks),
    responses(
        (status = 200, description = "A page of webhooks.", body = Vec<Webhook>,
         headers(("Link" = String, description = "The next page. Absent on the last page.")),
         example = json!([admin_examples::webhook()])),
        Errors<{ ADMINISTRATOR | codes(&[AppNotFound]) }>,
    ),
)]
pub(crate) async fn list(
    administrator: Administrator<ListWebhooks>,
    state: Data<AppState>,
) -> Result<Listing<Webhook>, ApiError> {
    let ListWebhooks { app, paging, ids } = administrator.query;
    let app = app.find(&state).await?;
    let page = state.store.webhooks().list(app, paging.cursor(), paging.limit()).await?;
    let items = page.items.into_iter().map(Webhook::from).collect();
    Ok(Listing::new(Page { items, next: page.next }, ids))
}

/// Returns a webhook at Dialpad.
#[utoipa::path(
    get, path = "/internal/webhooks/{webhook_id}", operation_id = "get_webhook",
    tag = tags::REGISTERED_WEBHOOKS, params(WebhookPath, Ids),
    responses(
        (status = 200, description = "The webhook.", body = Webhook, example = json!(admin_examples::webhook())),
        Errors<{ ADMINISTRATOR | codes(&[WebhookNotFound]) }>,
    ),
)]
pub(crate) async fn one(
    administrator: Administrator<Ids>,
    state: Data<AppState>,
    path: Path<WebhookPath>,
) -> Result<Reply<Webhook>, ApiError> {
    Ok(Reply(find(&state, &path).await?.into(), administrator.query))
}

/// Deletes a webhook.
///
/// If the app is connected, at Dialpad too. It stays deleted until it is created again or the app is connected again.
#[utoipa::path(
    delete, path = "/internal/webhooks/{webhook_id}", operation_id = "delete_webhook",
    tag = tags::REGISTERED_WEBHOOKS, params(WebhookPath),
    responses(
        (status = 204, description = "The webhook is deleted."),
        Errors<{ ADMINISTRATOR | CHANGE | DIALPAD | codes(&[WebhookNotFound]) }>,
    ),
)]
pub(crate) async fn delete(
    _: Administrator,
    state: Data<AppState>,
    path: Path<WebhookPath>,
) -> Result<HttpResponse, ApiError> {
    let (app, reconciler) = (find(&state, &path).await?.app, state.webhook_reconciler.clone());
    complete(async move { reconciler.remove(app).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Gives a webhook a new secret.
///
/// Dialpad signs with it from then on. The old one is accepted for 24 hours more. Neither is ever shown.
#[utoipa::path(
    post, path = "/internal/webhooks/{webhook_id}/rotate-secret", operation_id = "rotate_webhook_secret",
    tag = tags::REGISTERED_WEBHOOKS, params(WebhookPath, Ids),
    responses(
        (status = 200, description = "The webhook.", body = Webhook, example = json!(admin_examples::webhook())),
        Errors<{ ADMINISTRATOR | CHANGE | CONNECTED | codes(&[WebhookNotFound]) }>,
    ),
)]
pub(crate) async fn rotate_secret(
    administrator: Administrator<Ids>,
    state: Data<AppState>,
    path: Path<WebhookPath>,
) -> Result<Reply<Webhook>, ApiError> {
    let (app, reconciler) = (find(&state, &path).await?.app, state.webhook_reconciler.clone());
    let webhook = complete(async move { reconciler.rotate(app).await }).await?;
    Ok(Reply(webhook.into(), administrator.query))
}

/// Returns a webhook by the server's id or by Dialpad's.
async fn find(state: &AppState, path: &WebhookPath) -> Result<WebhookView, ApiError> {
    let id = &path.webhook_id;
    let name = id.parse().map_or_else(|_| WebhookRef::Dialpads(id.clone()), WebhookRef::Ours);
    state.store.webhooks().find(&name).await?.ok_or_else(not_found)
}

/// Completes work even if the client disconnects: it has several steps, here and at Dialpad.
///
/// # Errors
/// Those of the work.
pub(crate) async fn complete<T: Send + 'static>(
    work: impl Future<Output = Result<T, ReconcileError>> + Send + 'static,
) -> Result<T, ApiError> {
    Ok(tokio::spawn(work.with_current_context()).await.map_err(|_| ApiError::internal())??)
}

impl From<ReconcileError> for ApiError {
    fn from(error: ReconcileError) -> Self {
        match error {
            ReconcileError::Store(error) => error.into(),
            ReconcileError::Dialpad(error) => error.into(),
            ReconcileError::NotFound => not_found(),
            ReconcileError::Busy => Self {
                retry_after: Some(5),
                ..Self::new(DialpadUnavailable, "The webhook is being changed by another request; retry")
            },
        }
    }
}

fn not_found() -> ApiError {
    ApiError::new(WebhookNotFound, "There is no such webhook")
}
