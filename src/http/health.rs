//! The state of the server, for load balancers, monitoring systems and people.

use std::time::Instant;

use actix_web::{
    HttpRequest, HttpResponse, Responder,
    http::header::{self, Accept, Header, HeaderValue, Quality},
    web::Data,
};
use chrono::SecondsFormat;
use cti_actors::{clock::Clock, error::StoreError};
use metrics::gauge;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    error::{
        ApiError,
        ErrorCode::{DatabaseUnavailable, Forbidden, MissingBearer, RateLimited},
    },
    extract::auth,
    openapi::{
        errors::{Errors, codes},
        tags,
    },
    state::AppState,
};
use crate::{config::Config, spool::Spool, telemetry::metrics::Metrics};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The user agent of `cti-server doctor`, by which it is not taken for Prometheus.
pub(crate) const DOCTOR: &str = concat!("cti-server-doctor/", env!("CARGO_PKG_VERSION"));

/// What the server is.
#[derive(Serialize, ToSchema)]
pub(super) struct Home {
    /// A sentence for people.
    message: &'static str,
    /// The version of the server.
    version: &'static str,
}

/// The state of the server.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `healthy` or `unhealthy`.
    status: &'static str,
    /// The server's time.
    #[schema(format = DateTime)]
    timestamp: String,
    /// For how many seconds the process has been running.
    uptime: u64,
    /// `sandbox` or `production`.
    environment: &'static str,
    /// The version of the server.
    version: &'static str,
    checks: Checks,
}

/// The results of the checks: `ok`, or the problem.
#[derive(Serialize, ToSchema)]
pub(crate) struct Checks {
    /// The database.
    database: String,
    /// The spool, which keeps webhooks while the database can't take them.
    spool: String,
    /// The canary: a webhook of the server's own that takes the whole path every `CANARY_INTERVAL`. `ok` before its first
    /// run; left out where it is off, and before the database was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    canary: Option<String>,
}

/// The answer to a probe.
#[derive(Serialize, ToSchema)]
pub(super) struct Probe {
    /// `live` or `ready`.
    status: &'static str,
}

impl Health {
    /// Returns whether every check succeeded.
    pub(crate) fn is_healthy(&self) -> bool {
        self.status == "healthy"
    }
}

impl Home {
    const THIS: Self = Self { message: "CTI Server is running", version: VERSION };
}

/// Returns the name and version of the server.
#[utoipa::path(
    method(get, head), path = "/", operation_id = "home", tag = tags::HEALTH,
    responses((status = 200, description = "The server runs.", body = Home, example = json!(Home::THIS))),
)]
pub(super) async fn home() -> impl Responder {
    HttpResponse::Ok().json(Home::THIS)
}

/// Returns the state of the server.
#[utoipa::path(
    method(get, head), path = "/health", operation_id = "health", tag = tags::HEALTH,
    responses(
        (status = 200, description = "The server is healthy.", body = Health,
         example = json!(example("healthy", "ok"))),
        (status = 503, description = "The database can't be reached.", body = Health,
         example = json!(example("unhealthy", "the database took too long"))),
    ),
)]
pub(super) async fn health(state: Data<AppState>) -> impl Responder {
    answer(check(&state).await)
}

/// Checks what the server depends on.
pub(crate) async fn check(state: &AppState) -> Health {
    Report {
        config: &state.config,
        clock: &*state.clock,
        started: state.started,
        database: database(state).await,
        spool: &state.spool,
        canary: state.config.canary_interval.map(|_| state.canary.problem()),
    }
    .health()
}

fn answer(health: Health) -> HttpResponse {
    let mut answer =
        if health.is_healthy() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.json(health)
}

/// Returns why the database can't be used, if it can't.
async fn database(state: &AppState) -> Result<(), String> {
    if let Some(problem) = state.spool.database_problem() {
        // The drain is trying it already.
        return Err(problem);
    }
    state.store.check_writable().await.map_err(|failure| {
        state.spool.database_failed(&failure);
        failure.to_string()
    })
}

/// What `/health` reports.
pub(super) struct Report<'s> {
    pub(super) config: &'s Config,
    pub(super) clock: &'s dyn Clock,
    pub(super) started: Instant,
    pub(super) database: Result<(), String>,
    pub(super) spool: &'s Spool,
    /// Why the last run of the canary failed; `None` where there is no canary.
    pub(super) canary: Option<Option<String>>,
}

