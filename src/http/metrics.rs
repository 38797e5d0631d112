//! The metrics of the HTTP server.

use metrics::{Counter, Unit, counter, describe_counter, describe_histogram, histogram};
use strum::{IntoStaticStr, VariantArray};

use super::{
    error::{ApiError, ErrorCode},
    middleware::rate_limit::Attempt,
};
use crate::webhook::{payload::Family, routing::Disposition};

/// What became of a received webhook; the `outcome` label.
#[derive(Clone, Copy, Debug, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum WebhookOutcome {
    /// Stored, will be processed.
    Accepted,
    /// Was stored before.
    Duplicate,
    /// Stored, but waits for an app.
    Unrouted,
    /// Stored, but could not be parsed.
    Failed,
    /// Kept in the spool.
    Spooled,
    /// The signature is missing or wrong.
    Unauthentic,
    /// Not stored in time.
    Unavailable,
}

impl WebhookOutcome {
    /// Returns the outcome of a request that was refused.
    pub(super) fn of(refusal: &ApiError) -> Self {
        match refusal.code {
            ErrorCode::InvalidSignature => Self::Unauthentic,
            _ => Self::Unavailable,
        }
    }

    pub(super) fn count(self, family: Family) {
        self.counter(family).increment(1);
    }

    fn counter(self, family: Family) -> Counter {
        let outcome: &'static str = self.into();
        counter!("cti_webhooks_total", "family" => family.as_str(), "outcome" => outcome)
    }
}

impl From<&Disposition> for WebhookOutcome {
    fn from(disposition: &Disposition) -> Self {
        match disposition {
            Disposition::Pending(_) => Self::Accepted,
            Disposition::Unrouted(_) => Self::Unrouted,
            Disposition::Failed(_) => Self::Failed,
        }
    }
}

/// Registers the metrics, every series with 0.
pub(crate) fn register_metrics() {
    describe_counter!("cti_webhooks_total", "Received webhooks by the result of their request");
    // Findings are written by the server itself.
    let families = [Family::Workflow, Family::Native, Family::Unknown];
    for outcome in WebhookOutcome::VARIANTS {
        for family in families {
            outcome.counter(family).absolute(0);
        }
    }
    describe_histogram!(
        "cti_webhook_ack_seconds",
        Unit::Seconds,
        "Time from a webhook's arrival to its answer"
    );
    let _ = histogram!("cti_webhook_ack_seconds");
    describe_histogram!(
        "cti_webhook_lag_seconds",
        Unit::Seconds,
        "Time from what a webhook reports to its arrival"
    );
    let _ = histogram!("cti_webhook_lag_seconds");
    describe_histogram!(
        "http_request_duration_seconds",
        Unit::Seconds,
        "Time until the answer of an HTTP request begins"
    );
    describe_counter!(
        "cti_connections_refused_total",
        "Connections closed at once because their address has too many"
    );
    counter!("cti_connections_refused_total").absolute(0);
    super::webhooks::canary::register_metrics();
    describe_counter!("cti_rate_limited_total", "Requests refused because their address is over the limit");
    for attempt in Attempt::VARIANTS {
        attempt.rejections().absolute(0);
    }
}
