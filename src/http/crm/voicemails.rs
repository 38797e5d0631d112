//! Voicemails, for CRMs and for administrators, who can delete them.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use cti_actors::id::AppId;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    http::{
        error::{
            ApiError,
            ErrorCode::{AppNotFound, VoicemailNotFound},
        },
        extract::{
            app::{AppPath, existing},
            auth::{Administrator, Crm},
            ids::{Ids, Listing, Reply},
            lists::ListItems,
        },
        openapi::{
            errors::{ADMINISTRATOR, CHANGE, CRM, Errors, codes},
            examples, tags,
        },
        state::AppState,
    },
    store::views::{listing::ItemRef, voicemails::VoicemailView},
};

/// A voicemail in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct VoicemailPath {
    /// The voicemail, by the server's `id` or by Dialpad's.
    pub(crate) id: String,
}

/// A voicemail of an app in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct AppVoicemailPath {
    /// The app.
    #[param(value_type = Uuid)]
    app_id: String,
    /// The voicemail, by the server's `id` or by Dialpad's.
    id: String,
}

/// Lists voicemails.
///
/// In the same orders as calls, with the same parameters except `status` and `outcome`.
#[utoipa::path(
    get, path = "/api/voicemails", operation_id = "list_voicemails", tag = tags::VOICEMAILS, params(ListItems),
    responses(
        (status = 200, description = "A page of voicemails.", body = Vec<VoicemailView>,
         headers(("Link" = String, description = "The next page. Absent on the last page.")),
         example = json!([examples::voicemail()])),
        Errors<{ CRM }>,
    ),
)]
pub(crate) async fn list(
    crm: Crm<ListItems>,
    state: Data<AppState>,
) -> Result<Listing<VoicemailView>, ApiError> {
    page(&state, crm.app_id, crm.query).await
}

/// Lists an app's voicemails.
#[utoipa::path(
    get, path = "/internal/apps/{app_id}/voicemails", operation_id = "list_voicemails_of_app",
    tag = tags::APP_VOICEMAILS, params(AppPath, ListItems),
    responses(
        (status = 200, description = "A page of voicemails.", body = Vec<VoicemailView>,
         headers(("Link" = String, description = "The next page. Absent on the last page.")),
         example = json!([examples::voicemail()])),
        Errors<{ ADMINISTRATOR | codes(&[AppNotFound]) }>,
    ),
)]
pub(crate) async fn list_for_administrators(
    administrator: Administrator<ListItems>,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<Listing<VoicemailView>, ApiError> {
    page(&state, path.find(&state).await?, administrator.query).await
}

async fn page(state: &AppState, app: AppId, query: ListItems) -> Result<Listing<VoicemailView>, ApiError> {
    let ListItems { filter, paging, ids } = query;
    let filter = filter.of_app(&state.store, app).await?;
    let page = state.store.voicemails().list(app, &filter, paging.cursor(), paging.limit()).await?;
    Ok(Listing::new(page, ids))
}

/// Returns a voicemail.
#[utoipa::path(
    get, path = "/api/voicemails/{id}", operation_id = "get_voicemail", tag = tags::VOICEMAILS,
    params(VoicemailPath, Ids),
    responses(
        (status = 200, description = "The voicemail.", body = VoicemailView, example = json!(examples::voicemail())),
        Errors<{ CRM | codes(&[VoicemailNotFound]) }>,
    ),
)]
pub(crate) async fn one(
    crm: Crm<Ids>,
    state: Data<AppState>,
    path: Path<VoicemailPath>,
) -> Result<Reply<VoicemailView>, ApiError> {
    Ok(Reply(find(&state, crm.app_id, &path.id).await?, crm.query))
}

/// Returns a voicemail of an app.
#[utoipa::path(
    get, path = "/internal/apps/{app_id}/voicemails/{id}", operation_id = "get_voicemail_of_app",
    tag = tags::APP_VOICEMAILS, params(AppVoicemailPath, Ids),
    responses(
        (status = 200, description = "The voicemail.", body = VoicemailView, example = json!(examples::voicemail())),
        Errors<{ ADMINISTRATOR | codes(&[AppNotFound, VoicemailNotFound]) }>,
    ),
)]
pub(crate) async fn one_for_administrators(
    administrator: Administrator<Ids>,
    state: Data<AppState>,
    path: Path<AppVoicemailPath>,
) -> Result<Reply<VoicemailView>, ApiError> {
    let app = existing(&state, &path.app_id).await?;
    Ok(Reply(find(&state, app, &path.id).await?, administrator.query))
}

/// Deletes a voicemail.
///
/// For good: nothing that Dialpad sends later brings it back. Events that were emitted for it are kept.
#[utoipa::path(
    delete, path = "/internal/apps/{app_id}/voicemails/{id}", operation_id = "delete_voicemail",
    tag = tags::APP_VOICEMAILS, params(AppVoicemailPath),
    responses(
        (status = 204, description = "The voicemail is deleted."),
        Errors<{ ADMINISTRATOR | CHANGE | codes(&[AppNotFound, VoicemailNotFound]) }>,
    ),
)]
pub(crate) async fn delete(
    _: Administrator,
    state: Data<AppState>,
    path: Path<AppVoicemailPath>,
) -> Result<HttpResponse, ApiError> {
    let app = existing(&state, &path.app_id).await?;
    if !state.store.voicemails().delete(app, &ItemRef::of(&path.id)).await? {
        return Err(not_found());
    }
    tracing::info!(app.id = %app, "a voicemail was deleted");
    Ok(HttpResponse::NoContent().finish())
}

/// Returns a voicemail by the server's id or by Dialpad's. Another app's voicemail does not exist.
pub(crate) async fn find(state: &AppState, app: AppId, id: &str) -> Result<VoicemailView, ApiError> {
    state.store.voicemails().find(app, &ItemRef::of(id)).await?.ok_or_else(not_found)
}

fn not_found() -> ApiError {
    ApiError::new(VoicemailNotFound, "There is no such voicemail")
}
