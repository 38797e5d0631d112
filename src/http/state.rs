//! What the handlers share.

use std::{sync::Arc, time::Instant};

use cti_actors::{Engine, clock::Clock};
use reqwest::Url;

use crate::{
    cluster::Cluster,
    config::Config,
    dialpad::{api::Dialpad, webhooks::WebhookReconciler},
    enrichment::CallEnrichment,
    http::middleware::rate_limit::RateLimiter,
    jobs::app_deletion::AppDeletion,
    recovery::SilenceDetector,
    spool::Spool,
    store::Store,
    tasks::Tasks,
    telemetry::metrics::Metrics,
};

/// The parts of the server that handlers use. One instance, shared by all workers behind an `Arc`
/// (`actix_web::web::Data`). Dropping it stops nothing: the background jobs hold their own handles.
pub struct AppState {
    /// The settings, as read at the start. Nothing changes them afterwards.
    pub config: Config,
    /// The database. The engine, the jobs and the recovery hold the same pools.
    pub store: Store,
    /// Where webhooks go while the database can't take them. Its drain, a background task, holds it too.
    pub spool: Arc<Spool>,
    /// The engine: sessions, consumers and the feed. Handlers wake an app through it after they changed its journal;
    /// `startup` holds it too and stops it.
    pub engine: Arc<Engine>,
    /// Background work that outlives a request. `startup` holds it too, and its stop waits for the tasks.
    pub tasks: Tasks,
    /// Requests to Dialpad with an app's token. The reconciler, the jobs and the recovery share its limits and breakers.
    pub dialpad: Dialpad,
    /// Fetches what a call lacks (recording, transcript) and opens its audio. Only handlers use it.
    pub enrichment: CallEnrichment,
    /// When each app last received a webhook. The webhook endpoint reports to it; the recovery reads it to find apps
    /// that have gone silent.
    pub silence: Arc<SilenceDetector>,
    /// Deletes apps. A background job holds a clone and completes deletions that were interrupted.
    pub app_deletion: AppDeletion,
    /// Keeps the webhooks at Dialpad in place. Its background loop holds a clone; handlers ask it to act at once.
    pub webhook_reconciler: WebhookReconciler,
    /// Counts failed authentications and started authorizations by client address. Only handlers use it.
    pub rate_limiter: RateLimiter,
    /// The metrics recorder of the process, for `/metrics`.
    pub metrics: Metrics,
    /// The address at which clients reach this server: `PUBLIC_URL`, or the address that it listens on.
    pub public_url: Url,
    /// Where Dialpad sends a browser back to after an authorization.
    pub redirect_uri: Url,
    /// The time. Tests replace it.
    pub clock: Arc<dyn Clock>,
    /// This process among those that share the database. `startup` holds it too; its background tasks renew its leases.
    pub cluster: Arc<Cluster>,
    /// When the process started, for the uptime in `/health`.
    pub started: Instant,
}
