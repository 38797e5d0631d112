//! Pages of other origins (the Fetch standard, "CORS protocol"): which of them may read the answers of `/api`. A page
//! authenticates with a key that it sends itself, so credentials of the browser are never allowed.

use std::fmt;

use actix_web::{
    Error, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
    middleware::Next,
    web::Data,
};

use crate::{
    config::CorsOrigins,
    http::{answers_head, route_table, state::AppState},
};

/// The headers of answers that a page may read.
const EXPOSED_HEADERS: &str = "link, x-cursor, x-epoch, retry-after";
/// The headers that a page may send.
const ALLOWED_HEADERS: &str = "x-api-key, authorization, content-type, idempotency-key, last-event-id";
/// For how many seconds a browser remembers the answer to a preflight request.
const MAX_AGE: &str = "600";

/// Lets pages of the configured origins read the answers, errors included.
///
/// # Errors
/// Those of the inner services.
pub(crate) async fn share_with_origins<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let grant = Grant::of(&request);
    match next.call(request).await {
        Ok(mut answer) => {
            grant.write(answer.headers_mut());
            Ok(answer)
        }
        Err(error) => Err(SharedError { error, grant }.into()),
    }
}

/// Answers the preflight requests of browsers.
///
/// # Errors
/// Those of the inner services.
pub(crate) async fn answer_preflight<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let is_preflight = *request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && Grant::of(&request).origin.is_some();
    let route = if is_preflight { request.match_pattern() } else { None };
    let Some(methods) = route.and_then(|route| methods_of(&route)) else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let answer = HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, methods))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE))
        .finish();
    Ok(request.into_response(answer))
}

/// Returns the methods of a route, as a header has them.
fn methods_of(route: &str) -> Option<String> {
    let (path, methods) = route_table().find(|(path, _)| *path == route)?;
    let head = answers_head(path, methods).then_some("head");
    let methods: Vec<&str> = methods.iter().copied().chain(head).collect();
    Some(methods.join(", ").to_ascii_uppercase())
}

/// What the answer to a request says about origins.
#[derive(Debug)]
struct Grant {
    /// `Access-Control-Allow-Origin`, if the request's origin is allowed.
    origin: Option<HeaderValue>,
    /// Whether the answer depends on the origin, so that a cache must not give it to another one.
    varies: bool,
}

impl Grant {
    fn of(request: &ServiceRequest) -> Self {
        let state = request.app_data::<Data<AppState>>().expect("every route has the shared state");
        let origins = &state.config.cors_origins;
        let path = request.path();
        if *origins == CorsOrigins::None || !(path == "/api" || path.starts_with("/api/")) {
            return Self { origin: None, varies: false };
        }
        let origin = request.headers().get(header::ORIGIN);
        match origins {
            CorsOrigins::None => Self { origin: None, varies: false },
            CorsOrigins::Any => Self { origin: origin.map(|_| HeaderValue::from_static("*")), varies: false },
            CorsOrigins::Listed(list) => {
                let is_listed = |origin: &&HeaderValue| list.iter().any(|listed| *listed == **origin);
                Self { origin: origin.filter(is_listed).cloned(), varies: true }
            }
        }
    }

    fn write(&self, headers: &mut HeaderMap) {
        if self.varies {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = &self.origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            let exposed = HeaderValue::from_static(EXPOSED_HEADERS);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
}

/// An error whose answer a page may read.
#[derive(Debug)]
struct SharedError {
    error: Error,
    grant: Grant,
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for SharedError {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut answer = self.error.as_response_error().error_response();
        self.grant.write(answer.headers_mut());
        answer
    }
}
