//! Faulty answers, as a platform gives them during an outage.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, RETRY_AFTER};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A group of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointGroup {
    /// `/oauth2/token`.
    Token,
    /// `/api/v2/…`.
    Api,
    /// Links to recordings and their redirects.
    Media,
}

impl EndpointGroup {
    /// Returns the group of a path; `None` for paths without faults.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let starts_with_any = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
        if path == "/oauth2/token" {
            Some(Self::Token)
        } else if starts_with_any(&["/api/v2/"]) {
            Some(Self::Api)
        } else if starts_with_any(&["/r/", "/secureblob/", "/blob-server/"]) {
            Some(Self::Media)
        } else {
            None
        }
    }
}

/// A faulty answer to some of the next requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextAnswer {
    /// The endpoints that it applies to.
    pub to: EndpointGroup,
    /// Only one endpoint, as `METHOD /its/{pattern}`.
    #[serde(default)]
    pub only: Option<String>,
    /// The answer.
    pub answer: FaultAnswer,
    /// How many requests; `None` (`null`): all, until the switch is reset.
    #[serde(default = "once")]
    pub times: Option<u32>,
    /// The value of `Retry-After`, seconds or a date; `None` leaves the header out.
    #[serde(default)]
    pub retry_after: Option<String>,
    /// Whether the request takes effect and only its answer is lost.
    #[serde(default)]
    pub takes_effect: bool,
}

fn once() -> Option<u32> {
    Some(1)
}

/// A faulty answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultAnswer {
    /// 500.
    ServerError,
    /// 503.
    Unavailable,
    /// 429.
    TooManyRequests,
    /// 401, as for an unknown token.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 400 with OAuth's `invalid_grant`.
    InvalidGrant,
    /// 200 and an HTML page.
    Html,
    /// 200 and an empty JSON object.
    Empty,
    /// No answer: the connection is reset.
    Reset,
}

impl NextAnswer {
    /// Takes the first pending answer that applies to a request.
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

    /// Renders the answer; `None` resets the connection.
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
    fn answers_are_used_in_order_by_the_requests_they_apply_to() {
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
    fn an_answer_without_a_count_stays() {
        let mut pending = vec![next(EndpointGroup::Media, None, None)];
        for _ in 0..3 {
            assert!(NextAnswer::take(&mut pending, EndpointGroup::Media, "GET /r/{id}").is_some());
        }
    }
}
