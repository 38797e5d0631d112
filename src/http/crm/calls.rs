//! Calls: lists, one call, and its events.

use actix_web::{
    HttpRequest, HttpResponse, Responder,
    web::{Data, Path},
};
use cti_actors::{
    event::EventType,
    feed::Position,
    id::{AppId, DialpadCallId, Seq},
    model::call::{Outcome, Status},
    ports::EventLog,
};
use serde::{Deserialize, Deserializer};
use strum::VariantNames;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::{
    http::{
        error::{
            ApiError,
            ErrorCode::{CallNotFound, EpochChanged},
        },
        extract::{
            auth::Crm,
            ids::{Ids, Listing, Reply},
            lists::{ListFilter, Pages, Paging},
            query::parameters,
            values::{EitherId, parse_text},
        },
        feed::{
            self,
            params::{EventLimit, FeedPosition},
        },
        openapi::{
            errors::{CRM, Errors, codes},
            examples,
            schemas::Event,
            tags,
        },
        state::AppState,
    },
    store::views::calls::{CallFilter, CallRef, CallView},
};

/// A call in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct CallPath {
    /// The call, by the server's `id` or by Dialpad's.
    #[param(inline)]
    pub(crate) id: EitherId,
}

/// Which calls are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatusFilter {
    /// Only those with this status.
    #[serde(default, deserialize_with = "status")]
    #[param(inline)]
    pub(super) status: Option<Status>,
    /// Only those that ended like this.
    #[serde(default, deserialize_with = "outcome")]
    #[param(inline)]
    pub(super) outcome: Option<Outcome>,
}

/// Of which interaction calls are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct InteractionIdFilter {
    /// Only the legs of this interaction. An id that it had before its legs were joined is accepted too.
    interaction_id: Option<Uuid>,
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Status>, D::Error> {
    let expected = format_args!("one of {}", Status::VARIANTS.join(", "));
    parse_text(deserializer, expected, |text| text.parse().ok()).map(Some)
}

fn outcome<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Outcome>, D::Error> {
    let expected = format_args!("one of {}", Outcome::VARIANTS.join(", "));
    parse_text(deserializer, expected, |text| text.parse().ok()).map(Some)
}

parameters! {
    /// The parameters of the list of calls.
    pub(crate) struct ListCalls {
        status: StatusFilter,
        interaction: InteractionIdFilter,
        filter: ListFilter,
        paging: Paging,
        ids: Ids,
    }
}

/// Where a page of a call's events begins, and how long it is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventPaging {
    /// Only events after this `seq`. `EPOCH:SEQ` is refused with `EPOCH_CHANGED` if the feed has another epoch.
    #[param(inline)]
    after: Option<FeedPosition>,
    /// The maximum number of events on the page.
    #[serde(default)]
    #[param(inline)]
    limit: EventLimit,
}

parameters! {
    /// The parameters of the list of a call's events.
    pub(crate) struct ListCallEvents {
        paging: EventPaging,
        ids: Ids,
    }
}

/// Lists calls.
///
/// Without `since`, the newest call first. With `since`, every call that changed since then, the oldest change first.
/// To follow changes by polling, repeat the request with `since` = the last `updated_at` that you have.
#[utoipa::path(
    get, path = "/api/calls", operation_id = "list_calls", tag = tags::CALLS, params(ListCalls),
    responses(
        (status = 200, description = "A page of calls.", body = Vec<CallView>,
         headers(("Link" = String, description = "The next page. Absent on the last page.")),
         example = json!([examples::call()])),
        Errors<{ CRM }>,
    ),
)]
pub(crate) async fn list(crm: Crm<ListCalls>, state: Data<AppState>) -> Result<Listing<CallView>, ApiError> {
    let ListCalls { status, interaction, filter, paging, ids } = crm.query;
    let interaction_id = match interaction.interaction_id {
        Some(id) => Some(state.store.interactions().current_id(crm.app_id, id).await?),
        None => None,
    };
    let statuses = status.status.into_iter().collect();
    let common = filter.of_app(&state.store, crm.app_id).await?;
    let filter = CallFilter { statuses, interaction_id, outcome: status.outcome, common };
    let page = state.store.calls().list(crm.app_id, &filter, paging.cursor(), paging.limit()).await?;
    Ok(Listing::new(page, ids))
}

