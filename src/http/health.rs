//! How the server is, for load balancers, monitors and people.

use actix_web::{HttpRequest, HttpResponse, Responder, http::header, web::Data};
use chrono::SecondsFormat;
use serde::Serialize;
use utoipa::ToSchema;

use super::{extract::auth, state::AppState};
use crate::http::error::ApiError;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the server is.
#[derive(Serialize, ToSchema)]
pub(super) struct Home {
    /// For people.
    message: &'static str,
    /// The server's version.
    version: &'static str,
}

/// How the server is.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `healthy` or `unhealthy`.
    status: &'static str,
    /// The server's time.
    #[schema(format = DateTime)]
    timestamp: String,
    /// For how many seconds it has been running.
    uptime: u64,
    /// `sandbox` or `production`.
    environment: &'static str,
    /// The server's version.
    version: &'static str,
    checks: Checks,
}

/// What was looked at: `ok`, or what is wrong with it.
#[derive(Serialize, ToSchema)]
pub(super) struct Checks {
    /// The database.
    database: String,
}

/// Whether the process runs, or may be sent traffic.
#[derive(Serialize, ToSchema)]
pub(super) struct Probe {
    /// `live` or `ready`.
    status: &'static str,
}

pub(super) async fn home() -> impl Responder {
    HttpResponse::Ok().json(Home { message: "CTI Server is running", version: VERSION })
}

/// The whole picture.
pub(super) async fn health(shared: Data<AppState>) -> impl Responder {
    let database = shared.store.ping().await;
    let mut answer = if database.is_ok() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.json(report(&shared, database.map_err(|failure| failure.to_string())))
}

fn report(shared: &AppState, database: Result<(), String>) -> Health {
    let status = if database.is_ok() { "healthy" } else { "unhealthy" };
    let database = database.map_or_else(|reason| reason, |()| "ok".to_owned());
    Health {
        status,
        timestamp: shared.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true),
        uptime: shared.started.elapsed().as_secs(),
        environment: shared.config.environment.as_str(),
        version: VERSION,
        checks: Checks { database },
    }
}

/// Whether the process runs.
pub(super) async fn live() -> impl Responder {
    HttpResponse::Ok().json(Probe { status: "live" })
}

/// Whether it may be sent traffic.
pub(super) async fn ready(shared: Data<AppState>) -> Result<HttpResponse, ApiError> {
    shared.store.ping().await?;
    Ok(HttpResponse::Ok().json(Probe { status: "ready" }))
}

pub(super) async fn metrics(request: HttpRequest, shared: Data<AppState>) -> Result<HttpResponse, ApiError> {
    if let Some(token) = &shared.config.metrics_token {
        auth::bears_one_of(&request, &shared, std::slice::from_ref(token))?;
    }
    let text = shared.metrics.render(&shared.store).await;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(text))
}
