//! The spans of the engine, in the traces of the webhooks that it processes and delivers.
//!
//! ```text
//! request (the server's) ─► unit of work ─┬─► apply
//!                                         ├─► commit
//!                                         └─► deliver (for each event and session)
//! ```
//!
//! A webhook brings its trace along. Without one nothing happens here: no span, and no allocation. What waits in the
//! journal has none, and neither has an event that was read from the store.

use std::{ops::Range, sync::Arc};

use opentelemetry::{
    Context, KeyValue, global,
    global::BoxedSpan,
    trace::{Span, SpanContext, Status, TraceContextExt, Tracer},
};

use crate::{
    error::StoreError,
    event::{EventTrace, Frame},
    id::{AppId, SessionId},
    ports::PendingEvent,
};

const NAME: &str = "cti-actors";

/// The spans of one unit of work: one in the trace of each webhook that has one.
#[derive(Default)]
pub(crate) struct UnitSpans {
    units: Vec<UnitSpan>,
    /// How many events all webhooks cause.
    caused: usize,
}

struct UnitSpan {
    /// The position of the webhook in its batch.
    position: usize,
    span: BoxedSpan,
    trace: Arc<EventTrace>,
    /// The events that the webhook causes, by their positions among those of all webhooks.
    events: Range<usize>,
}

/// A step of a unit of work. It also ends when this is dropped.
pub(crate) struct UnitStep(Vec<BoxedSpan>);

impl UnitStep {
    pub(crate) fn end(self) {
        drop(self.0);
    }
}

impl UnitSpans {
    /// Begins with the unit of work of these webhooks.
    pub(crate) fn start(app: AppId, webhooks: &[PendingEvent]) -> Self {
        let traced = webhooks.iter().enumerate().filter_map(|(position, webhook)| {
            let parent = webhook.incoming.as_ref()?.trace.as_ref()?;
            let attributes = vec![
                KeyValue::new("app.id", app.to_string()),
                KeyValue::new("webhook.id", webhook.id.to_string()),
                KeyValue::new("batch.size", webhooks.len() as i64),
            ];
            let span = start("unit of work", parent, attributes);
            let trace = Arc::new(EventTrace::new(span.span_context().clone()));
            Some(UnitSpan { position, span, trace, events: 0..0 })
        });
        Self { units: traced.collect(), caused: 0 }
    }

    /// Begins with a step.
    pub(crate) fn step(&self, name: &'static str) -> UnitStep {
        let steps = self.units.iter().map(|unit| start(name, unit.span.span_context(), Vec::new()));
        UnitStep(steps.collect())
    }

    /// Notes how many events each webhook causes, in the order of the batch.
    pub(crate) fn set_events(&mut self, counts: impl Iterator<Item = usize>) {
        if self.units.is_empty() {
            return;
        }
        let mut units = self.units.iter_mut().peekable();
        let mut first = 0;
        for (position, count) in counts.enumerate() {
            if let Some(unit) = units.next_if(|unit| unit.position == position) {
                unit.events = first..first + count;
            }
            first += count;
        }
        self.caused = first;
    }

    /// Returns the trace of an event, by its position among all that are emitted. The webhooks cause the last ones.
    pub(crate) fn of_event(&self, position: usize, emitted: usize) -> Option<Arc<EventTrace>> {
        let position = (position + self.caused).checked_sub(emitted)?;
        let unit = self.units.iter().find(|unit| unit.events.contains(&position))?;
        Some(Arc::clone(&unit.trace))
    }

    /// Ends with a failure. Its text is left out: a database quotes data in it.
    pub(crate) fn fail(&mut self, failure: &StoreError) {
        let reason = match failure {
            StoreError::Unavailable(_) => "the database is unavailable",
            StoreError::Unusable(_) => "the database can't be used",
            StoreError::Conflict(_) => "another writer was first",
            StoreError::Fenced => "another process owns the app",
            StoreError::Duplicates(_) => "the journal has it already",
            StoreError::Rejected(_) => "the database refused the data",
            StoreError::Corrupt { .. } => "a stored row can't be read",
        };
        for unit in &mut self.units {
            unit.span.set_status(Status::error(reason));
        }
    }
}

/// Returns the span of the delivery of an event to a session. It ends when it is dropped.
pub(crate) fn delivery(session: SessionId, transport: &'static str, frame: &Frame) -> Option<BoxedSpan> {
    let parent = frame.trace.as_ref()?.next_delivery()?;
    let attributes = vec![
        KeyValue::new("session.id", session.to_string()),
        KeyValue::new("transport", transport),
        KeyValue::new("seq", frame.seq.0),
        KeyValue::new("event.type", frame.event_type.as_str().to_owned()),
    ];
    Some(start("deliver", parent, attributes))
}

fn start(name: &'static str, parent: &SpanContext, attributes: Vec<KeyValue>) -> BoxedSpan {
    let parent = Context::new().with_remote_span_context(parent.clone());
    let tracer = global::tracer(NAME);
    tracer.span_builder(name).with_attributes(attributes).start_with_context(&tracer, &parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit_of(position: usize) -> UnitSpan {
        let span = start("unit of work", &SpanContext::NONE, Vec::new());
        let trace = Arc::new(EventTrace::new(SpanContext::NONE));
        UnitSpan { position, span, trace, events: 0..0 }
    }

    #[test]
    fn an_event_continues_the_trace_of_the_webhook_that_caused_it() {
        let mut units = UnitSpans { units: vec![unit_of(1), unit_of(3)], caused: 0 };
        // The webhooks cause 2, 1, 1, 0 and 1 events.
        units.set_events([2, 1, 1, 0, 1].into_iter());
        // Before them, one end of an interaction is emitted.
        let of =
            |position| units.of_event(position, 6).map(|trace| Arc::ptr_eq(&trace, &units.units[0].trace));
        assert_eq!((0..6).map(of).collect::<Vec<_>>(), [None, None, None, Some(true), None, None]);
        assert_eq!(units.units[1].events, 4..4);
    }
}
