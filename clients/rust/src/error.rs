//! Why a feed can't be followed.

use std::io;

/// The server's address can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's address {problem}")]
pub struct InvalidUrl {
    /// What is wrong with it.
    pub problem: &'static str,
}

/// A subscription asks for what does not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSubscription {
    /// For a snapshot, and for what follows an event.
    #[error(
        "a snapshot does not go together with `after`: it says itself behind which event the feed goes on"
    )]
    SnapshotAfter,
    /// For a snapshot, as a named consumer.
    #[error(
        "a snapshot does not go together with a consumer, which goes on where it stands: read GET /api/calls/active, \
         and let a consumer that is new begin with `after` = its x-cursor"
    )]
    SnapshotOfConsumer,
    /// For a parameter of `/ws` by its name, though the client has to know of it.
    #[error("`{0}` is not to be asked for by its name: the client says it by itself, or has a method for it")]
    OwnParameter(String),
}

/// Why a feed ended for good. Everything else that goes wrong is tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stopped {
    /// The key is wrong: HTTP 401, or close code 4401.
    #[error("not authenticated: {0}")]
    NotAuthenticated(String),
    /// The key was replaced, or the app is switched off: HTTP 403, or close code 4403.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// A newer connection of the consumer took over, or the consumer was deleted: close code 4409. What was not done is
    /// the newer one's.
    #[error("the consumer is not ours any more: {0}")]
    TakenOver(String),
    /// The server does not do what it was asked for.
    #[error("refused with {code}: {reason}")]
    Refused {
        /// The HTTP status, or the close code.
        code: u16,
        /// What the server said.
        reason: String,
    },
    /// The cursor can't be read or kept.
    #[error("the cursor can't be used: {0}")]
    Cursor(#[source] io::Error),
}

impl Stopped {
    /// The one of an HTTP status or of a close code of `/ws`; none where it is worth to come back.
    pub(crate) fn by_code(code: u16, reason: String) -> Option<Self> {
        match code {
            401 | 4401 => Some(Self::NotAuthenticated(reason)),
            403 | 4403 => Some(Self::Forbidden(reason)),
            4409 => Some(Self::TakenOver(reason)),
            // Too slow a client, too many of them, a request that took too long: another time.
            408 | 425 | 429 | 4408 | 4429 => None,
            // The rest is answered alike tomorrow. The codes of the server from 4400 on are HTTP's in another place.
            300..=499 | 1002 | 1009 | 4400..=4499 => Some(Self::Refused { code, reason }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_coming_back_would_not_change_stops() {
        for code in [308, 400, 401, 403, 404, 1002, 1009, 4400, 4401, 4403, 4409] {
            assert!(Stopped::by_code(code, String::new()).is_some(), "{code}");
        }
        for code in [408, 429, 500, 502, 503, 1000, 1001, 1006, 1011, 1012, 4408, 4429] {
            assert!(Stopped::by_code(code, String::new()).is_none(), "{code}");
        }
    }
}
