//! The metrics of requests to Dialpad.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use reqwest::StatusCode;
use strum::{IntoStaticStr, VariantArray};

use super::{DialpadError, request::Endpoint};
use crate::telemetry::traces;

/// The result of a request; the `outcome` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// Answered.
    Ok,
    /// Dialpad has no such object (404).
    NotFound,
    /// The token is not accepted (401).
    Unauthorized,
    /// Another status that is no success.
    Refused,
    /// Dialpad's rate limit is reached (429).
    RateLimited,
    /// A 5xx.
    Failed,
    /// No answer.
    Unreachable,
    /// The answer could not be parsed.
    InvalidResponse,
    /// Not sent: no room within Dialpad's rate limits.
    Throttled,
    /// Not sent: the circuit breaker is open.
    CircuitOpen,
}

impl Outcome {
    /// Returns what the status of an answer means.
    #[must_use]
    pub fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited,
            status if status.is_success() => Self::Ok,
            status if status.is_server_error() => Self::Failed,
            _ => Self::Refused,
        }
    }

    pub(super) fn of_error(error: &DialpadError) -> Self {
        match error {
            DialpadError::Unreachable(_) => Self::Unreachable,
            DialpadError::Refused(status) => Self::of(*status),
            DialpadError::RateLimited { .. } => Self::RateLimited,
            DialpadError::CircuitOpen { .. } => Self::CircuitOpen,
            DialpadError::InvalidResponse => Self::InvalidResponse,
            DialpadError::NoAccess(_) => Self::Unauthorized,
        }
    }

    /// Returns the label in the metrics and the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns whether it counts towards the circuit breaker. A refusal does not: Dialpad works.
    pub(super) fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Unreachable | Self::InvalidResponse)
    }
}

/// Registers the metrics, every series with 0.
pub(crate) fn register_metrics() {
    describe_counter!(
        "cti_dialpad_requests_total",
        "Requests to Dialpad, including those that were not sent"
    );
    describe_histogram!(
        "cti_dialpad_request_seconds",
        Unit::Seconds,
        "Time from a request to Dialpad to its answer"
    );
    for endpoint in Endpoint::VARIANTS {
        for outcome in Outcome::VARIANTS {
            requests(*endpoint, *outcome).absolute(0);
        }
    }
}

/// Counts a request that was not sent.
pub(super) fn count(endpoint: Endpoint, outcome: Outcome) {
    requests(endpoint, outcome).increment(1);
}

/// Counts a request that was sent, and how long its answer took.
pub(super) fn record(endpoint: Endpoint, outcome: Outcome, duration: Duration) {
    count(endpoint, outcome);
    traces::record_dialpad_request(endpoint.as_str(), outcome.as_str(), outcome.is_failure(), duration);
    histogram!("cti_dialpad_request_seconds", "endpoint" => endpoint.as_str()).record(duration);
}

fn requests(endpoint: Endpoint, outcome: Outcome) -> metrics::Counter {
    counter!("cti_dialpad_requests_total", "endpoint" => endpoint.as_str(), "outcome" => outcome.as_str())
}
