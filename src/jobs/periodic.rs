//! The loop of every periodic job.

use std::{fmt::Display, time::Duration};

use cti_actors::{background::caught, error::StoreError};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tracing::{info, warn};

use crate::store::Store;

/// Returns ticks that begin now.
pub(crate) fn every(interval: Duration) -> Interval {
    tokio::time::interval(interval)
}

/// Returns ticks that begin one interval from now.
pub(crate) fn every_after(interval: Duration) -> Interval {
    tokio::time::interval_at(Instant::now() + interval, interval)
}

/// Runs `work` on `state` at every tick and never returns. A run that fails or panics is repeated at the next tick. Of an
/// outage only its first failure and its end are logged.
pub(crate) async fn periodic<S, E: Display>(
    name: &'static str,
    mut ticks: Interval,
    mut state: S,
    mut work: impl for<'s> FnMut(&'s mut S) -> BoxFuture<'s, Result<(), E>>,
) {
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    loop {
        ticks.tick().await;
        let Some(done) = caught(name, async { work(&mut state).await }).await else { continue };
        match &done {
            Err(error) if !is_failing => {
                warn!(task = name, %error, "a background task failed and is retried")
            }
            Ok(()) if is_failing => info!(task = name, "a background task works again"),
            Ok(()) | Err(_) => {}
        }
        is_failing = done.is_err();
    }
}

/// Does what [`periodic`] does in one of the processes that share the database: in the one that has the lease of the job.
pub(super) async fn periodic_once<S, E: Display + From<StoreError>>(
    store: Store,
    name: &'static str,
    ticks: Interval,
    state: S,
    work: impl for<'s> FnMut(&'s mut S) -> BoxFuture<'s, Result<(), E>> + Send,
) where
    S: Send,
{
    periodic(name, ticks, (store, state, work), |(store, state, work)| {
        Box::pin(
            async move { if store.job_leases().claim(name).await? { work(state).await } else { Ok(()) } },
        )
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tokio::time::timeout;
    use tracing::subscriber::set_default;

    use super::*;

    /// Collects what is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no writer panics").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_work_is_done_at_every_tick_also_after_a_failure() {
        let mut runs = 0;
        let job = periodic("test", every(Duration::from_secs(10)), &mut runs, |runs| {
            **runs += 1;
            let done = if **runs == 1 { Err("broken") } else { Ok(()) };
            Box::pin(async move { done })
        });
        assert!(timeout(Duration::from_secs(35), job).await.is_err(), "it never ends by itself");
        assert_eq!(runs, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_panics_is_logged_and_the_next_one_is_at_its_time() {
        let log = Log::default();
        let to_log = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || to_log.clone()).with_ansi(false).finish();
        let _guard = set_default(subscriber);
        let began_at = Instant::now();
        let mut runs = Vec::new();
        let job = periodic("test", every_after(Duration::from_secs(10)), &mut runs, |runs| {
            Box::pin(async move {
                runs.push(began_at.elapsed().as_secs());
                assert!(runs.len() != 1, "a bug");
                Ok::<_, String>(())
            })
        });
        assert!(timeout(Duration::from_secs(35), job).await.is_err(), "it never ends by itself");
        assert_eq!(runs, [10, 20, 30]);
        let log = String::from_utf8(log.0.lock().expect("no writer panics").clone()).expect("text");
        let line = "a background task panicked and begins again task=\"test\" panic=\"a bug\"";
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_run_can_wait_for_one_interval() {
        let mut runs = 0;
        let job = periodic("test", every_after(Duration::from_secs(10)), &mut runs, |runs| {
            **runs += 1;
            Box::pin(async { Ok::<_, String>(()) })
        });
        assert!(timeout(Duration::from_secs(35), job).await.is_err());
        assert_eq!(runs, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_logged_once_and_its_end_once() {
        let log = Log::default();
        let to_log = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || to_log.clone()).finish();
        let _guard = set_default(subscriber);
        let results = [Ok(()), Err("away"), Err("away"), Err("away"), Ok(()), Ok(())].into_iter();
        let job = periodic("test", every(Duration::from_secs(1)), results, |results| {
            let next = results.next().unwrap_or(Ok(()));
            Box::pin(async move { next })
        });
        assert!(timeout(Duration::from_secs(9), job).await.is_err());
        let log = String::from_utf8(log.0.lock().expect("no writer panics").clone()).expect("text");
        assert_eq!(log.matches("a background task failed and is retried").count(), 1, "{log}");
        assert_eq!(log.matches("a background task works again").count(), 1, "{log}");
    }
}
