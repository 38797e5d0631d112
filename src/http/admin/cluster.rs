//! The processes on the database, for administrators.

use actix_web::{HttpResponse, web::Data};

use crate::{
    cluster::ClusterState,
    http::{
        error::ApiError,
        extract::auth::Administrator,
        openapi::{
            admin_examples,
            errors::{ADMINISTRATOR, Errors},
            tags,
        },
        state::AppState,
    },
};

/// Returns the processes on the database, and which app each of them works on.
///
/// Of all processes, whichever answers. On SQLite there is one.
#[utoipa::path(
    get, path = "/internal/cluster", operation_id = "get_cluster", tag = tags::ENGINE,
    responses(
        (status = 200, description = "The processes and the leases of the apps.", body = ClusterState,
         example = json!(admin_examples::cluster())),
        Errors<{ ADMINISTRATOR }>,
    ),
)]
pub(crate) async fn state(_: Administrator, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(state.cluster.state().await?))
}
