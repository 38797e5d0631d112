//! The metrics: their recorder, and those of the engine.
//!
//! A room that counts registers its metrics in a function of its own; `startup.rs` calls them all. Every series is
//! there from the start, with 0, so that rates and alerts work from the first event on.

use std::sync::Arc;

use cti_actors::{
    event::EventType,
    model::token::RefreshResult,
    session::{CloseReason, Transport},
};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use strum::VariantNames;
use tokio::runtime::Handle;

use super::{
    open_metrics, process,
    runtimes::{self, RuntimeKind, Runtimes},
    traces,
};

/// Buckets in seconds, from 0.1 ms to 10 s.
const SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Buckets in seconds for the delay of webhooks: Dialpad retries call events for 14 s and messages for 4 h.
const LAG: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0, 14400.0];
const BATCH_SIZE: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// The recorder of the process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    runtimes: Arc<Runtimes>,
}

impl Metrics {
    /// Installs the recorder and registers the metrics. A process has one recorder: a second server shares it.
    ///
    /// # Errors
    /// The buckets of a histogram are invalid.
    pub fn install(register: impl FnOnce()) -> Result<Self, BuildError> {
        static INSTALLED: std::sync::OnceLock<Metrics> = std::sync::OnceLock::new();
        if let Some(installed) = INSTALLED.get() {
            return Ok(installed.clone());
        }
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
            .set_buckets_for_metric(Matcher::Full("cti_webhook_lag_seconds".into()), &LAG)?
            .set_buckets_for_metric(Matcher::Full("cti_group_commit_batch_size".into()), &BATCH_SIZE)?
            .build_recorder();
        let installed = Self { handle: recorder.handle(), runtimes: Arc::default() };
        if metrics::set_global_recorder(recorder).is_ok() {
            register();
        }
        Ok(INSTALLED.get_or_init(|| installed).clone())
    }

    /// Includes the figures of a runtime from now on.
    pub(crate) fn watch_runtime(&self, kind: RuntimeKind, runtime: &Handle) {
        self.runtimes.watch(kind, runtime);
    }

    /// Returns all metrics in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        process::update();
        self.runtimes.update();
        self.render_counted()
    }

    /// Returns the same without reading the figures of the process and its runtimes anew.
    pub(crate) fn render_counted(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// Returns all metrics in the format of OpenMetrics.
    #[must_use]
    pub fn render_open_metrics(&self) -> String {
        open_metrics::from_text_format(&self.render())
    }
}

/// Registers what the engine counts, and the running build.
pub(crate) fn register_metrics() {
    describe_gauge!("cti_build_info", "The running build; always 1");
    let revision = option_env!("CTI_REVISION").unwrap_or("unknown");
    gauge!("cti_build_info", "version" => env!("CARGO_PKG_VERSION"), "revision" => revision).set(1.0);

    process::register_metrics();
    runtimes::register_metrics();
    traces::register_metrics();

    describe_counter!("cti_clock_steps_total", "Times that the wall clock was set, by more than 2 s");
    counter!("cti_clock_steps_total").absolute(0);
    describe_counter!(
        "cti_log_lines_dropped_total",
        "Lines of the log that were dropped because stderr took none"
    );
    counter!("cti_log_lines_dropped_total").absolute(0);

    describe_counter!("cti_background_panics_total", "Background tasks that panicked; each began again");
    counter!("cti_background_panics_total").absolute(0);

    describe_counter!("cti_events_emitted_total", "Emitted events");
    for event_type in EventType::VARIANTS {
        counter!("cti_events_emitted_total", "type" => *event_type).absolute(0);
    }
    describe_counter!("cti_events_published_total", "Events that were given to the sessions of this process");
    counter!("cti_events_published_total").absolute(0);
    describe_counter!("cti_events_delivered_total", "Events that were given to the connection of a client");
    for transport in Transport::VARIANTS {
        counter!("cti_events_delivered_total", "transport" => *transport).absolute(0);
    }
    describe_counter!(
        "cti_webhooks_given_up_total",
        "Acknowledged webhooks that could not be applied in 3 attempts"
    );
    counter!("cti_webhooks_given_up_total").absolute(0);
    describe_counter!("cti_token_refreshes_total", "Token refreshes");
    for outcome in RefreshResult::VARIANTS {
        counter!("cti_token_refreshes_total", "outcome" => *outcome).absolute(0);
    }

    describe_gauge!("cti_call_actors", "Call actors in memory");
    gauge!("cti_call_actors").set(0.0);
    describe_counter!("cti_call_actor_crashes_total", "Call actors that panicked and were rebuilt");
    counter!("cti_call_actor_crashes_total").absolute(0);

    describe_counter!(
        "cti_feed_resets_total",
        "Feeds that have gone back in the database, or got another epoch, while this process knew them"
    );
    counter!("cti_feed_resets_total").absolute(0);

    describe_gauge!("cti_ws_sessions", "Open WebSockets");
    gauge!("cti_ws_sessions").set(0.0);
    describe_counter!("cti_ws_sessions_closed_total", "Closed WebSockets");
    for reason in CloseReason::VARIANTS {
        counter!("cti_ws_sessions_closed_total", "reason" => *reason).absolute(0);
    }
    describe_gauge!("cti_feed_listeners", "Subscribers of a feed");
    for transport in Transport::VARIANTS {
        gauge!("cti_feed_listeners", "transport" => *transport).set(0.0);
    }
    describe_gauge!(
        "cti_session_queued_bytes",
        "Bytes that sessions were given and their clients have not taken yet"
    );
    gauge!("cti_session_queued_bytes").set(0.0);
    describe_gauge!(
        "cti_metrics_last_scrape_timestamp_seconds",
        "When the metrics were last asked for, before this request and not by `cti-server doctor`; 0 before the first time"
    );
    gauge!("cti_metrics_last_scrape_timestamp_seconds").set(0.0);
    describe_gauge!("cti_sessions_lagging", "Sessions whose client has taken nothing for more than a second");
    gauge!("cti_sessions_lagging").set(0.0);
}
