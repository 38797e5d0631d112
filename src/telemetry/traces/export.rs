//! The spans on their way to the receiver. What ends a span never waits: spans that find the queue full are dropped and
//! counted, and so are those that the receiver does not take. The library has a queue of its own, which does not say how
//! many it drops and needs a thread.

use std::time::Duration;

use cti_actors::background::resume;
use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, error::Elapsed, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Dropped, dropped, exported};

/// How many spans wait; about a kilobyte each.
const MAX_QUEUED: usize = 8192;
/// How many are sent together.
const MAX_BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const EXPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How often a batch is sent before it is dropped.
const MAX_ATTEMPTS: u32 = 3;
/// How long to wait before the second attempt; twice as long before the third one.
const RETRY_BACKOFF: Duration = Duration::from_secs(1);

/// Where spans go when they end.
#[derive(Debug)]
pub(super) struct Queue(mpsc::Sender<SpanData>);

/// The task that sends the spans.
#[derive(Debug)]
pub(crate) struct Export {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Starts to send what comes into the returned queue.
pub(super) fn start(exporter: impl SpanExporter + 'static) -> (Queue, Export) {
    let (queue, spans) = mpsc::channel(MAX_QUEUED);
    let stop = CancellationToken::new();
    let sender = Sender { exporter, spans, stop: stop.clone(), is_failing: false };
    let task = tokio::spawn(resume("send spans", sender, |sender| Box::pin(sender.run())));
    (Queue(queue), Export { stop, task })
}

impl Export {
    /// Sends what waits, until `deadline` at the latest, and ends.
    ///
    /// # Errors
    /// Not everything was sent in time.
    pub(crate) async fn stop(mut self, deadline: Instant) -> Result<(), Elapsed> {
        self.stop.cancel();
        let ended = timeout_at(deadline, &mut self.task).await;
        self.task.abort();
        ended.map(drop)
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.0.try_send(span).is_err() {
            dropped(Dropped::QueueFull).increment(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

struct Sender<E> {
    exporter: E,
    spans: mpsc::Receiver<SpanData>,
    stop: CancellationToken,
    is_failing: bool,
}

impl<E: SpanExporter> Sender<E> {
    async fn run(&mut self) {
        while !self.stop.is_cancelled() {
            let batch = self.next_batch().await;
            if !batch.is_empty() {
                self.send(batch).await;
            }
        }
        // What ends from now on is dropped.
        self.spans.close();
        loop {
            let mut rest = Vec::new();
            if self.spans.recv_many(&mut rest, MAX_BATCH).await == 0 {
                return;
            }
            self.send(rest).await;
        }
    }

    /// Waits for a span, and then a little for others. Less at a stop.
    async fn next_batch(&mut self) -> Vec<SpanData> {
        let Self { spans, stop, .. } = self;
        let mut batch = Vec::new();
        let collected = async {
            if spans.recv_many(&mut batch, MAX_BATCH).await == 0 {
                return;
            }
            let until = Instant::now() + EXPORT_INTERVAL;
            while batch.len() < MAX_BATCH {
                let room = MAX_BATCH - batch.len();
                match timeout_at(until, spans.recv_many(&mut batch, room)).await {
                    Ok(more) if more > 0 => {}
                    _ => return,
                }
            }
        };
        // What was received is in the batch, also where the wait for more is cut off.
        let _ = stop.run_until_cancelled(collected).await;
        batch
    }

    /// Sends a batch. One that the receiver does not take is dropped in the end.
    async fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        let mut attempt = 1;
        let failure = loop {
            match self.exporter.export(batch.clone()).await {
                Ok(()) => break None,
                Err(failure) if attempt == MAX_ATTEMPTS || self.stop.is_cancelled() => break Some(failure),
                Err(_) => {}
            }
            let _ = self.stop.run_until_cancelled(sleep(RETRY_BACKOFF * attempt)).await;
            attempt += 1;
        };
        match &failure {
            None => exported().increment(count),
            Some(_) => dropped(Dropped::ExportFailed).increment(count),
        }
        match &failure {
            Some(error) if !self.is_failing => warn!(%error, "traces can't be exported"),
            None if self.is_failing => info!("traces are exported again"),
            _ => {}
        }
        self.is_failing = failure.is_some();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
    use opentelemetry_sdk::{
        error::OTelSdkError,
        trace::{SpanEvents, SpanLinks},
    };
    use parking_lot::Mutex;
    use tokio::sync::Semaphore;

    use super::*;

    /// Takes as many batches as it has permits, and the others once it gets some.
    #[derive(Clone, Debug)]
    struct Receiver {
        permits: Arc<Semaphore>,
        taken: Arc<Mutex<Vec<usize>>>,
        refuses: bool,
    }

    impl SpanExporter for Receiver {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.permits.acquire().await.expect("it is not closed").forget();
            if self.refuses {
                return Err(OTelSdkError::InternalFailure("500".into()));
            }
            self.taken.lock().push(batch.len());
            Ok(())
        }
    }

    fn receiver(permits: usize, refuses: bool) -> Receiver {
        Receiver { permits: Arc::new(Semaphore::new(permits)), taken: Arc::default(), refuses }
    }

    fn span() -> SpanData {
        let now = opentelemetry::time::now();
        SpanData {
            span_context: SpanContext::new(
                TraceId::from(1),
                SpanId::from(1),
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "unit of work".into(),
            start_time: now,
            end_time: now,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: opentelemetry::InstrumentationScope::default(),
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn spans_that_end_together_are_sent_together_and_a_stop_sends_the_rest() {
        let receiver = receiver(100, false);
        let (queue, export) = start(receiver.clone());
        (0..MAX_BATCH + 3).for_each(|_| queue.on_end(span()));
        tokio::time::sleep(EXPORT_INTERVAL * 2).await;
        assert_eq!(*receiver.taken.lock(), [MAX_BATCH, 3]);
        queue.on_end(span());
        assert!(export.stop(soon()).await.is_ok());
        assert_eq!(*receiver.taken.lock(), [MAX_BATCH, 3, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_hangs_makes_nobody_wait() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let (queue, export) = start(receiver(0, false));
        metrics::with_local_recorder(&recorder, || (0..MAX_QUEUED + 7).for_each(|_| queue.on_end(span())));
        let rendered = handle.render();
        assert!(rendered.contains("cti_trace_spans_dropped_total{reason=\"queue_full\"} 7"), "{rendered}");
        let began = Instant::now();
        assert!(export.stop(soon()).await.is_err(), "it can't send them");
        assert!(began.elapsed() <= Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_is_refused_is_sent_three_times_and_then_dropped() {
        let receiver = receiver(100, true);
        let (queue, export) = start(receiver.clone());
        queue.on_end(span());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(receiver.permits.available_permits(), 100 - MAX_ATTEMPTS as usize);
        assert!(export.stop(soon()).await.is_ok());
    }
}
