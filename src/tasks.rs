//! Background work that a planned stop ends: every task is cancelled and waited for.

use std::future::Future;

use cti_actors::background::resume;
use futures_util::future::BoxFuture;
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

/// The background tasks of one server. Cheap to clone; all clones share the tasks.
///
/// A cancelled task ends at its next `.await`, so its work must be safe to interrupt and to repeat.
#[derive(Clone, Debug)]
pub struct Tasks {
    /// The runtime that outlives all tasks; a worker of the HTTP server has a shorter-lived one of its own.
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Creates a group whose tasks run on the current runtime.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self { runtime: Handle::current(), tracker: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Runs `work` until it ends or [`Self::stop`] cancels it; the handle then gives `None`. Its log lines belong to the
    /// current span.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let stop = self.stop.clone();
        let until_stopped = async move { stop.run_until_cancelled(work).await };
        self.tracker.spawn_on(until_stopped.in_current_span(), &self.runtime)
    }

    /// Runs an endless `work` on `state` until [`Self::stop`] cancels it. After a panic it begins again on the same state.
    pub(crate) fn keep<S: Send + 'static>(
        &self,
        task: &'static str,
        state: S,
        work: impl for<'s> FnMut(&'s mut S) -> BoxFuture<'s, ()> + Send + 'static,
    ) -> JoinHandle<Option<()>> {
        self.spawn(resume(task, state, work))
    }

    /// Cancels every task, also one that is spawned later, and waits until all of them have ended.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use super::*;

    struct SetOnDrop(Arc<AtomicBool>);

    impl Drop for SetOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn a_stop_cancels_every_task_and_waits_for_it() {
        let tasks = Tasks::new();
        let ended = Arc::new(AtomicBool::new(false));
        let guard = SetOnDrop(Arc::clone(&ended));
        tasks.clone().spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        tasks.stop().await;
        assert!(ended.load(Ordering::SeqCst), "the task still runs");
    }

    #[tokio::test]
    async fn a_task_that_is_spawned_after_the_stop_ends_at_once() {
        let tasks = Tasks::new();
        tasks.stop().await;
        let ended = tasks.spawn(pending::<()>());
        assert_eq!(ended.await.expect("it does not panic"), None);
    }
}
