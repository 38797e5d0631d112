//! The errors of the client.

use std::io;

/// The server's address can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's address {problem}")]
pub struct InvalidUrl {
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Options of a subscription that can't be combined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSubscription {
    /// A snapshot and `after`.
    #[error("a snapshot can't be combined with `after`: the feed continues after the snapshot's own event")]
    SnapshotWithAfter,
    /// A snapshot and a named consumer.
    #[error(
        "a snapshot can't be combined with a consumer, which resumes from its own cursor: read GET /api/calls/active, \
         and create the consumer with `after` = its x-cursor"
    )]
    SnapshotWithConsumer,
    /// A parameter of `/ws` that the client sets itself.
    #[error("`{0}` can't be set as a parameter: the client sets it, or has a method for it")]
    ReservedParameter(String),
}

/// Why a feed ended. Every other failure is retried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The key is invalid: HTTP 401, or close code 4401.
    #[error("not authenticated: {0}")]
    NotAuthenticated(String),
    /// The key was replaced, or the app is disabled: HTTP 403, or close code 4403.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// A newer connection of the consumer took over, or the consumer was deleted: close code 4409. Events that were not
    /// acknowledged go to the newer connection.
    #[error("the consumer belongs to another connection: {0}")]
    TakenOver(String),
    /// The server refused the request.
    #[error("refused with {code}: {reason}")]
    Refused {
        /// The HTTP status, or the close code.
        code: u16,
        /// The server's reason.
        reason: String,
    },
    /// The cursor can't be loaded or saved.
    #[error("the cursor can't be used: {0}")]
    Cursor(#[source] io::Error),
}

impl FeedError {
    /// Returns the error of an HTTP status or of a close code of `/ws`; `None` if a retry may succeed.
    pub(crate) fn by_code(code: u16, reason: String) -> Option<Self> {
        match code {
            401 | 4401 => Some(Self::NotAuthenticated(reason)),
            403 | 4403 => Some(Self::Forbidden(reason)),
            4409 => Some(Self::TakenOver(reason)),
            // A slow client, a rate limit, a timeout: a retry may succeed.
            408 | 425 | 429 | 4408 | 4429 => None,
            // The rest does not change by itself. The server's close codes from 4400 on correspond to HTTP's.
            300..=499 | 1002 | 1009 | 4400..=4499 => Some(Self::Refused { code, reason }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_that_a_retry_would_not_change_are_errors() {
        for code in [308, 400, 401, 403, 404, 1002, 1009, 4400, 4401, 4403, 4409] {
            assert!(FeedError::by_code(code, String::new()).is_some(), "{code}");
        }
        for code in [408, 429, 500, 502, 503, 1000, 1001, 1006, 1011, 1012, 4408, 4429] {
            assert!(FeedError::by_code(code, String::new()).is_none(), "{code}");
        }
    }
}
