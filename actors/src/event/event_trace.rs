//! The trace of an event, from the webhook that caused it to its deliveries.

use std::sync::atomic::{AtomicU32, Ordering};

use opentelemetry::trace::SpanContext;

/// How many deliveries of the events of one webhook are traced: an app may have thousands of sessions.
const MAX_TRACED_DELIVERIES: u32 = 64;

/// The unit of work that emitted an event, as the deliveries of the event continue its trace.
#[derive(Debug)]
pub(crate) struct EventTrace {
    unit: SpanContext,
    deliveries: AtomicU32,
}

impl EventTrace {
    pub(crate) fn new(unit: SpanContext) -> Self {
        Self { unit, deliveries: AtomicU32::new(0) }
    }

    /// Returns the span that one more delivery continues. `None`: enough of them are traced.
    pub(crate) fn next_delivery(&self) -> Option<&SpanContext> {
        (self.deliveries.fetch_add(1, Ordering::Relaxed) < MAX_TRACED_DELIVERIES).then_some(&self.unit)
    }
}

impl PartialEq for EventTrace {
    fn eq(&self, other: &Self) -> bool {
        self.unit == other.unit
    }
}

impl Eq for EventTrace {}
