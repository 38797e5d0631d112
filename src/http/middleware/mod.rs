//! Around every request: its id and its span in the log, its duration in the metrics, and one shape for errors.

pub(crate) mod rate_limit;
pub(crate) mod tcp_timeout;

use std::{panic::AssertUnwindSafe, time::Instant};

use actix_web::{
    Error, HttpMessage, HttpResponse, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, header},
    middleware::Next,
    web::Data,
};
use futures_util::FutureExt;
use metrics::histogram;
use thiserror::Error;
use tracing::Span;
use tracing_actix_web::{RequestId, RootSpanBuilder};

use super::AppState;
use crate::{
    config::Environment,
    http::error::{ApiError, ErrorCode},
};

/// The span of a request. Its address is logged without the query, which may hold a key or a code.
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let id = request.extensions().get::<RequestId>().map(ToString::to_string);
        tracing::info_span!("request", method = %request.method(), path = request.path(), request.id = id)
    }

    fn on_request_end<B: MessageBody>(_: Span, _: &Result<ServiceResponse<B>, Error>) {}
}

/// Measures a request and gives its error, if it has one, the shape that every error has.
///
/// # Errors
/// Those of the services behind it.
pub async fn observe<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let began = Instant::now();
    let method = known_method(request.method());
    let route = request.match_pattern().unwrap_or_else(|| "unknown".to_owned());
    let answer = next.call(request).await;
    let status = match &answer {
        Ok(answer) => answer.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let labels = [("method", method.to_owned()), ("route", route), ("status", status.as_str().to_owned())];
    histogram!("http_request_duration_seconds", &labels).record(began.elapsed());

    let answer = answer?.map_into_boxed_body();
    if status.is_client_error() || status.is_server_error() {
        return Ok(in_shape(answer));
    }
    Ok(answer)
}

/// A request on which a handler panicked. Its client is told nothing but how to ask for it.
#[derive(Debug, Error)]
#[error("a handler panicked")]
struct Panicked {
    request_id: Option<String>,
}

impl ResponseError for Panicked {
    fn status_code(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }

    fn error_response(&self) -> HttpResponse {
        ApiError::new(ErrorCode::Internal, "Something went wrong on our side")
            .answer(self.request_id.as_deref())
    }
}

/// Answers for a handler that panics. That is a bug, and it must cost nobody else anything.
///
/// # Errors
/// Those of the services behind it, and the panic of one.
pub async fn catch_panics<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let request_id = request.extensions().get::<RequestId>().map(ToString::to_string);
    // What the handler was at is dropped; whatever it shares with others must stand a handler that stops anywhere.
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(answer) => answer,
        Err(panic) => {
            let words = panic.downcast_ref::<&str>().copied();
            let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            tracing::error!(panic = words.unwrap_or("without words"), "a handler panicked");
            Err(Panicked { request_id }.into())
        }
    }
}

/// In production, sends those who came over plain http to https, and tells browsers to come that way from now on.
/// Who came how is what the proxy in front says.
///
/// # Errors
/// Those of the services behind it.
pub async fn insist_on_https<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let shared = request.app_data::<Data<AppState>>().expect("every route has the shared state");
    if shared.config.environment != Environment::Production {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let forwarded = request.headers().get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    // Of several proxies, the first one saw the client.
    let plain = forwarded
        .and_then(|it| it.split(',').next())
        .is_some_and(|it| it.trim().eq_ignore_ascii_case("http"));
    let watched =
        request.path() == "/health" || request.path().starts_with("/health/") || request.path() == "/metrics";
    if plain && !watched {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let refused = ApiError::new(ErrorCode::HttpsRequired, "This server is to be reached over https");
            return Ok(request.error_response(refused));
        }
        let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
        let location = format!("{}{path}", shared.public_url.as_str().trim_end_matches('/'));
        let moved = HttpResponse::PermanentRedirect().insert_header((header::LOCATION, location)).finish();
        return Ok(request.into_response(moved));
    }
    let mut answer = next.call(request).await?.map_into_boxed_body();
    let for_a_year = header::HeaderValue::from_static("max-age=31536000; includeSubDomains");
    answer.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, for_a_year);
    Ok(answer)
}

