//! A lane is one thread with a small runtime of its own: the senders and the receivers of the bench each
//! keep to one, so that neither steals turns from the other and a cheap event costs one wake-up at most.

use std::io;
use std::thread;

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::Failure;

/// Runs the future that `work` makes on a thread of its own, from now on; the returned future waits for it.
///
/// A panic there becomes a [`Failure`] here. Dropping the returned future does not stop the lane.
pub(crate) fn lane<T, F, W>(
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
        // The one who waited may have been cancelled; then nobody wants the result.
        let _ = finished.send(outcome);
    })?;
    Ok(async move { result.await.unwrap_or_else(|_| Err(format!("the {name} thread panicked").into())) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lane_hands_back_its_result() {
        let sum = lane("adder", || async { Ok(1 + 1) }).unwrap();
        assert_eq!(sum.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_panicking_lane_is_a_failure() {
        let never = lane("clumsy", || async { panic!("dropped it") }).unwrap();
        let outcome: Result<(), Failure> = never.await;
        assert_eq!(outcome.unwrap_err().to_string(), "the clumsy thread panicked");
    }
}
