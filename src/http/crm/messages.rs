//! Text messages.

use actix_web::web::{Data, Path};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    http::{
        error::{ApiError, ErrorCode::MessageNotFound},
        extract::{
            auth::Crm,
            ids::{Ids, Listing, Reply},
            lists::ListItems,
        },
        openapi::{
            errors::{CRM, Errors, codes},
            examples, tags,
        },
        state::AppState,
    },
    store::views::{listing::ItemRef, messages::MessageView},
};

/// A message in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct MessagePath {
    /// The message, by the server's `id` or by Dialpad's.
    id: String,
}

/// Lists text messages.
///
/// In the same orders as calls. `to` matches each of the recipients.
#[utoipa::path(
    get, path = "/api/messages", operation_id = "list_messages", tag = tags::MESSAGES, params(ListItems),
    responses(
        (status = 200, description = "A page of messages.", body = Vec<MessageView>,
         headers(("Link" = String, description = "The next page. Absent on the last page.")),
         example = json!([examples::message()])),
        Errors<{ CRM }>,
    ),
)]
pub(crate) async fn list(
    crm: Crm<ListItems>,
    state: Data<AppState>,
) -> Result<Listing<MessageView>, ApiError> {
    let ListItems { filter, paging, ids } = crm.query;
    let messages = state.store.messages();
    let filter = filter.of_app(&state.store, crm.app_id).await?;
    let page = messages.list(crm.app_id, &filter, paging.cursor(), paging.limit()).await?;
    Ok(Listing::new(page, ids))
}

/// Returns a text message.
#[utoipa::path(
    get, path = "/api/messages/{id}", operation_id = "get_message", tag = tags::MESSAGES,
    params(MessagePath, Ids),
    responses(
        (status = 200, description = "The message.", body = MessageView, example = json!(examples::message())),
        Errors<{ CRM | codes(&[MessageNotFound]) }>,
    ),
)]
pub(crate) async fn one(
    crm: Crm<Ids>,
    state: Data<AppState>,
    path: Path<MessagePath>,
) -> Result<Reply<MessageView>, ApiError> {
    let message = state.store.messages().find(crm.app_id, &ItemRef::of(&path.id)).await?;
    let not_found = || ApiError::new(MessageNotFound, "There is no such message");
    Ok(Reply(message.ok_or_else(not_found)?, crm.query))
}
