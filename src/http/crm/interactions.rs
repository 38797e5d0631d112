//! Interactions: human calls with all their legs.

use actix_web::web::{Data, Path};
use cti_actors::{event::NumberFilter, model::call::Direction};
use serde::Deserialize;
use utoipa::IntoParams;

use super::calls::{StatusFilter, name_of};
use crate::{
    http::{
        error::{ApiError, ErrorCode::InteractionNotFound},
        extract::{
            auth::Crm,
            ids::{Ids, Listing, Reply},
            lists::Paging,
            query::parameters,
            values::{AnyWholeNumber, EitherId, Timestamp},
        },
        openapi::{
            errors::{CRM, Errors, codes},
            examples, tags,
        },
        state::AppState,
    },
    store::views::{
        interactions::{InteractionFilter, InteractionView},
        listing::Filter,
    },
};

/// An interaction in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct InteractionPath {
    /// The `interaction_id`, or the server's or Dialpad's id of any of the legs.
    #[param(inline)]
    id: EitherId,
}

/// Which interactions are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct InteractionListFilter {
    /// The direction.
    #[param(inline)]
    direction: Option<Direction>,
    /// The number outside the company, in any spelling.
    number: Option<String>,
    /// Only interactions with a leg of this Dialpad user.
    #[param(inline)]
    dialpad_user_id: Option<AnyWholeNumber>,
    /// Only interactions with a leg of this user in the CRM, by the mappings as they are now.
    crm_user_id: Option<String>,
    /// Only what changed at or after this time, the oldest change first. RFC 3339, unix seconds or unix milliseconds.
    #[param(inline)]
    since: Option<Timestamp>,
    /// Only what was first seen before this time; with `since`, last changed before this time. RFC 3339, unix seconds
    /// or unix milliseconds.
    #[param(inline)]
    until: Option<Timestamp>,
}

parameters! {
    /// The parameters of the list of interactions.
    pub(crate) struct ListInteractions {
        status: StatusFilter,
        filter: InteractionListFilter,
        paging: Paging,
        ids: Ids,
    }
}

/// Lists interactions.
///
/// One item for each human call, whatever the number of its legs. Without `since`, the newest first. With `since`, every
/// interaction that changed since then, the oldest change first. To follow changes by polling, repeat the request with
/// `since` = the last `updated_at` that you have.
#[utoipa::path(
    get, path = "/api/interactions", operation_id = "list_interactions", tag = tags::CALLS,
    params(ListInteractions),
    responses(
        (status = 200, description = "A page of interactions.", body = Vec<InteractionView>,
         headers(("Link" = String, description = "The next page. Absent on the last page.")),
         example = json!([examples::interaction()])),
        Errors<{ CRM }>,
    ),
)]
pub(crate) async fn list(
    crm: Crm<ListInteractions>,
    state: Data<AppState>,
) -> Result<Listing<InteractionView>, ApiError> {
    let ListInteractions { status, filter, paging, ids } = crm.query;
    let number = match filter.number {
        Some(number) => Some(NumberFilter::new(&number, state.store.apps().region(crm.app_id).await?)),
        None => None,
    };
    let filter = InteractionFilter {
        status: status.status,
        outcome: status.outcome,
        number,
        dialpad_user_id: filter.dialpad_user_id.map(|user| user.0),
        crm_user_id: filter.crm_user_id,
        common: Filter {
            direction: filter.direction,
            since: filter.since.map(|time| time.0),
            until: filter.until.map(|time| time.0),
            ..Filter::default()
        },
    };
    let page = state.store.interactions().list(crm.app_id, &filter, paging.cursor(), paging.limit()).await?;
    Ok(Listing::new(page, ids))
}

/// Returns an interaction with all its legs.
#[utoipa::path(
    get, path = "/api/interactions/{id}", operation_id = "get_interaction", tag = tags::CALLS,
    params(InteractionPath, Ids),
    responses(
        (status = 200, description = "The interaction.", body = InteractionView,
         example = json!(examples::interaction())),
        Errors<{ CRM | codes(&[InteractionNotFound]) }>,
    ),
)]
pub(crate) async fn one(
    crm: Crm<Ids>,
    state: Data<AppState>,
    path: Path<InteractionPath>,
) -> Result<Reply<InteractionView>, ApiError> {
    let not_found = || ApiError::new(InteractionNotFound, "There is no such interaction");
    let leg = name_of(&path.id).ok_or_else(not_found)?;
    let interaction = state.store.interactions().find(crm.app_id, leg).await?.ok_or_else(not_found)?;
    Ok(Reply(interaction, crm.query))
}
