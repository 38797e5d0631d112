//! Named consumers of an app: which there are, how far each has come, and acknowledging by a request.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use cti_actors::{
    consumer::Acked,
    feed::Position,
    id::{AppId, Epoch, Seq, SessionId},
    ports::{Bounds, Cursors, EventLog},
};
use serde::{Deserialize, Deserializer};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};
use uuid::Uuid;

use super::params::ConsumerName;
use crate::{
    http::{
        error::{
            ApiError,
            ErrorCode::{ConsumerNotFound, CursorAhead, EpochChanged},
        },
        extract::{
            auth::Crm,
            body::Json,
            ids::{Ids, Listing},
            lists::PageLimit,
            values::{NonNegative, parse_text},
        },
        feed,
        openapi::{
            errors::{BODY, CHANGE, CRM, Errors, codes},
            examples, parameters, tags,
        },
        state::AppState,
    },
    store::{feed::consumers::ConsumerView, views::listing::without_nul},
};

/// A consumer in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ConsumerPath {
    /// The name of the consumer.
    #[param(inline)]
    name: ConsumerName,
}

impl ConsumerPath {
    fn name(&self) -> String {
        without_nul(&self.name.0)
    }
}

/// Where a page of the list begins, and how long it is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConsumerPaging {
    /// The maximum number of items on the page.
    #[serde(default)]
    #[param(inline)]
    limit: PageLimit,
    /// Where the page begins, as a `Link` header gave it. The format can change.
    #[param(inline)]
    cursor: Option<ConsumerCursor>,
}

/// The name of the last consumer on a page.
#[derive(Debug)]
struct ConsumerCursor(String);

impl ConsumerCursor {
    fn encode(name: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(name)
    }

    fn decode(text: &str) -> Option<Self> {
        let name = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        (!name.contains('\0')).then_some(Self(name))
    }
}

impl<'de> Deserialize<'de> for ConsumerCursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_text(deserializer, "one that a Link header gave", Self::decode)
    }
}

impl PartialSchema for ConsumerCursor {
    fn schema() -> RefOr<Schema> {
        parameters::text().into()
    }
}

impl ToSchema for ConsumerCursor {}

/// What a consumer has processed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acknowledgement {
    /// The consumer has processed everything up to this event.
    #[schema(value_type = i64, minimum = 0)]
    seq: NonNegative,
    /// The session that acknowledges, as its `connected` message named it. Required if several sessions share the work.
    #[schema(value_type = Option<Uuid>)]
    session_id: Option<SessionRef>,
    /// The epoch of `seq`. If the feed has another one, the acknowledgement is refused with `EPOCH_CHANGED`.
    epoch: Option<Uuid>,
}

#[derive(Debug)]
struct SessionRef(SessionId);

impl<'de> Deserialize<'de> for SessionRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_text(deserializer, "that of a session", |text| text.parse().ok()).map(Self)
    }
}

/// Lists the consumers of the app.
///
/// In the order of their names.
#[utoipa::path(
    get, path = "/api/consumers", operation_id = "list_consumers", tag = tags::CONSUMERS,
    params(ConsumerPaging),
    responses(
        (status = 200, description = "A page of consumers.", body = Vec<ConsumerView>,
         headers(("Link" = String, description = "The next page. Absent on the last page.")),
         example = json!([examples::consumer(39)])),
        Errors<{ CRM }>,
    ),
)]
pub(crate) async fn list(
    crm: Crm<ConsumerPaging>,
    state: Data<AppState>,
) -> Result<Listing<ConsumerView>, ApiError> {
    let limit = crm.query.limit.count();
    let after = crm.query.cursor.map(|cursor| cursor.0).unwrap_or_default();
    let head = state.store.bounds(crm.app_id).await?.head;
    // One more than requested shows whether there is a next page.
    let mut items = state.store.consumers().list(crm.app_id, &after, limit + 1, head).await?;
    let has_more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| has_more);
    let next = last.map(|last| ("cursor", ConsumerCursor::encode(&last.name)));
    Ok(Listing { items, next, ids: Ids::default() })
}

/// Returns a consumer.
#[utoipa::path(
    get, path = "/api/consumers/{name}", operation_id = "get_consumer", tag = tags::CONSUMERS,
    params(ConsumerPath),
    responses(
        (status = 200, description = "The consumer.", body = ConsumerView, example = json!(examples::consumer(39))),
        Errors<{ CRM | codes(&[ConsumerNotFound]) }>,
    ),
)]
pub(crate) async fn one(
    crm: Crm,
    state: Data<AppState>,
    path: Path<ConsumerPath>,
) -> Result<HttpResponse, ApiError> {
    let head = state.store.bounds(crm.app_id).await?.head;
    show(&state, crm.app_id, &path.name(), head).await
}