impl Report<'_> {
    pub(super) fn answer(self) -> HttpResponse {
        answer(self.health())
    }

    fn health(self) -> Health {
        let ok = || "ok".to_owned();
        Health {
            status: if self.database.is_ok() { "healthy" } else { "unhealthy" },
            timestamp: self.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true),
            uptime: self.started.elapsed().as_secs(),
            environment: self.config.environment.as_str(),
            version: VERSION,
            checks: Checks {
                database: self.database.err().unwrap_or_else(ok),
                spool: self.spool.problem().unwrap_or_else(ok),
                canary: self.canary.map(|problem| problem.unwrap_or_else(ok)),
            },
        }
    }
}

fn example(status: &'static str, database: &str) -> Value {
    json!(Health {
        status,
        timestamp: "2024-01-01T12:00:00.112Z".to_owned(),
        uptime: 86_400,
        environment: "sandbox",
        version: VERSION,
        checks: Checks {
            database: database.to_owned(),
            spool: "ok".to_owned(),
            canary: Some("ok".to_owned()),
        },
    })
}

/// Returns whether the process runs.
#[utoipa::path(
    method(get, head), path = "/health/live", operation_id = "health_live", tag = tags::HEALTH,
    responses((status = 200, description = "The process runs.", body = Probe, example = json!({"status": "live"}))),
)]
pub(super) async fn live() -> impl Responder {
    HttpResponse::Ok().json(Probe { status: "live" })
}

/// Returns whether the server may receive traffic.
///
/// It may while it can keep webhooks: in the database, or in the spool.
#[utoipa::path(
    method(get, head), path = "/health/ready", operation_id = "health_ready", tag = tags::HEALTH,
    responses(
        (status = 200, description = "The server may receive traffic.", body = Probe,
         example = json!({"status": "ready"})),
        Errors<{ codes(&[DatabaseUnavailable]) }>,
    ),
)]
pub(super) async fn ready(state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let database = database(&state).await;
    readiness(database, &state.spool)
}

/// Answers whether webhooks can be kept.
pub(super) fn readiness(database: Result<(), String>, spool: &Spool) -> Result<HttpResponse, ApiError> {
    if let (Err(database), Some(spool)) = (database, spool.problem()) {
        return Err(StoreError::Unavailable(format!("{database}; {spool}")).into());
    }
    Ok(HttpResponse::Ok().json(Probe { status: "ready" }))
}

/// Returns the metrics in Prometheus' text format, or as OpenMetrics to a client that prefers it.
///
/// The bearer is required only if `METRICS_TOKEN` is set.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = tags::HEALTH,
    responses(
        (status = 200, description = "The metrics.", content(
            (String = "text/plain"),
            (String = "application/openmetrics-text"),
        )),
        Errors<{ codes(&[MissingBearer, Forbidden, RateLimited]) }>,
    ),
)]
pub(super) async fn metrics(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    if let Some(token) = &state.config.metrics_token {
        auth::require_bearer(&request, std::slice::from_ref(token))?;
    }
    let backlog = state.engine.session_backlog();
    gauge!("cti_session_queued_bytes").set(backlog.queued_bytes as f64);
    gauge!("cti_sessions_lagging").set(backlog.lagging as f64);
    if state.spool.database_problem().is_none() {
        state.store.update_gauges().await;
    }
    let answer = rendered(&request, &state.metrics);
    let user_agent = request.headers().get(header::USER_AGENT).map(HeaderValue::as_bytes);
    if user_agent != Some(DOCTOR.as_bytes()) {
        // Shows the request before this one.
        gauge!("cti_metrics_last_scrape_timestamp_seconds").set(state.clock.now().timestamp() as f64);
    }
    Ok(answer)
}

/// Answers with the metrics.
pub(super) fn rendered(request: &HttpRequest, metrics: &Metrics) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::VARY, "accept"));
    if prefers_open_metrics(request) {
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        return answer
            .insert_header((header::CONTENT_TYPE, content_type))
            .body(metrics.render_open_metrics());
    }
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    answer.insert_header((header::CONTENT_TYPE, content_type)).body(metrics.render())
}

/// Whether the request names OpenMetrics, and names no text format that it prefers.
fn prefers_open_metrics(request: &HttpRequest) -> bool {
    let Ok(Accept(accepted)) = Accept::parse(request) else { return false };
    let quality = |subtype: &str, kind: &str| {
        let named = accepted.iter().filter(|it| it.item.type_() == kind && it.item.subtype() == subtype);
        named.map(|it| it.quality).max().unwrap_or(Quality::ZERO)
    };
    let open_metrics = quality("openmetrics-text", "application");
    open_metrics > Quality::ZERO && open_metrics >= quality("plain", "text")
}
