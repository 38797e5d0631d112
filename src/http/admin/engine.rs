//! The state of this process's engine, for administrators.

use actix_web::{HttpResponse, web::Data};
use cti_actors::state::{EngineState, SupervisorState, TokenRefresherState};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::{
        extract::auth::Administrator,
        openapi::{
            admin_examples,
            errors::{ADMINISTRATOR, Errors},
            tags,
        },
        state::AppState,
    },
    spool::SpoolState,
};

/// What a process does at the moment.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProcessState {
    /// The process: `PROCESS_ID`, or another random name after each start.
    process_id: String,
    /// The apps that the process has had work for since its start, by id.
    apps: Vec<SupervisorState>,
    /// How many sessions are open.
    sessions: usize,
    /// How many named consumers the process holds.
    consumers: usize,
    token_refresher: TokenRefresherState,
    /// Webhooks that are kept on the local disk while the database can't take them.
    spool: SpoolState,
}

/// Returns what this process does at the moment.
///
/// Of this process only. It answers at once, also when the database is unavailable.
#[utoipa::path(
    get, path = "/internal/engine", operation_id = "get_engine", tag = tags::ENGINE,
    responses(
        (status = 200, description = "The state of the engine.", body = ProcessState,
         example = json!(admin_examples::engine())),
        Errors<{ ADMINISTRATOR }>,
    ),
)]
pub(crate) async fn state(_: Administrator, state: Data<AppState>) -> HttpResponse {
    let EngineState { apps, sessions, consumers, token_refresher } = state.engine.state();
    let process_id = state.cluster.process_id().to_owned();
    HttpResponse::Ok().json(ProcessState {
        process_id,
        apps,
        sessions,
        consumers,
        token_refresher,
        spool: state.spool.state(),
    })
}
