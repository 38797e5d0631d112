//! The erasure of a person, for administrators.

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use cti_actors::{
    error::StoreError,
    model::number::{e164, from_query},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    http::{
        error::{ApiError, ErrorCode::AppNotFound},
        extract::{app::AppPath, auth::Administrator, fields::InvalidField},
        openapi::{
            admin_examples,
            errors::{ADMINISTRATOR, CHANGE, Errors, codes},
            tags,
        },
        state::AppState,
    },
    jobs::person_erasure,
    store::people::Erased,
};

/// Whom to erase.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PersonFilter {
    /// The number of the person, in any spelling.
    number: String,
}

/// How many rows lost something.
#[derive(Serialize, ToSchema)]
pub(crate) struct PersonErased {
    /// Calls, each one leg.
    calls: u64,
    /// Text messages.
    messages: u64,
    /// Voicemails.
    voicemails: u64,
    /// Events of the feed.
    events: u64,
    /// Webhooks of the journal.
    webhooks: u64,
}

impl From<Erased> for PersonErased {
    fn from(erased: Erased) -> Self {
        let Erased { calls, messages, voicemails, events, webhooks } = erased;
        Self { calls, messages, voicemails, events, webhooks }
    }
}

/// Erases a person.
///
/// The numbers, the name, texts, transcripts, recordings and custom data of all calls, voicemails and messages with this
/// number become null, in the rows and in the events, which keep their `seq`. The payloads of the webhooks are deleted. A
/// call that goes on forgets them too; what Dialpad sends later is new. Calling it again erases nothing twice.
#[utoipa::path(
    delete, path = "/internal/apps/{app_id}/people", operation_id = "erase_person", tag = tags::APPS,
    params(AppPath, PersonFilter),
    responses(
        (status = 200, description = "How many rows lost something.", body = PersonErased,
         example = json!(admin_examples::person_erased())),
        Errors<{ ADMINISTRATOR | CHANGE | codes(&[AppNotFound]) }>,
    ),
)]
pub(crate) async fn erase(
    administrator: Administrator<PersonFilter>,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, ApiError> {
    let app = path.find(&state).await?;
    let region = state.store.apps().region(app).await?;
    let number = e164(&from_query(&administrator.query.number), region)
        .ok_or_else(|| InvalidField::new("number", "must be a phone number"))?;
    let erasure = person_erasure::erase(state.store.clone(), Arc::clone(&state.engine), app, number);
    // A task of its own: it continues when the request has ended.
    let erased = state.tasks.spawn(erasure).await.ok().flatten();
    let interrupted = || Err(StoreError::Unavailable("the server stops; erase again".into()));
    let erased = erased.unwrap_or_else(interrupted)?;
    Ok(HttpResponse::Ok().json(PersonErased::from(erased)))
}
