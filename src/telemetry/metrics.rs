//! What is measured: every metric with its help, from the start.

use cti_actors::{
    event::EventType,
    model::token::RefreshResult,
    session::{CloseReason, Transport},
};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use strum::VariantNames;

use crate::store::Store;

/// Seconds, from a tenth of a millisecond to ten seconds.
const SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// How late a webhook may be: Dialpad retries call events for 14 s and messages for 4 h.
const LAG: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0, 14400.0];
const BATCH: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// The recorder of this process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Installs the recorder. A process has one; a second server in it shares it.
    ///
    /// # Errors
    /// The buckets are empty, which they are not.
    pub fn install() -> Result<Self, BuildError> {
        static INSTALLED: std::sync::OnceLock<Metrics> = std::sync::OnceLock::new();
        if let Some(installed) = INSTALLED.get() {
            return Ok(installed.clone());
        }
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
            .set_buckets_for_metric(Matcher::Full("cti_webhook_lag_seconds".into()), &LAG)?
            .set_buckets_for_metric(Matcher::Full("cti_group_commit_batch_size".into()), &BATCH)?
            .build_recorder();
        let installed = Self { handle: recorder.handle() };
        if metrics::set_global_recorder(recorder).is_ok() {
            describe();
        }
        Ok(INSTALLED.get_or_init(|| installed).clone())
    }

    /// Everything in Prometheus' text format, with what is only looked at now.
    pub async fn render(&self, store: &Store) -> String {
        let (idle, busy) = store.pool_connections();
        for (state, count) in [("idle", idle), ("busy", busy)] {
            gauge!("cti_db_pool_connections", "state" => state)
                .set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        }
        if let Ok(pending) = store.journal().pending_count().await {
            gauge!("cti_journal_pending").set(f64::from(u32::try_from(pending).unwrap_or(u32::MAX)));
        }
        if let Ok(pending) = store.gaps().pending().await {
            gauge!("cti_gaps_pending").set(f64::from(u32::try_from(pending).unwrap_or(u32::MAX)));
        }
        self.handle.run_upkeep();
        self.handle.render()
    }
}

fn describe() {
    describe_counter!("cti_webhooks_total", "Webhooks by payload family and by what became of them");
    describe_histogram!("cti_webhook_ack_seconds", Unit::Seconds, "From a webhook's arrival to its answer");
    describe_histogram!(
        "cti_webhook_lag_seconds",
        Unit::Seconds,
        "From what a webhook tells of to its arrival"
    );
    describe_gauge!("cti_journal_pending", "Webhooks that wait to be processed");
    describe_counter!("cti_events_emitted_total", "Events told, by type");
    describe_counter!(
        "cti_webhooks_given_up_total",
        "Acknowledged webhooks that could not be applied in several tries"
    );
    describe_counter!("cti_token_refreshes_total", "Requests for new tokens, by what came of them");
    describe_counter!(
        "cti_calls_repaired_total",
        "Calls whose end had been missed and was found by asking Dialpad"
    );
    describe_counter!(
        "cti_calls_inferred_total",
        "Calls that were taken for over, because nothing was heard of them"
    );
    describe_gauge!("cti_gaps_pending", "Times of missed webhooks that wait to be looked into");
    describe_counter!("cti_gaps_given_up_total", "Times of missed webhooks that could not be repaired");
    describe_gauge!("cti_call_actors", "Calls that are awake in memory");
    describe_counter!("cti_call_actor_crashes_total", "Call actors that died and were rebuilt");
    describe_gauge!("cti_ws_sessions", "Open WebSockets");
    describe_gauge!("cti_feed_listeners", "Who listens to a feed, by how it is told");
    describe_counter!("cti_ws_sessions_closed_total", "WebSockets that ended, by reason");
    describe_gauge!("cti_db_pool_connections", "Connections to the database, by state");
    describe_histogram!("cti_group_commit_batch_size", "Webhooks that shared a transaction");
    describe_histogram!("http_request_duration_seconds", Unit::Seconds, "HTTP requests by route and status");
    describe_counter!(
        "cti_rate_limited_total",
        "Refusals of addresses that guessed too often, by what they guessed"
    );
    describe_gauge!("cti_build_info", "The version that runs");
    crate::dialpad::client::metrics::describe();
    describe_counter!("cti_webhook_checks_total", "Looks at an app's webhook at Dialpad, by what was found");
    for outcome in crate::dialpad::webhooks::OUTCOMES {
        counter!("cti_webhook_checks_total", "outcome" => outcome).absolute(0);
    }

    for family in ["workflow", "dialpad", "unknown"] {
        for outcome in ["accepted", "duplicate", "unrouted", "failed", "unauthentic", "unavailable"] {
            counter!("cti_webhooks_total", "family" => family, "outcome" => outcome).absolute(0);
        }
    }
    for event_type in EventType::VARIANTS {
        counter!("cti_events_emitted_total", "type" => *event_type).absolute(0);
    }
    for reason in CloseReason::VARIANTS {
        counter!("cti_ws_sessions_closed_total", "reason" => *reason).absolute(0);
    }
    for outcome in RefreshResult::VARIANTS {
        counter!("cti_token_refreshes_total", "outcome" => *outcome).absolute(0);
    }
    for guess in ["credentials", "authorization"] {
        counter!("cti_rate_limited_total", "guess" => guess).absolute(0);
    }
    counter!("cti_webhooks_given_up_total").absolute(0);
    counter!("cti_calls_repaired_total").absolute(0);
    counter!("cti_calls_inferred_total").absolute(0);
    counter!("cti_gaps_given_up_total").absolute(0);
    counter!("cti_call_actor_crashes_total").absolute(0);
    for empty in ["cti_webhook_ack_seconds", "cti_webhook_lag_seconds", "cti_group_commit_batch_size"] {
        let _ = histogram!(empty);
    }
    gauge!("cti_call_actors").set(0.0);
    gauge!("cti_ws_sessions").set(0.0);
    for transport in Transport::VARIANTS {
        gauge!("cti_feed_listeners", "transport" => *transport).set(0.0);
    }
    gauge!("cti_journal_pending").set(0.0);
    let revision = option_env!("CTI_REVISION").unwrap_or("unknown");
    gauge!("cti_build_info", "version" => env!("CARGO_PKG_VERSION"), "revision" => revision).set(1.0);
}
