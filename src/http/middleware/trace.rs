//! The trace of a request: it continues that of its caller (W3C Trace Context), or begins one.

use actix_web::{
    HttpMessage,
    dev::ServiceRequest,
    http::{StatusCode, header::HeaderMap},
};
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{Status, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Span, field};
use tracing_actix_web::RequestId;

use crate::telemetry::traces;

/// Requests of machines that ask every few seconds, and those that no route takes.
const UNTRACED: [&str; 5] = ["/health", "/health/live", "/health/ready", "/metrics", "unknown"];

/// A request that is traced.
pub(super) struct RequestTrace(pub(super) Context);

impl RequestTrace {
    /// Begins with a request. `None` where it is not traced. The address is left out, because it may contain a phone
    /// number; `route` has none.
    pub(super) fn start(request: &ServiceRequest, method: &'static str, route: &str) -> Option<Self> {
        if !traces::is_on() || UNTRACED.contains(&route) {
            return None;
        }
        let caller =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(request.headers()));
        let mut attributes =
            vec![KeyValue::new("http.request.method", method), KeyValue::new("http.route", route.to_owned())];
        if let Some(id) = request.extensions().get::<RequestId>() {
            attributes.push(KeyValue::new("request.id", id.to_string()));
        }
        let context = traces::start_request(format!("{method} {route}"), &caller, attributes);
        if context.span().is_recording() {
            let id = context.span().span_context().trace_id();
            Span::current().record("trace.id", field::display(id));
        }
        Some(Self(context))
    }

    /// Ends with the answer. A request whose client has gone ends without one.
    pub(super) fn end(self, status: StatusCode) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if status.is_server_error() {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(AsRef::as_ref).collect()
    }
}
