//! Interactions: human calls with all their legs.

use actix_web::web::{Data, Path};
use serde::Deserialize;
use utoipa::IntoParams;

use super::calls::name_of;
use crate::{
    http::{
        error::{ApiError, ErrorCode::InteractionNotFound},
        extract::{
            auth::Crm,
            ids::{Ids, Reply},
            values::EitherId,
        },
        openapi::{
            errors::{CRM, Errors, codes},
            examples, tags,
        },
        state::AppState,
    },
    store::views::interactions::InteractionView,
};

/// An interaction in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct InteractionPath {
    /// The `interaction_id`, or the server's or Dialpad's id of any of the legs.
    #[param(inline)]
    id: EitherId,
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
