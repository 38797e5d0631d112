//! Answers that are not the truth: what a platform says on a bad day.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, RETRY_AFTER};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Which kind of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointGroup {
    /// `/oauth2/token`.
    Token,
    /// `/api/v2/…`.
    Api,
    /// Links to recordings, and what they lead to.
    Media,
}

impl EndpointGroup {
    /// The group of a path, unless it is one that nothing goes wrong with.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
        if path == "/oauth2/token" {
            Some(Self::Token)
        } else if begins(&["/api/v2/"]) {
            Some(Self::Api)
        } else if begins(&["/r/", "/secureblob/", "/blob-server/"]) {
            Some(Self::Media)
        } else {
            None
        }
    }
}

/// A wrong answer to some of the next requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextAnswer {
    /// Which requests.
    pub to: EndpointGroup,
    /// Only those of one endpoint, as `METHOD /its/{pattern}`.
    #[serde(default)]
    pub only: Option<String>,
    /// What they are answered.
    pub answer: FaultAnswer,
    /// How many of them; none (`null`) is all, until the switch is set back.
    #[serde(default = "once")]
    pub times: Option<u32>,
    /// The value of `Retry-After`, seconds or a date; none leaves the header out.
    #[serde(default)]
    pub retry_after: Option<String>,
    /// Whether the request is carried out all the same, and only its answer lost.
    #[serde(default)]
    pub takes_effect: bool,
}

fn once() -> Option<u32> {
    Some(1)
}

/// What is said instead of the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultAnswer {
    /// 500.
    ServerError,
    /// 503.
    Unavailable,
    /// 429.
    TooManyRequests,
    /// 401, as for a token that is not known.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 400 with OAuth's `invalid_grant`.
    InvalidGrant,
    /// 200 and a page.
    Html,
    /// 200 and a JSON object with nothing in it.
    Empty,
    /// Nothing: the connection is reset.
    Reset,
}

impl NextAnswer {
    /// Takes the first answer that is meant for this request out of what is to come.
    pub(crate) fn take(pending: &mut Vec<Self>, group: EndpointGroup, endpoint: &str) -> Option<Self> {
        let meant = |next: &Self| {
            next.to == group
                && next.only.as_deref().is_none_or(|only| only == endpoint)
                && next.times != Some(0)
        };
        let index = pending.iter().position(meant)?;
        let taken = pending[index].clone();
        if let Some(times) = &mut pending[index].times {
            *times -= 1;
            if *times == 0 {
                pending.remove(index);
            }
        }
        Some(taken)
    }

    /// The answer; none where there is none.
    pub(crate) fn render(&self) -> Option<HttpResponse> {
        let problem = |status: StatusCode, reason: &str| {
            let error =
                json!({"code": status.as_u16(), "message": "on purpose", "errors": [{"reason": reason}]});
            HttpResponse::build(status).json(json!({"error": error}))
        };
        let mut reply = match self.answer {
            FaultAnswer::ServerError => problem(StatusCode::INTERNAL_SERVER_ERROR, "backendError"),
            FaultAnswer::Unavailable => problem(StatusCode::SERVICE_UNAVAILABLE, "backendError"),
            FaultAnswer::TooManyRequests => problem(StatusCode::TOO_MANY_REQUESTS, "rateLimitExceeded"),
            FaultAnswer::Unauthorized => problem(StatusCode::UNAUTHORIZED, "authError"),
            FaultAnswer::Forbidden => problem(StatusCode::FORBIDDEN, "forbidden"),
            FaultAnswer::NotFound => problem(StatusCode::NOT_FOUND, "notFound"),
            FaultAnswer::InvalidGrant => HttpResponse::BadRequest()
                .json(json!({"error": "invalid_grant", "error_description": "on purpose"})),
            FaultAnswer::Html => HttpResponse::Ok()
                .content_type(ContentType::html())
                .body("<!doctype html><title>Dialpad</title><h1>We will be right back</h1>"),
            FaultAnswer::Empty => HttpResponse::Ok().json(json!({})),
            FaultAnswer::Reset => return None,
        };
        if let Some(value) = self.retry_after.as_deref().and_then(|value| value.parse().ok()) {
            reply.headers_mut().insert(RETRY_AFTER, value);
        }
        Some(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(to: EndpointGroup, only: Option<&str>, times: Option<u32>) -> NextAnswer {
        NextAnswer {
            to,
            only: only.map(str::to_owned),
            answer: FaultAnswer::Html,
            times,
            retry_after: None,
            takes_effect: false,
        }
    }

    #[test]
    fn answers_are_used_up_in_their_order_by_the_requests_they_are_meant_for() {
        let mut pending = vec![
            next(EndpointGroup::Api, Some("POST /api/v2/call"), Some(1)),
            next(EndpointGroup::Api, None, Some(2)),
        ];
        let mut take = |group, endpoint| NextAnswer::take(&mut pending, group, endpoint).is_some();
        assert!(!take(EndpointGroup::Token, "POST /oauth2/token"));
        assert!(take(EndpointGroup::Api, "GET /api/v2/company"));
        assert!(take(EndpointGroup::Api, "POST /api/v2/call"));
        assert!(take(EndpointGroup::Api, "POST /api/v2/call"));
        assert!(!take(EndpointGroup::Api, "POST /api/v2/call"));
        assert_eq!(pending, []);
    }

    #[test]
    fn an_endless_answer_stays() {
        let mut pending = vec![next(EndpointGroup::Media, None, None)];
        for _ in 0..3 {
            assert!(NextAnswer::take(&mut pending, EndpointGroup::Media, "GET /r/{id}").is_some());
        }
    }
}