/// Lists active calls.
///
/// All calls that are `ringing`, `active` or `held`, the newest first.
#[utoipa::path(
    get, path = "/api/calls/active", operation_id = "active_calls", tag = tags::CALLS, params(Pages),
    responses(
        (status = 200, description = "A page of calls.", body = Vec<CallView>,
         headers(
             ("Link" = String, description = "The next page. Absent on the last page."),
             ("x-cursor" = String,
              description = "The `seq` that the list is as of. Continue with `/api/events?after=` this value."),
             ("x-epoch" = Uuid, description = "The epoch of that `seq`."),
         ),
         example = json!([examples::active_call()])),
        Errors<{ CRM }>,
    ),
)]
pub(crate) async fn active(crm: Crm<Pages>, state: Data<AppState>) -> Result<impl Responder, ApiError> {
    let Pages { paging, ids } = crm.query;
    let (page, epoch, as_of) =
        state.store.calls().list_active(crm.app_id, paging.cursor(), paging.limit()).await?;
    let answer = Listing::new(page, ids).customize();
    Ok(answer.insert_header((feed::CURSOR_HEADER, as_of.0)).insert_header(feed::epoch_header(epoch)))
}

/// Returns a call.
///
/// If the call is over and lacks its recording or transcript, the server asks Dialpad for it first, for 2 seconds at
/// most.
#[utoipa::path(
    get, path = "/api/calls/{id}", operation_id = "get_call", tag = tags::CALLS, params(CallPath, Ids),
    responses(
        (status = 200, description = "The call.", body = CallView, example = json!(examples::call())),
        Errors<{ CRM | codes(&[CallNotFound]) }>,
    ),
)]
pub(crate) async fn one(
    crm: Crm<Ids>,
    state: Data<AppState>,
    path: Path<CallPath>,
) -> Result<Reply<CallView>, ApiError> {
    let call = find(&state, crm.app_id, &path).await?;
    let call = state.enrichment.enrich(crm.app_id, call).await;
    Ok(Reply(call, crm.query))
}

/// Lists the events of a call.
///
/// The events that were emitted for the call and are still kept, the oldest first.
#[utoipa::path(
    get, path = "/api/calls/{id}/events", operation_id = "call_events", tag = tags::CALLS,
    params(CallPath, ListCallEvents),
    responses(
        (status = 200, description = "A page of events.", body = Vec<Event>,
         headers(("Link" = String, description = "The next page. Absent on the last page.")),
         example = json!([examples::event(EventType::CallRing), examples::event(EventType::CallStarted)])),
        Errors<{ CRM | codes(&[CallNotFound, EpochChanged]) }>,
    ),
)]
pub(crate) async fn timeline(
    crm: Crm<ListCallEvents>,
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<CallPath>,
) -> Result<HttpResponse, ApiError> {
    let ListCallEvents { paging, ids } = crm.query;
    let after = paging.after.map_or(Position::from(Seq::START), |after| after.0);
    let limit = paging.limit.count();
    if after.epoch.is_some() {
        let bounds = state.store.bounds(crm.app_id).await?;
        if after.is_of_another(bounds.epoch) {
            return Err(feed::epoch_changed(bounds));
        }
    }
    let call = find(&state, crm.app_id, &path).await?;
    let id = DialpadCallId(call.dialpad_call_id);
    let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut events = state.store.feed().of_call(crm.app_id, id, after.seq, one_more).await?;
    let has_more = events.len() > limit;
    events.truncate(limit);
    let next = events.last().filter(|_| has_more).map(|last| Position { seq: last.seq, ..after });
    Ok(feed::event_page(&request, &events, ids.as_text(), next))
}

/// Returns a call by the server's id or by Dialpad's. Another app's call does not exist.
pub(crate) async fn find(state: &AppState, app: AppId, path: &CallPath) -> Result<CallView, ApiError> {
    let not_found = || ApiError::new(CallNotFound, "There is no such call");
    let name = name_of(&path.id).ok_or_else(not_found)?;
    state.store.calls().find(app, name).await?.ok_or_else(not_found)
}

/// Returns which call an id names, if it can be the id of a call.
pub(crate) fn name_of(id: &EitherId) -> Option<CallRef> {
    let EitherId(text) = id;
    let dialpads = || text.parse().ok().map(|id| CallRef::Dialpads(DialpadCallId(id)));
    text.parse().ok().map(CallRef::Ours).or_else(dialpads)
}
