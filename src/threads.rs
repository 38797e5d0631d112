//! Whether there are enough threads. The libraries only report that a resource is temporarily unavailable.

use std::{
    io,
    num::NonZero,
    sync::{Arc, mpsc},
    thread,
};

use parking_lot::Mutex;
use thiserror::Error;

/// The threads that run already: those of the runtime.
const RUNNING: usize = 2;
/// Those beside the HTTP workers and the engine's: what accepts connections, what signals, what blocks.
const OTHERS: usize = 3;

/// There are not enough threads.
#[derive(Debug, Error)]
#[error(
    "{wanted} threads are needed, and only {started} could be started: {error}; see the limits of processes (ulimit -u, \
     that of the container) and of memory"
)]
pub struct TooFewThreads {
    wanted: usize,
    started: usize,
    error: io::Error,
}

/// Tries whether the threads of a server can be started, and ends them.
///
/// # Errors
/// One could not.
pub(crate) fn check(http_workers: usize) -> Result<(), TooFewThreads> {
    let processors = thread::available_parallelism().map_or(2, NonZero::get);
    let workers = if http_workers > 0 { http_workers } else { processors };
    // The engine has one for each processor.
    check_count(workers + processors + RUNNING + OTHERS)
}

fn check_count(wanted: usize) -> Result<(), TooFewThreads> {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let mut threads = Vec::new();
    let mut result = Ok(());
    for started in RUNNING..wanted {
        let released = Arc::clone(&released);
        match thread::Builder::new().spawn(move || {
            let _ = released.lock().recv();
        }) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                result = Err(TooFewThreads { wanted, started, error });
                break;
            }
        }
    }
    drop(release);
    for thread in threads {
        let _ = thread.join();
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_with_enough_threads_passes_and_one_without_says_how_many_are_needed() {
        check(2).expect("enough threads");
        let error = io::Error::from(io::ErrorKind::WouldBlock);
        let text = TooFewThreads { wanted: 9, started: 4, error }.to_string();
        assert!(text.starts_with("9 threads are needed, and only 4 could be started: "), "{text}");
    }
}
