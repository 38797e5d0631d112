//! Why a request to Dialpad failed.

use std::time::Duration;

use chrono::DateTime;
use reqwest::{
    StatusCode,
    header::{DATE, HeaderMap, RETRY_AFTER},
};
use thiserror::Error;

use crate::dialpad::oauth::access::NoAccess;

/// Why Dialpad did not do what was requested.
#[derive(Clone, Debug, Error)]
pub enum DialpadError {
    /// There was no answer.
    #[error("Dialpad can't be reached: {0}")]
    Unreachable(String),
    /// The answer has a status that is no success.
    #[error("Dialpad answered {0}")]
    Refused(StatusCode),
    /// Dialpad answered 429, or the request was not sent because Dialpad would have.
    #[error("Dialpad's rate limit is reached; retry in {} s", whole_seconds(*retry_after))]
    RateLimited {
        /// After which time to retry.
        retry_after: Duration,
    },
    /// The request was not sent: Dialpad keeps failing.
    #[error("Dialpad keeps failing; requests are sent again in {} s", whole_seconds(*retry_after))]
    CircuitOpen {
        /// After which time to retry.
        retry_after: Duration,
    },
    /// The answer could not be parsed.
    #[error("Dialpad's answer can't be parsed")]
    InvalidResponse,
    /// The app has no valid token.
    #[error(transparent)]
    NoAccess(#[from] NoAccess),
}

impl From<reqwest::Error> for DialpadError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_decode() { Self::InvalidResponse } else { Self::Unreachable(short_reason(&error)) }
    }
}

/// Rounds up to whole seconds.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// The only reason with which a request can't have reached Dialpad.
pub(crate) const NEVER_CONNECTED: &str = "Connection failed";

/// Describes an error without its URL, which may contain a secret.
pub(crate) fn short_reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "Connection timeout".into()
    } else if error.is_connect() {
        NEVER_CONNECTED.into()
    } else {
        "The connection broke".into()
    }
}

/// Returns how long a 429 asks to wait, from 1 s to 1 h. `Retry-After` is a number of seconds or a date (RFC 9110,
/// section 10.2.3); without it, 1 s.
pub(crate) fn retry_after(headers: &HeaderMap) -> Duration {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let date = |name| text(name).and_then(|text| DateTime::parse_from_rfc2822(text).ok());
    let seconds = text(RETRY_AFTER).and_then(|text| text.parse::<u64>().ok()).or_else(|| {
        // By Dialpad's clock, which may differ from ours.
        let wait = date(RETRY_AFTER)? - date(DATE)?;
        u64::try_from(wait.num_seconds()).ok()
    });
    Duration::from_secs(seconds.unwrap_or(1).clamp(1, 3600))
}
