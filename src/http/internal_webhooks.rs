//! The webhooks at Dialpad, for administrators.

use std::future::Future;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Path},
};
use cti_actors::{feed::number_or_text, id::AppId};
use serde_json::{Value, json};

use super::{
    Shared,
    apps::existing,
    auth::Administrator,
    idempotency::{Outcome, once},
    internal_apps::SCOPE,
    query::{Query, next_link, write_ids_as_text},
};
use crate::{
    dialpad::keeper::KeepError,
    error::{ApiError, ErrorCode},
    store::webhook_views::{WebhookName, WebhookView},
};

const DEFAULT_LIMIT: usize = 50;
const LARGEST_LIMIT: usize = 500;

/// Makes sure that an app's webhook and subscriptions stand: 201 if something had to be made.
pub(super) async fn create(
    _: Administrator,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["app_id", "ids"])?;
    let app = app_id(&shared, &query).await?.ok_or_else(|| ApiError::invalid("app_id: is required"))?;
    let (ids_as_text, keeper) = (query.ids_as_text()?, shared.keeper.clone());
    // What stands already is not made twice, so an attempt that nobody heard the end of is simply repeated.
    once(&request, &shared, SCOPE.to_owned(), &json!([app, ids_as_text]), move |_| async move {
        match to_its_end(async move { keeper.ensure(app).await }).await {
            Ok((webhook, made)) => {
                let status = if made { StatusCode::CREATED } else { StatusCode::OK };
                let mut body = shape(&webhook);
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

pub(super) async fn list(
    _: Administrator,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["app_id", "limit", "cursor", "ids"])?;
    let app = app_id(&shared, &query).await?;
    let limit = query.limit(DEFAULT_LIMIT, LARGEST_LIMIT)?;
    let page = shared.store.list_webhooks(app, query.cursor()?, limit).await?;
    let mut answer = HttpResponse::Ok();
    if let Some(next) = page.next {
        answer.insert_header((header::LINK, next_link(&request, &[("cursor", &next.encode())])));
    }
    Ok(answer.json(shown(page.items.iter().map(shape).collect(), &query)?))
}

pub(super) async fn one(
    _: Administrator,
    request: HttpRequest,
    shared: Data<Shared>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    let webhook = find(&shared, &name).await?;
    Ok(HttpResponse::Ok().json(shown(shape(&webhook), &query)?))
}

/// Removes a webhook, here and at Dialpad.
pub(super) async fn delete(
    _: Administrator,
    shared: Data<Shared>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let (app, keeper) = (find(&shared, &name).await?.app, shared.keeper.clone());
    to_its_end(async move { keeper.remove(app).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Gives a webhook a new secret.
pub(super) async fn rotate_secret(
    _: Administrator,
    request: HttpRequest,
    shared: Data<Shared>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    let (app, keeper) = (find(&shared, &name).await?.app, shared.keeper.clone());
    let webhook = to_its_end(async move { keeper.rotate(app).await }).await?;
    Ok(HttpResponse::Ok().json(shown(shape(&webhook), &query)?))
}

/// How an app's webhook is, for its own eyes.
pub(super) async fn in_short(shared: &Shared, app: AppId) -> Result<Value, ApiError> {
    let webhook = shared.store.webhook_of(app).await?;
    Ok(match webhook {
        None => json!({"state": "none", "webhook_id": null, "stood_at": null, "problems": []}),
        Some(webhook) => json!({
            "state": webhook.state().as_str(),
            "webhook_id": webhook.id,
            "stood_at": webhook.stood_at,
            "problems": webhook.problems,
        }),
    })
}

/// Goes on with what was begun even if whoever asked for it hangs up: it has several steps, here and at Dialpad.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, KeepError>> + Send + 'static,
) -> Result<T, ApiError> {
    let broken = |_| ApiError::new(ErrorCode::Internal, "Something went wrong on our side");
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

/// The app that the query names.
async fn app_id(shared: &Shared, query: &Query) -> Result<Option<AppId>, ApiError> {
    let Some(text) = query.text("app_id") else { return Ok(None) };
    if text.parse::<AppId>().is_err() {
        return Err(ApiError::invalid("app_id: must be a UUID"));
    }
    existing(shared, text).await.map(Some)
}

/// A webhook by our id or by Dialpad's.
async fn find(shared: &Shared, name: &str) -> Result<WebhookView, ApiError> {
    let name = name.parse().map_or_else(|_| WebhookName::Dialpads(name.to_owned()), WebhookName::Ours);
    shared.store.webhook(&name).await?.ok_or_else(not_found)
}

fn shown(mut body: Value, query: &Query) -> Result<Value, ApiError> {
    if query.ids_as_text()? {
        write_ids_as_text(&mut body);
    }
    Ok(body)
}

/// What is shown of a webhook: never its secret.
fn shape(webhook: &WebhookView) -> Value {
    let id = |id: &String| number_or_text(id);
    let subscription = |kind: &str, subscription: &Option<String>| {
        subscription.as_ref().map(|it| json!({"type": kind, "dialpad_subscription_id": id(it)}))
    };
    let subscriptions =
        [subscription("call", &webhook.call_subscription), subscription("sms", &webhook.sms_subscription)];
    json!({
        "webhook_id": webhook.id,
        "app_id": webhook.app,
        "hook_url": webhook.hook_url,
        "dialpad_webhook_id": webhook.dialpad_webhook_id.as_ref().map(id),
        "subscriptions": subscriptions.into_iter().flatten().collect::<Vec<_>>(),
        "state": webhook.state().as_str(),
        "stood_at": webhook.stood_at,
        "checked_at": webhook.checked_at,
        "problems": webhook.problems,
        "created_at": webhook.created_at,
    })
}