/// Deletes a consumer.
///
/// Its connections are closed with 4409. The next connection with its name creates a new one.
#[utoipa::path(
    delete, path = "/api/consumers/{name}", operation_id = "delete_consumer", tag = tags::CONSUMERS,
    params(ConsumerPath),
    responses(
        (status = 204, description = "The consumer is deleted."),
        Errors<{ CRM | CHANGE | codes(&[ConsumerNotFound]) }>,
    ),
)]
pub(crate) async fn delete(
    crm: Crm,
    state: Data<AppState>,
    path: Path<ConsumerPath>,
) -> Result<HttpResponse, ApiError> {
    let name = path.name();
    if !state.engine.tenant(crm.app_id).consumers().remove(&name).await? {
        return Err(not_found());
    }
    tracing::info!(app.id = %crm.app_id, consumer = name, "a consumer was deleted");
    Ok(HttpResponse::NoContent().finish())
}

/// Acknowledges events.
///
/// For readers without a WebSocket. Everything up to `seq` is processed and is not delivered again. The stored cursor
/// never goes back. It is durable once the request is answered.
#[utoipa::path(
    post, path = "/api/consumers/{name}/ack", operation_id = "acknowledge", tag = tags::CONSUMERS,
    params(ConsumerPath), request_body(content = Acknowledgement, example = json!({"seq": 42})),
    responses(
        (status = 200, description = "The consumer as it is now.", body = ConsumerView,
         example = json!(examples::consumer(42))),
        Errors<{
            CRM | CHANGE | BODY | codes(&[ConsumerNotFound, CursorAhead, EpochChanged])
        }>,
    ),
)]
pub(crate) async fn ack(
    crm: Crm<(), Json<Acknowledgement>>,
    state: Data<AppState>,
    path: Path<ConsumerPath>,
) -> Result<HttpResponse, ApiError> {
    let Json(Acknowledgement { seq, session_id, epoch }) = crm.body;
    let (seq, session) = (Seq(seq.0), session_id.map(|session| session.0));
    let name = path.name();
    let bounds = state.store.bounds(crm.app_id).await?;
    if epoch.is_some_and(|epoch| Epoch(epoch) != bounds.epoch) {
        return Err(feed::epoch_changed(bounds));
    }
    if seq > bounds.head {
        return Err(feed::cursor_ahead(bounds));
    }
    match state.engine.tenant(crm.app_id).consumers().ack(&name, session, seq).await? {
        Acked::Counted => show(&state, crm.app_id, &name, bounds.head).await,
        Acked::Unknown => Err(not_found()),
        Acked::Ambiguous => {
            Err(ApiError::invalid("session_id: is required, because several sessions share this consumer"))
        }
    }
}

async fn show(state: &AppState, app: AppId, name: &str, head: Seq) -> Result<HttpResponse, ApiError> {
    let consumer = state.store.consumers().view(app, name, head).await?;
    Ok(HttpResponse::Ok().json(consumer.ok_or_else(not_found)?))
}

fn not_found() -> ApiError {
    ApiError::new(ConsumerNotFound, "There is no such consumer")
}

/// Returns where a consumer that polls continues. A new one begins after `after`. One whose cursor is of another epoch is
/// refused until it acknowledges where it goes on.
pub(crate) async fn cursor_of(
    state: &AppState,
    app: AppId,
    name: &str,
    after: Option<Position>,
    bounds: Bounds,
) -> Result<Seq, ApiError> {
    let Bounds { epoch, oldest, head } = bounds;
    let known = state.store.consumer(app, name).await?;
    if known.is_none() && after.is_some_and(|after| after.is_of_another(epoch)) {
        return Err(feed::epoch_changed(bounds));
    }
    // The beginning is always a valid start.
    let start = after.map(|after| after.seq).filter(|after| *after > Seq::START).unwrap_or(Seq(oldest.0 - 1));
    let cursor = match known {
        Some(known) => known,
        None => {
            let created = state.store.consumers().find_or_create(app, name, start, epoch).await?;
            created.ok_or_else(feed::too_many_consumers)?
        }
    };
    if known.is_some() && cursor.is_outdated(epoch, head) {
        return Err(feed::epoch_changed(bounds));
    }
    let cursor = cursor.acked;
    // But a consumer whose stored cursor is older has missed events.
    feed::check_kept(state, app, cursor, bounds).await?;
    Ok(cursor)
}
