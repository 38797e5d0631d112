//! What became of each request to Dialpad, for the metrics.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use reqwest::StatusCode;

use super::{DialpadError, request::Endpoint};

macro_rules! outcomes {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)*) => {
        /// What became of a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Outcome { $($(#[$doc])* $variant),* }

        impl Outcome {
            /// All of them.
            pub const ALL: &[Outcome] = &[$(Self::$variant),*];

            /// The word in the metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label),* }
            }
        }
    };
}

outcomes! {
    /// It was answered.
    Ok = "ok",
    /// There is no such thing at Dialpad.
    NotFound = "not_found",
    /// The token is not good.
    Unauthorized = "unauthorized",
    /// It was refused for another reason.
    Refused = "refused",
    /// Dialpad takes no more for a while.
    RateLimited = "rate_limited",
    /// Dialpad failed.
    Failed = "failed",
    /// No answer came.
    Unreachable = "unreachable",
    /// What came can't be understood.
    InvalidResponse = "nonsense",
    /// It was not sent: there was no place for it within the limits.
    Throttled = "held_back",
    /// It was not sent: Dialpad keeps failing.
    CircuitOpen = "left_alone",
}

impl Outcome {
    /// What an answer's status says.
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

    pub(crate) fn of_error(error: &DialpadError) -> Self {
        match error {
            DialpadError::Unreachable(_) => Self::Unreachable,
            DialpadError::Refused(status) => Self::of(*status),
            DialpadError::RateLimited { .. } => Self::RateLimited,
            DialpadError::CircuitOpen { .. } => Self::CircuitOpen,
            DialpadError::InvalidResponse => Self::InvalidResponse,
            DialpadError::NoAccess(_) => Self::Unauthorized,
        }
    }

    /// Whether this counts against Dialpad: a refusal is a sensible answer.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Unreachable | Self::InvalidResponse)
    }
}

/// Explains the metrics, and has all of them from the start.
pub(crate) fn describe() {
    describe_counter!(
        "cti_dialpad_requests_total",
        "Requests to Dialpad, by endpoint and by what became of them"
    );
    describe_histogram!(
        "cti_dialpad_request_seconds",
        Unit::Seconds,
        "From a request to Dialpad to its answer"
    );
    for endpoint in Endpoint::ALL {
        for outcome in Outcome::ALL {
            requests(*endpoint, *outcome).absolute(0);
        }
    }
}

/// Counts a request that was not sent.
pub(crate) fn count(endpoint: Endpoint, outcome: Outcome) {
    requests(endpoint, outcome).increment(1);
}

/// Counts a request that was sent.
pub(crate) fn record(endpoint: Endpoint, outcome: Outcome, took: Duration) {
    count(endpoint, outcome);
    histogram!("cti_dialpad_request_seconds", "endpoint" => endpoint.as_str()).record(took);
}

fn requests(endpoint: Endpoint, outcome: Outcome) -> metrics::Counter {
    counter!("cti_dialpad_requests_total", "endpoint" => endpoint.as_str(), "outcome" => outcome.as_str())
}
