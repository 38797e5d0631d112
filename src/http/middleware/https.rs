//! HTTPS in production. Whether a client used it is what the proxy in front says (`X-Forwarded-Proto`).

use actix_web::{
    Error, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use reqwest::Url;

use crate::{
    config::Environment,
    http::{
        early::EarlyState,
        error::{ApiError, ErrorCode},
        state::AppState,
    },
};

const FOR_ONE_YEAR: &str = "max-age=31536000; includeSubDomains";

/// Redirects plain HTTP to HTTPS in production, refuses it where a redirect would lose the body, and announces HTTPS to
/// browsers (RFC 6797).
///
/// # Errors
/// Those of the inner services.
pub(crate) async fn require_https<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let (environment, public_url) = settings(&request);
    if environment != Environment::Production {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    if is_plain_http(&request) && !is_monitoring(request.path()) {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let refused = ApiError::new(ErrorCode::HttpsRequired, "Use https to reach this server");
            return Ok(request.error_response(refused));
        }
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let location = format!("{}{path}", public_url.as_str().trim_end_matches('/'));
        let moved = HttpResponse::PermanentRedirect().insert_header((header::LOCATION, location)).finish();
        return Ok(request.into_response(moved));
    }
    let mut answer = next.call(request).await?.map_into_boxed_body();
    let policy = HeaderValue::from_static(FOR_ONE_YEAR);
    answer.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, policy);
    Ok(answer)
}

/// Returns the environment, and the address at which clients reach the server.
fn settings(request: &ServiceRequest) -> (Environment, &Url) {
    if let Some(state) = request.app_data::<Data<AppState>>() {
        return (state.config.environment, &state.public_url);
    }
    let early = request.app_data::<Data<EarlyState>>().expect("every route has the shared state");
    (early.config.environment, &early.public_url)
}

fn is_plain_http(request: &ServiceRequest) -> bool {
    let forwarded = request.headers().get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    // Of several proxies, the first one saw the client.
    let first = forwarded.and_then(|protocols| protocols.split(',').next());
    first.is_some_and(|protocol| protocol.trim().eq_ignore_ascii_case("http"))
}

/// Load balancers and monitors inside the network use plain HTTP.
fn is_monitoring(path: &str) -> bool {
    path == "/health" || path.starts_with("/health/") || path == "/metrics"
}
