//! Which requests are retried after a failure, and after which pause. Time and randomness are arguments.

use std::time::Duration;

use reqwest::Method;

use super::{
    DialpadError,
    request::{ApiRequest, Endpoint, Urgency},
};
use crate::backoff::Backoff;

/// How often a request is sent at most.
const MAX_ATTEMPTS: u32 = 3;
const BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(250), max: Duration::from_secs(1), jitter: 1.0 };

/// A failed attempt.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the caller gets if there is no further attempt.
    pub(crate) error: DialpadError,
    /// Whether Dialpad can't have received the request.
    pub(crate) unsent: bool,
}

impl From<DialpadError> for Failure {
    fn from(error: DialpadError) -> Self {
        Self { error, unsent: false }
    }
}

/// Returns the pause before the next attempt; `None` if there is none. `attempt` counts from 1, `random` is from 0
/// to 1.
pub(crate) fn pause(
    request: &ApiRequest,
    failure: &Failure,
    attempt: u32,
    elapsed: Duration,
    random: f64,
) -> Option<Duration> {
    if attempt >= MAX_ATTEMPTS || elapsed >= retry_timeout(request.urgency) || !may_retry(request, failure) {
        return None;
    }
    match failure.error {
        // The rate limit is closed for as long as Dialpad wants, and the next attempt waits for it.
        DialpadError::RateLimited { .. } => Some(Duration::ZERO),
        _ => Some(BACKOFF.pause(attempt, random)),
    }
}

/// Returns the time from the first attempt within which another one may begin.
fn retry_timeout(urgency: Urgency) -> Duration {
    match urgency {
        Urgency::Foreground => Duration::from_secs(5),
        Urgency::Background => Duration::from_secs(30),
    }
}

fn may_retry(request: &ApiRequest, failure: &Failure) -> bool {
    let may_pass = match failure.error {
        DialpadError::Unreachable(_) | DialpadError::RateLimited { .. } => true,
        DialpadError::Refused(status) => status.is_server_error(),
        // The same request would get the same answer, or none.
        DialpadError::InvalidResponse | DialpadError::CircuitOpen { .. } | DialpadError::NoAccess(_) => false,
    };
    // A telephone that rings twice is worse than an error.
    may_pass && request.endpoint != Endpoint::PlaceCall && (is_idempotent(&request.method) || failure.unsent)
}

/// Returns whether a repetition changes nothing (RFC 9110, section 9.2.2). The PATCH requests that are sent here are
/// idempotent too: they set fields to values.
fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::PUT, Method::DELETE, Method::PATCH].contains(method)
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn failed(status: u16) -> Failure {
        DialpadError::Refused(StatusCode::from_u16(status).expect("a status")).into()
    }

    fn unreachable(unsent: bool) -> Failure {
        Failure { error: DialpadError::Unreachable("Connection failed".into()), unsent }
    }

    fn is_retried(method: Method, endpoint: Endpoint, failure: &Failure) -> bool {
        pause(&ApiRequest::new(endpoint, method, "x"), failure, 1, Duration::ZERO, 1.0).is_some()
    }

    #[test]
    fn an_idempotent_request_is_retried_when_that_may_help() {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
            for failure in [failed(500), failed(503), unreachable(false)] {
                assert!(is_retried(method.clone(), Endpoint::Webhooks, &failure), "{method} {failure:?}");
            }
            for failure in [failed(400), failed(401), failed(404), DialpadError::InvalidResponse.into()] {
                assert!(!is_retried(method.clone(), Endpoint::Webhooks, &failure), "{method} {failure:?}");
            }
        }
    }

    #[test]
    fn a_creation_is_retried_only_if_it_was_never_sent() {
        assert!(is_retried(Method::POST, Endpoint::Webhooks, &unreachable(true)));
        assert!(!is_retried(Method::POST, Endpoint::Webhooks, &unreachable(false)));
        assert!(!is_retried(Method::POST, Endpoint::Webhooks, &failed(503)));
    }

    #[test]
    fn a_call_is_placed_at_most_once() {
        assert!(!is_retried(Method::POST, Endpoint::PlaceCall, &unreachable(true)));
    }

    #[test]
    fn attempts_and_time_are_limited() {
        let request = ApiRequest::get(Endpoint::User, "users/me");
        let after = |attempt, seconds| {
            pause(&request, &failed(500), attempt, Duration::from_secs(seconds), 0.5)
                .map(|pause| pause.as_millis())
        };
        assert_eq!([after(1, 0), after(2, 0), after(3, 0)], [Some(125), Some(250), None]);
        assert_eq!(after(1, 5), None);
        let in_background = request.clone().in_background();
        assert!(pause(&in_background, &failed(500), 1, Duration::from_secs(5), 0.5).is_some());
    }
}
