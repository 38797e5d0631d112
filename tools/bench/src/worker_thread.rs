//! Threads with a small runtime: the senders and the receivers of the bench each run on one, so that they do not delay each
//! other and an event costs one wake-up at most.

use std::io;
use std::thread;

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::Failure;

/// Runs the future that `work` creates on a new thread; the returned future waits for its result.
///
/// A panic there becomes a [`Failure`] here. Dropping the returned future does not stop the thread.
pub(crate) fn spawn<T, F, W>(
    name: &'static str,
    work: W,
) -> io::Result<impl Future<Output = Result<T, Failure>> + Send>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>>,
    W: FnOnce() -> F + Send + 'static,
{
    let (finished, result) = oneshot::channel();
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let outcome = LocalSet::new().block_on(&runtime, work());
        // The receiver may have been cancelled.
        let _ = finished.send(outcome);
    })?;
    Ok(async move { result.await.unwrap_or_else(|_| Err(format!("the {name} thread panicked").into())) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_thread_returns_its_result() {
        let sum = spawn("adder", || async { Ok(1 + 1) }).unwrap();
        assert_eq!(sum.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_panicking_worker_thread_is_a_failure() {
        let panicking = spawn("clumsy", || async { panic!("dropped it") }).unwrap();
        let outcome: Result<(), Failure> = panicking.await;
        assert_eq!(outcome.unwrap_err().to_string(), "the clumsy thread panicked");
    }
}
