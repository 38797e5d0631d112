//! Traces, exported with OTLP over HTTP: a webhook from its request through the unit of work that processes it to the
//! sessions that get its events, and every other request with its requests to Dialpad.
//!
//! Off unless `OTLP_ENDPOINT` is set. Then nothing is recorded and nothing allocated: each step asks one flag, or whether
//! its webhook has a trace. The engine's part is in `cti_actors::trace`.

mod client;
mod export;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use metrics::{Counter, counter, describe_counter};
use opentelemetry::{
    Context, Key, KeyValue, global,
    trace::{FutureExt, Span, SpanContext, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider, SpanExporter as _},
};
use reqwest::Url;
use strum::{IntoStaticStr, VariantArray};

use self::client::Client;
pub(crate) use self::export::Export;
use crate::config::OtlpConfig;

/// How long one attempt to export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Where traces are received, below the endpoint.
const PATH: &str = "v1/traces";
const NAME: &str = "cti-server";
/// What the library calls a service that nobody has named.
const UNNAMED: &str = "unknown_service";

static IS_ON: AtomicBool = AtomicBool::new(false);

/// Starts to record and to export. Must be called within the runtime that is to send the spans.
///
/// # Errors
/// The exporter can't be set up, in one sentence.
pub(crate) fn start(config: &OtlpConfig) -> Result<Export, String> {
    let client = Client::new(EXPORT_TIMEOUT).map_err(|error| error.to_string())?;
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        // The library would sleep on this thread between its attempts.
        .with_retry_policy(RetryPolicy::disabled())
        .with_endpoint(traces_url(&config.endpoint))
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| error.to_string())?;
    let resource = resource();
    exporter.set_resource(&resource);
    let (queue, export) = export::start(exporter);
    let provider = SdkTracerProvider::builder()
        .with_span_processor(queue)
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample_ratio))))
        .build();
    global::set_tracer_provider(provider);
    IS_ON.store(true, Ordering::Relaxed);
    Ok(export)
}

/// Describes this server. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say more of it, or something else.
fn resource() -> Resource {
    let named = Resource::builder().build();
    let name = named.get(&Key::from_static_str("service.name"));
    let is_named = name.is_some_and(|name| !name.as_str().starts_with(UNNAMED));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let builder = Resource::builder().with_attribute(version);
    if is_named { builder.build() } else { builder.with_service_name(NAME).build() }
}

fn traces_url(endpoint: &Url) -> String {
    format!("{}/{PATH}", endpoint.as_str().trim_end_matches('/'))
}

/// Whether traces are recorded.
pub(crate) fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Starts the span of a request, which continues the trace of `caller`.
pub(crate) fn start_request(name: String, caller: &Context, attributes: Vec<KeyValue>) -> Context {
    let tracer = global::tracer(NAME);
    let span = tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(attributes);
    caller.with_span(span.start_with_context(&tracer, caller))
}

/// Returns the current span, if it is recorded, for what continues its trace elsewhere.
pub(crate) fn current() -> Option<SpanContext> {
    if !is_on() {
        return None;
    }
    Context::map_current(|context| {
        let span = context.span();
        span.is_recording().then(|| span.span_context().clone())
    })
}

/// Adds to the current span what it is about.
pub(crate) fn describe(name: &'static str, value: &dyn std::fmt::Display) {
    if is_on() {
        Context::map_current(|context| context.span().set_attribute(KeyValue::new(name, value.to_string())));
    }
}

/// Takes a step of the current span in a span of its own.
pub(crate) async fn step<T>(name: &'static str, step: impl Future<Output = T>) -> T {
    if !is_on() {
        return step.await;
    }
    let span = global::tracer(NAME).start(name);
    step.with_context(Context::current_with_span(span)).await
}

/// Records a request to Dialpad that has just ended. `endpoint` is its name: an address may contain a phone number.
pub(crate) fn record_dialpad_request(
    endpoint: &'static str,
    outcome: &'static str,
    has_failed: bool,
    duration: Duration,
) {
    if !is_on() {
        return;
    }
    let ended = opentelemetry::time::now();
    let tracer = global::tracer(NAME);
    let attributes = [KeyValue::new("dialpad.endpoint", endpoint), KeyValue::new("dialpad.outcome", outcome)];
    let mut span = tracer
        .span_builder(format!("dialpad {endpoint}"))
        .with_kind(SpanKind::Client)
        .with_start_time(ended.checked_sub(duration).unwrap_or(ended))
        .with_attributes(attributes)
        .start(&tracer);
    if has_failed {
        span.set_status(Status::error(outcome));
    }
    span.end_with_timestamp(ended);
}

/// Why a span was not exported; the `reason` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
enum Dropped {
    /// As many as may wait were waiting.
    QueueFull,
    /// The receiver did not take it.
    ExportFailed,
}

fn dropped(reason: Dropped) -> Counter {
    let reason: &'static str = reason.into();
    counter!("cti_trace_spans_dropped_total", "reason" => reason)
}

fn exported() -> Counter {
    counter!("cti_trace_spans_exported_total")
}

/// Registers the metrics, every series with 0.
pub(super) fn register_metrics() {
    describe_counter!("cti_trace_spans_exported_total", "Spans of traces that the receiver has taken");
    exported().absolute(0);
    describe_counter!("cti_trace_spans_dropped_total", "Spans of traces that were not exported");
    for reason in Dropped::VARIANTS {
        dropped(*reason).absolute(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_below_the_endpoint() {
        for endpoint in ["http://collector:4318", "http://collector:4318/"] {
            let url = Url::parse(endpoint).expect("a URL");
            assert_eq!(traces_url(&url), "http://collector:4318/v1/traces");
        }
    }

    #[test]
    fn a_service_without_a_name_gets_the_name_of_the_program() {
        assert_eq!(resource().get(&Key::from_static_str("service.name")), Some(NAME.into()));
    }
}
