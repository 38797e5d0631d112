//! Background work that outlives a panic. What only a loop does would otherwise stay undone until the next start, unnoticed.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use metrics::counter;
use tokio::time::sleep;
use tracing::error;

/// How long work that panicked waits before it begins again.
const RESTART_INTERVAL: Duration = Duration::from_secs(1);

/// Runs `work`. Returns `None` after a panic, which is logged and counted; its caller begins again.
pub async fn caught<T>(task: &'static str, work: impl Future<Output = T>) -> Option<T> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.map_err(|panic| report(task, &*panic)).ok()
}

/// Does what [`caught`] does for work of a thread.
pub fn caught_blocking<T>(task: &'static str, work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| report(task, &*panic)).ok()
}

/// Runs `work` on `state` until it returns. After a panic it begins again, a second later and on the same state.
pub async fn resume<S, T>(
    task: &'static str,
    mut state: S,
    mut work: impl for<'s> FnMut(&'s mut S) -> BoxFuture<'s, T>,
) -> T {
    loop {
        if let Some(done) = caught(task, async { work(&mut state).await }).await {
            return done;
        }
        sleep(RESTART_INTERVAL).await;
    }
}

fn report(task: &'static str, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    counter!("cti_background_panics_total").increment(1);
    error!(task, panic = text, "a background task panicked and begins again");
}

#[cfg(test)]
mod tests {
    use tokio::{sync::mpsc, time::Instant};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_begins_again_on_the_same_state_until_it_returns() {
        let (sender, mut jobs) = mpsc::unbounded_channel();
        (1..=4).for_each(|job| sender.send(job).expect("a receiver"));
        drop(sender);
        let began_at = Instant::now();
        let mut done = Vec::new();
        resume("test", (&mut jobs, &mut done), |(jobs, done)| {
            Box::pin(async move {
                while let Some(job) = jobs.recv().await {
                    assert!(job != 2, "a bug");
                    done.push(job);
                }
            })
        })
        .await;
        assert_eq!(done, [1, 3, 4]);
        assert_eq!(began_at.elapsed(), RESTART_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_before_the_first_wait_is_caught_too() {
        let mut runs = 0;
        let last = resume("test", &mut runs, |runs| {
            **runs += 1;
            assert!(**runs > 1, "a bug");
            let run = **runs;
            Box::pin(async move { run })
        })
        .await;
        assert_eq!(last, 2);
    }

    #[test]
    fn a_panic_of_a_thread_is_its_result() {
        assert_eq!(caught_blocking("test", || 1), Some(1));
        assert_eq!(caught_blocking("test", || -> u8 { panic!("a bug of number {}", 2) }), None);
    }
}
