//! A fixed pool of threads for the engine's actors. An app stays on one of them, so its actors share no locks.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use actix_rt::{Arbiter, ArbiterHandle};

use crate::id::AppId;

/// The pool.
pub(crate) struct Arbiters {
    pool: Vec<Arbiter>,
}

impl Arbiters {
    /// Starts `count` threads, at least one.
    pub(crate) fn start(count: usize) -> Self {
        Self { pool: (0..count.max(1)).map(|_| Arbiter::new()).collect() }
    }

    /// The thread of an app.
    pub(crate) fn of(&self, app: AppId) -> ArbiterHandle {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(app);
        let index = usize::try_from(hash % self.pool.len() as u64).unwrap_or_default();
        self.pool[index].handle()
    }

    /// The thread of what belongs to no app.
    pub(crate) fn first(&self) -> ArbiterHandle {
        self.pool[0].handle()
    }

    /// Tells all threads to stop; they do so once their current work is done.
    pub(crate) fn stop(&self) {
        for arbiter in &self.pool {
            arbiter.stop();
        }
    }
}
