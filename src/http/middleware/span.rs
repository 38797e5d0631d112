//! The log span of a request, and its id.

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
};
use tracing::{Span, field::Empty, info_span};
use tracing_actix_web::{RequestId, RootSpanBuilder};

/// Builds the span of a request. The span has the path without the query, which may hold a key or a code.
pub(crate) struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let id = request_id(request.request());
        let (method, path) = (request.method(), request.path());
        if path.starts_with("/webhooks") {
            return info_span!(
                "webhook", %method, path, request.id = id, webhook.id = Empty, trace.id = Empty
            );
        }
        info_span!("request", %method, path, request.id = id, trace.id = Empty)
    }

    fn on_request_end<B: MessageBody>(_: Span, _: &Result<ServiceResponse<B>, Error>) {}
}

/// Returns the id under which the log has a request.
pub(crate) fn request_id(request: &HttpRequest) -> Option<String> {
    request.extensions().get::<RequestId>().map(ToString::to_string)
}
