//! The one way in which background tasks of the engine repeat themselves.

use std::time::Duration;

use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error::StoreError;

/// How long a task that has failed waits at least.
const MIN_BACKOFF: Duration = Duration::from_secs(1);

/// Runs `work` now and `interval` after each end of it, until `stop` is cancelled. Work under way is completed first.
pub(super) async fn periodic(
    name: &'static str,
    interval: Duration,
    stop: CancellationToken,
    work: impl AsyncFnMut() -> Result<(), StoreError>,
) {
    periodic_or_woken(name, interval, &Notify::new(), stop, work).await;
}

/// Does the same, and runs `work` also when `wake` is notified.
pub(super) async fn periodic_or_woken(
    name: &'static str,
    interval: Duration,
    wake: &Notify,
    stop: CancellationToken,
    mut work: impl AsyncFnMut() -> Result<(), StoreError>,
) {
    let mut outage = Outage::new(name);
    while !stop.is_cancelled() {
        let result = work().await;
        outage.observe(&result);
        let pause = if result.is_err() { interval.max(MIN_BACKOFF) } else { interval };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => {}
            () = wake.notified(), if result.is_ok() => {}
        }
    }
}

/// Logs the beginning and the end of an outage, however often a task fails meanwhile.
pub(super) struct Outage {
    task: &'static str,
    ongoing: bool,
}

impl Outage {
    pub(super) fn new(task: &'static str) -> Self {
        Self { task, ongoing: false }
    }

    pub(super) fn observe<T>(&mut self, result: &Result<T, StoreError>) {
        match result {
            Err(failure) if !self.ongoing => {
                self.ongoing = true;
                warn!(task = self.task, error = %failure, "a background task failed and is retried");
            }
            Ok(_) if self.ongoing => {
                self.ongoing = false;
                info!(task = self.task, "a background task works again");
            }
            Ok(_) | Err(_) => {}
        }
    }
}
