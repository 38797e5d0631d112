//! The figures of the async runtimes: whether their threads are busy, and what waits for them. Each HTTP worker and each
//! thread of the engine has a runtime of its own; those of a kind are added up.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use parking_lot::Mutex;
use strum::{IntoStaticStr, VariantArray};
use tokio::runtime::{Handle, RuntimeMetrics};

/// What a runtime is for; the `runtime` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum RuntimeKind {
    /// The database's connections and the background jobs.
    Main,
    /// The HTTP workers.
    Http,
    /// The threads of the actors.
    Engine,
}

/// The runtimes of the process.
#[derive(Default)]
pub(super) struct Runtimes {
    watched: Mutex<Vec<(RuntimeKind, RuntimeMetrics)>>,
}

impl Runtimes {
    pub(super) fn watch(&self, kind: RuntimeKind, runtime: &Handle) {
        self.watched.lock().push((kind, runtime.metrics()));
    }

    /// Reads the figures.
    pub(super) fn update(&self) {
        let watched = self.watched.lock();
        for kind in RuntimeKind::VARIANTS {
            let of_kind = || watched.iter().filter(|(of, _)| of == kind).map(|(_, metrics)| metrics);
            let label: &'static str = kind.into();
            let threads: usize = of_kind().map(RuntimeMetrics::num_workers).sum();
            let queued: usize = of_kind().map(RuntimeMetrics::global_queue_depth).sum();
            let busy: u64 = of_kind().map(busy_seconds).sum();
            gauge!("cti_runtime_threads", "runtime" => label).set(threads as f64);
            gauge!("cti_runtime_queued_tasks", "runtime" => label).set(queued as f64);
            counter!("cti_runtime_busy_seconds_total", "runtime" => label).absolute(busy);
        }
    }
}

fn busy_seconds(metrics: &RuntimeMetrics) -> u64 {
    (0..metrics.num_workers()).map(|worker| metrics.worker_total_busy_duration(worker).as_secs()).sum()
}

/// Registers the metrics, every series with 0.
pub(super) fn register_metrics() {
    describe_gauge!("cti_runtime_threads", "Threads that run tasks");
    describe_gauge!("cti_runtime_queued_tasks", "Tasks that other threads woke and that wait for a thread");
    describe_counter!(
        "cti_runtime_busy_seconds_total",
        Unit::Seconds,
        "Whole seconds that threads were busy with tasks"
    );
    Runtimes::default().update();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_runtimes_of_a_kind_are_added_up() {
        let runtimes = Runtimes::default();
        runtimes.watch(RuntimeKind::Http, &Handle::current());
        runtimes.watch(RuntimeKind::Http, &Handle::current());
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || runtimes.update());
        let text = recorder.handle().render();
        assert!(text.contains("cti_runtime_threads{runtime=\"http\"} 2"), "{text}");
        assert!(text.contains("cti_runtime_threads{runtime=\"engine\"} 0"), "{text}");
    }
}