/// A label has few values, whatever a client makes up.
fn known_method(method: &Method) -> &'static str {
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

/// Puts an error answer into words: ours as it is, a library's by its status.
fn in_shape(answer: ServiceResponse) -> ServiceResponse {
    let request_id = answer.request().extensions().get::<RequestId>().map(ToString::to_string);
    let ours = answer.response().error().and_then(|error| error.as_error::<ApiError>());
    let shaped = match ours {
        Some(error) => error.answer(request_id.as_deref()),
        None if is_json(&answer) => return answer,
        None => {
            let said = answer.response().error().map(ToString::to_string);
            by_status(answer.status(), said).answer(request_id.as_deref())
        }
    };
    let mut shaped = shaped;
    // Only the body is put into words anew; what else was said stays.
    let of_the_body = [header::CONTENT_TYPE, header::CONTENT_LENGTH];
    for (name, value) in answer.headers().iter().filter(|(name, _)| !of_the_body.contains(name)) {
        shaped.headers_mut().insert(name.clone(), value.clone());
    }
    answer.into_response(shaped)
}

fn is_json(answer: &ServiceResponse) -> bool {
    let content_type = answer.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|it| it.as_bytes().starts_with(b"application/json"))
}

fn by_status(status: StatusCode, said: Option<String>) -> ApiError {
    match status {
        StatusCode::NOT_FOUND => ApiError::new(ErrorCode::NotFound, "Not found"),
        StatusCode::METHOD_NOT_ALLOWED => {
            ApiError::new(ErrorCode::MethodNotAllowed, "This address does not take that method")
        }
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(ErrorCode::PayloadTooLarge, "The body is too big"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ApiError::new(ErrorCode::UnsupportedMediaType, "The body has a type that is not understood")
        }
        status if status.is_client_error() => {
            ApiError::invalid(said.unwrap_or_else(|| "The request can't be understood".to_owned()))
        }
        _ => ApiError::new(ErrorCode::Internal, "Something went wrong on our side"),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{App, HttpServer, middleware::from_fn, rt, web};
    use serde_json::Value;
    use tracing_actix_web::TracingLogger;

    use super::*;

    async fn breaks() -> HttpResponse {
        panic!("a secret that nobody must see")
    }

    #[actix_web::test]
    async fn a_panic_is_answered_with_its_request_id_and_hurts_nobody_else() {
        let app = || {
            App::new()
                .route("/breaks", web::get().to(breaks))
                .route("/works", web::get().to(|| async { "yes" }))
                .wrap(from_fn(catch_panics))
                .wrap(from_fn(observe))
                .wrap(TracingLogger::<RequestSpan>::new())
        };
        let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").expect("a port");
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        rt::spawn(server);
        // One connection, one worker: if the panic had cost either, the next answers would not come.
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(1).build().expect("a client");
        let mut ids = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let broken = http.get(format!("http://{address}/breaks")).send().await.expect("an answer");
            assert_eq!(broken.status(), 500);
            let body: Value = serde_json::from_str(&broken.text().await.expect("a body")).expect("JSON");
            assert_eq!(body["code"], "INTERNAL_ERROR");
            assert!(!body.to_string().contains("secret"), "{body}");
            ids.insert(body["request_id"].as_str().expect("a request id").to_owned());
            assert_eq!(body.as_object().expect("an object").len(), 3, "{body}");
            let works = http.get(format!("http://{address}/works")).send().await.expect("an answer");
            assert_eq!(works.text().await.expect("a body"), "yes");
        }
        assert_eq!(ids.len(), 3);
        handle.stop(true).await;
    }
}
