//! A fixed pool of threads for the engine's actors. An app stays on one of them, so its actors share no locks.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::mpsc,
    thread,
};

use actix_rt::{Arbiter, ArbiterHandle};
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::oneshot};

use crate::id::AppId;

/// The pool.
pub(super) struct Arbiters {
    handles: Vec<ArbiterHandle>,
    /// Taken by the first stop, which waits for the threads.
    threads: Mutex<Vec<Arbiter>>,
    /// The runtime of each thread.
    runtimes: Vec<Handle>,
}

impl Arbiters {
    /// Starts `count` threads. Without any, the actors share the thread of the caller.
    pub(super) fn start(count: usize) -> Self {
        let threads: Vec<Arbiter> = (0..count).map(|_| Arbiter::new()).collect();
        let mut handles: Vec<ArbiterHandle> = threads.iter().map(Arbiter::handle).collect();
        let runtimes = threads.iter().filter_map(runtime_of).collect();
        if handles.is_empty() {
            handles.push(Arbiter::current());
        }
        Self { handles, threads: Mutex::new(threads), runtimes }
    }

    /// Returns the runtimes of the threads.
    pub(super) fn runtimes(&self) -> Vec<Handle> {
        self.runtimes.clone()
    }

    /// Returns the thread of an app.
    pub(super) fn of(&self, app: AppId) -> ArbiterHandle {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(app);
        let index = usize::try_from(hash % self.handles.len() as u64).unwrap_or_default();
        self.handles[index].clone()
    }

    /// Returns the thread of what belongs to no app.
    pub(super) fn first(&self) -> ArbiterHandle {
        self.handles[0].clone()
    }

    /// Stops the threads, and returns when they have ended and their actors are gone.
    pub(super) async fn stop(&self) {
        self.request_stop();
        let threads = std::mem::take(&mut *self.threads.lock());
        let (ended, has_ended) = oneshot::channel();
        // A thread of its own waits for them: the runtime would wait for a blocking task of its own at the process's end.
        thread::spawn(move || {
            for arbiter in threads {
                // An error means that the thread has panicked: it has ended as well.
                let _ = arbiter.join();
            }
            // An error means that the stop was not waited for.
            let _ = ended.send(());
        });
        let _ = has_ended.await;
    }

    /// Stops the threads without waiting for them.
    pub(super) fn request_stop(&self) {
        for thread in self.threads.lock().iter() {
            // Fails only where the thread has ended already.
            let _ = thread.stop();
        }
    }
}
/// Returns the runtime of a thread, which has begun; `None`: it has ended already.
fn runtime_of(thread: &Arbiter) -> Option<Handle> {
    let (reply, runtime) = mpsc::channel();
    thread.spawn_fn(move || drop(reply.send(Handle::current())));
    runtime.recv().ok()
}
