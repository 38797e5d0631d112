//! The state of this process's engine, for administrators.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use cti_actors::state::{EngineState, SupervisorState, TokenRefresherState};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::{
    AppState,
    error::ApiError,
    extract::{auth::Administrator, query::Query},
};

/// What this process does at the moment.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProcessState {
    /// The process; another one after each start.
    process_id: Uuid,
    /// The apps that the process has had work for since its start, by id.
    apps: Vec<SupervisorState>,
    /// How many sessions are open.
    sessions: usize,
    /// How many named consumers the process holds.
    consumers: usize,
    token_refresher: TokenRefresherState,
    /// Always null: the process keeps no webhooks outside of the database.
    #[schema(value_type = Option<Object>)]
    spool: Option<()>,
}

pub(crate) async fn state(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    let EngineState { apps, sessions, consumers, token_refresher } = shared.engine.state();
    let process_id = shared.process_id;
    Ok(HttpResponse::Ok().json(ProcessState {
        process_id,
        apps,
        sessions,
        consumers,
        token_refresher,
        spool: None,
    }))
}
