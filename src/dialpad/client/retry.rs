//! Which questions are asked again after a failure, and after which pause. Time and chance are arguments.

use std::time::Duration;

use reqwest::Method;

use super::{
    DialpadError,
    request::{ApiRequest, Endpoint, Urgency},
};

/// How often anything is asked at most.
const TRIES: u32 = 3;
/// The longest pause after the first try; after each one it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What came of a try, as far as asking again goes.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What is said if it is not asked again.
    pub(crate) error: DialpadError,
    /// Whether Dialpad can't have seen the question.
    pub(crate) unsent: bool,
}

impl From<DialpadError> for Failure {
    fn from(error: DialpadError) -> Self {
        Self { error, unsent: false }
    }
}

/// How long to pause before the question is asked again; none if it is not. `chance` is from 0 to 1: those who
/// failed together must not come back together.
pub(crate) fn pause(
    question: &ApiRequest,
    failure: &Failure,
    tries: u32,
    elapsed: Duration,
    chance: f64,
) -> Option<Duration> {
    if tries >= TRIES || elapsed >= patience(question.urgency) || !may_be_asked_again(question, failure) {
        return None;
    }
    match failure.error {
        // The window is closed for that long: waiting for a place is the pause.
        DialpadError::RateLimited { .. } => Some(Duration::ZERO),
        _ => Some(FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(tries - 1)).mul_f64(chance)),
    }
}

/// For how long a question may begin to be asked again.
fn patience(urgency: Urgency) -> Duration {
    match urgency {
        Urgency::Foreground => Duration::from_secs(5),
        Urgency::Background => Duration::from_secs(30),
    }
}

fn may_be_asked_again(question: &ApiRequest, failure: &Failure) -> bool {
    let may_pass = match failure.error {
        DialpadError::Unreachable(_) | DialpadError::RateLimited { .. } => true,
        DialpadError::Refused(status) => status.is_server_error(),
        // The same question would get the same answer, or none.
        DialpadError::InvalidResponse | DialpadError::CircuitOpen { .. } | DialpadError::NoAccess(_) => false,
    };
    // A telephone that rings twice is worse than an error.
    may_pass
        && question.endpoint != Endpoint::PlaceCall
        && (is_idempotent(&question.method) || failure.unsent)
}

/// Doing it twice is doing it once. Our PATCHes are among them: they set fields to values.
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

    fn is_asked_again(method: Method, endpoint: Endpoint, failure: &Failure) -> bool {
        pause(&ApiRequest::new(endpoint, method, "x"), failure, 1, Duration::ZERO, 1.0).is_some()
    }

    #[test]
    fn what_changes_nothing_is_asked_again_when_that_may_help() {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
            for failure in [failed(500), failed(503), unreachable(false)] {
                assert!(is_asked_again(method.clone(), Endpoint::Webhooks, &failure), "{method} {failure:?}");
            }
            for failure in [failed(400), failed(401), failed(404), DialpadError::InvalidResponse.into()] {
                assert!(
                    !is_asked_again(method.clone(), Endpoint::Webhooks, &failure),
                    "{method} {failure:?}"
                );
            }
        }
    }

    #[test]
    fn what_makes_something_is_asked_again_only_if_it_was_never_sent() {
        assert!(is_asked_again(Method::POST, Endpoint::Webhooks, &unreachable(true)));
        assert!(!is_asked_again(Method::POST, Endpoint::Webhooks, &unreachable(false)));
        assert!(!is_asked_again(Method::POST, Endpoint::Webhooks, &failed(503)));
    }

    #[test]
    fn a_call_is_placed_once() {
        assert!(!is_asked_again(Method::POST, Endpoint::PlaceCall, &unreachable(true)));
    }

    #[test]
    fn tries_and_patience_end() {
        let question = ApiRequest::get(Endpoint::User, "users/me");
        let after = |tries, seconds| {
            pause(&question, &failed(500), tries, Duration::from_secs(seconds), 0.5).map(|it| it.as_millis())
        };
        assert_eq!([after(1, 0), after(2, 0), after(3, 0)], [Some(125), Some(250), None]);
        assert_eq!(after(1, 5), None);
        let patient = question.clone().in_background();
        assert!(pause(&patient, &failed(500), 1, Duration::from_secs(5), 0.5).is_some());
    }
}
