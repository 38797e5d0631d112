//! Measures and traces every request, and gives every error answer the one form that errors have.

use std::time::Instant;

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, header},
    middleware::Next,
};
use metrics::histogram;
use opentelemetry::trace::FutureExt;

use super::{span::request_id, trace::RequestTrace};
use crate::http::error::{ApiError, ErrorCode};

/// Records the duration of a request, and rewrites its error, if it has one.
///
/// # Errors
/// Those of the inner services.
pub(crate) async fn observe<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let method = method_label(request.method());
    let route = request.match_pattern().unwrap_or_else(|| "unknown".to_owned());
    let trace = RequestTrace::start(&request, method, &route);
    let answer = match &trace {
        Some(trace) => next.call(request).with_context(trace.0.clone()).await,
        None => next.call(request).await,
    };
    let status = match &answer {
        Ok(answer) => answer.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    if let Some(trace) = trace {
        trace.end(status);
    }
    let labels = [("method", method.to_owned()), ("route", route), ("status", status.as_str().to_owned())];
    histogram!("http_request_duration_seconds", &labels).record(started.elapsed());

    let answer = answer?.map_into_boxed_body();
    if status.is_client_error() || status.is_server_error() {
        return Ok(with_error_body(answer));
    }
    Ok(answer)
}

/// Returns the method as a metric label. Clients can send any method, and a label must have few values.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Writes the body of an error answer: from our own error, or from the status that a library answered with. Headers
/// that do not describe the body are kept.
fn with_error_body(answer: ServiceResponse) -> ServiceResponse {
    let request_id = request_id(answer.request());
    let ours = answer.response().error().and_then(|error| error.as_error::<ApiError>());
    let mut rewritten = match ours {
        Some(error) => error.answer(request_id.as_deref()),
        None if has_own_body(&answer) => return answer,
        None => {
            let message = answer.response().error().map(ToString::to_string);
            from_status(answer.status(), message).answer(request_id.as_deref())
        }
    };
    let of_the_body = [header::CONTENT_TYPE, header::CONTENT_LENGTH];
    for (name, value) in answer.headers().iter().filter(|(name, _)| !of_the_body.contains(name)) {
        rewritten.headers_mut().insert(name.clone(), value.clone());
    }
    answer.into_response(rewritten)
}

/// Returns whether an answer has a body for its client: JSON, or a page of the console.
fn has_own_body(answer: &ServiceResponse) -> bool {
    let content_type = answer.headers().get(header::CONTENT_TYPE);
    let starts_with = |start: &[u8]| content_type.is_some_and(|value| value.as_bytes().starts_with(start));
    starts_with(b"application/json") || starts_with(b"text/html")
}

fn from_status(status: StatusCode, message: Option<String>) -> ApiError {
    match status {
        StatusCode::NOT_FOUND => ApiError::new(ErrorCode::NotFound, "Not found"),
        StatusCode::METHOD_NOT_ALLOWED => {
            ApiError::new(ErrorCode::MethodNotAllowed, "This address does not accept the method")
        }
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(ErrorCode::PayloadTooLarge, "The body is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ApiError::new(ErrorCode::UnsupportedMediaType, "The type of the body is not supported")
        }
        status if status.is_client_error() => {
            ApiError::invalid(message.unwrap_or_else(|| "The request can't be parsed".to_owned()))
        }
        _ => ApiError::internal(),
    }
}
