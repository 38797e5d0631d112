//! The interface before the database was opened for the first time: webhooks under the global secrets go to the spool,
//! probes are answered, and everything else is refused until the server is complete.

use std::{sync::Arc, time::Instant};

use actix_web::{
    HttpRequest, HttpResponse, Resource, Route, guard,
    web::{self, Bytes, Data, PayloadConfig, ServiceConfig},
};
use cti_actors::{clock::Clock, error::StoreError};
use metrics::histogram;
use reqwest::Url;

use super::{
    MAX_BODY,
    error::{ApiError, ErrorCode},
    extract::auth,
    health::{self, Report, readiness, rendered},
    metrics::WebhookOutcome,
    webhooks::{SpoolEntry, refuse_compressed},
};
use crate::{config::Config, spool::Spool, telemetry::metrics::Metrics, webhook::payload::Family};

/// What the handlers share until the database is open.
pub struct EarlyState {
    /// The settings.
    pub config: Config,
    /// Where webhooks go.
    pub spool: Arc<Spool>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The metrics recorder of the process.
    pub metrics: Metrics,
    /// The address at which clients reach this server.
    pub public_url: Url,
    /// When the process started.
    pub started: Instant,
}

impl EarlyState {
    fn problem(&self) -> String {
        self.spool.database_problem().unwrap_or_else(|| "the database is being opened".to_owned())
    }
}

/// Adds the routes of a server whose database is not open yet.
pub(super) fn early_routes(app: &mut ServiceConfig) {
    app.app_data(PayloadConfig::new(MAX_BODY))
        .service(only(web::resource(["/webhooks", "/webhooks/dialpad"]), web::post().to(shared)))
        .service(only(web::resource("/webhooks/{app_id}"), web::post().to(own)))
        .service(only(web::resource("/"), read().to(health::home)))
        .service(only(web::resource("/health"), read().to(report)))
        .service(only(web::resource("/health/live"), read().to(health::live)))
        .service(only(web::resource("/health/ready"), read().to(ready)))
        .service(only(web::resource("/metrics"), web::get().to(metrics)))
        .default_service(web::to(unavailable));
}

fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Makes a resource unavailable by any other method.
fn only(resource: Resource, route: Route) -> Resource {
    resource.route(route).default_service(web::to(unavailable))
}

async fn shared(
    request: HttpRequest,
    state: Data<EarlyState>,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    let started = Instant::now();
    refuse_compressed(&request)?;
    let entry = SpoolEntry { config: &state.config, spool: &state.spool, clock: &*state.clock, store: None };
    let answer = entry.take(&request, &body, None).await;
    if let Err(error) = &answer {
        WebhookOutcome::of(error).count(Family::Unknown);
    }
    histogram!("cti_webhook_ack_seconds").record(started.elapsed());
    answer
}

/// Refuses a webhook for an app in a way that Dialpad repeats: no app is known yet.
async fn own(state: Data<EarlyState>) -> Result<HttpResponse, ApiError> {
    WebhookOutcome::Unavailable.count(Family::Unknown);
    Err(refusal(&state))
}

async fn unavailable(state: Data<EarlyState>) -> Result<HttpResponse, ApiError> {
    Err(refusal(&state))
}

fn refusal(state: &EarlyState) -> ApiError {
    StoreError::Unavailable(state.problem()).into()
}

async fn report(state: Data<EarlyState>) -> HttpResponse {
    Report {
        config: &state.config,
        clock: &*state.clock,
        started: state.started,
        database: Err(state.problem()),
        spool: &state.spool,
        canary: None,
    }
    .answer()
}

async fn ready(state: Data<EarlyState>) -> Result<HttpResponse, ApiError> {
    readiness(Err(state.problem()), &state.spool)
}

async fn metrics(request: HttpRequest, state: Data<EarlyState>) -> Result<HttpResponse, ApiError> {
    if let Some(token) = &state.config.metrics_token
        && !auth::has_bearer(&request, std::slice::from_ref(token))
    {
        return Err(ApiError::new(ErrorCode::Forbidden, "The bearer is wrong"));
    }
    Ok(rendered(&request, &state.metrics))
}
