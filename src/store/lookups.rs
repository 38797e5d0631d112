//! Look-ups of several callers in one query. While one query is under way, those who come wait for the next one, so the
//! database gets one query for many apps instead of one for each.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use cti_actors::error::StoreError;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Shared, Store};

/// How many callers share a query.
const MAX_CALLERS: usize = 256;

/// What is found by keys. A key that is not found is left out.
type Found<K, V> = Result<HashMap<K, V>, StoreError>;

/// Looks keys up.
type Read<K, V> = for<'s> fn(&'s Store, Vec<K>) -> BoxFuture<'s, Found<K, V>>;

/// The callers that wait for a look-up of one kind.
pub(super) struct Lookups<K, V> {
    waiting: Mutex<Waiting<K, V>>,
}

struct Waiting<K, V> {
    callers: Vec<Caller<K, V>>,
    /// Whether a task takes the callers.
    has_task: bool,
}

struct Caller<K, V> {
    keys: Vec<K>,
    reply: oneshot::Sender<Found<K, V>>,
}

/// A kind of look-up.
pub(super) struct Lookup<K: 'static, V: 'static> {
    /// Where its callers wait.
    pub(super) lookups: fn(&Shared) -> &Lookups<K, V>,
    /// Looks keys up, each of which is named once.
    pub(super) read: Read<K, V>,
}

impl<K, V> Default for Lookups<K, V> {
    fn default() -> Self {
        Self { waiting: Mutex::new(Waiting { callers: Vec::new(), has_task: false }) }
    }
}

impl<K, V> Lookups<K, V> {
    /// Takes the callers of the next query. `None`: nobody waits, and the task ends.
    fn take(&self) -> Option<Vec<Caller<K, V>>> {
        let mut waiting = self.waiting.lock();
        if waiting.callers.is_empty() {
            waiting.has_task = false;
            return None;
        }
        let count = waiting.callers.len().min(MAX_CALLERS);
        Some(waiting.callers.drain(..count).collect())
    }
}

impl Store {
    /// Looks keys up as the database has them now, together with those of other callers.
    pub(super) async fn look_up<K, V>(
        &self,
        lookup: &'static Lookup<K, V>,
        keys: Vec<K>,
    ) -> Result<HashMap<K, V>, StoreError>
    where
        K: Clone + Eq + Hash + Send,
        V: Clone + Send,
    {
        let (reply, answer) = oneshot::channel();
        let starts = {
            let mut waiting = (lookup.lookups)(&self.shared).waiting.lock();
            waiting.callers.push(Caller { keys, reply });
            !std::mem::replace(&mut waiting.has_task, true)
        };
        if starts {
            let task = Task { store: self.clone(), lookup };
            self.shared.database.runtime().spawn(async move { task.run().await });
        }
        answer.await.map_err(|_| StoreError::Unavailable("a look-up has ended without an answer".into()))?
    }
}

struct Task<K: 'static, V: 'static> {
    store: Store,
    lookup: &'static Lookup<K, V>,
}

impl<K: Clone + Eq + Hash, V: Clone> Task<K, V> {
    async fn run(&self) {
        while let Some(callers) = (self.lookup.lookups)(&self.store.shared).take() {
            let keys: HashSet<&K> = callers.iter().flat_map(|caller| &caller.keys).collect();
            let keys: Vec<K> = keys.into_iter().cloned().collect();
            let found = (self.lookup.read)(&self.store, keys).await;
            for Caller { keys, reply } in callers {
                let of_caller = |found: &HashMap<K, V>| {
                    keys.iter().filter_map(|key| Some((key.clone(), found.get(key)?.clone()))).collect()
                };
                // The caller may have gone.
                let _ = reply.send(found.as_ref().map(of_caller).map_err(Clone::clone));
            }
        }
    }
}

impl<K, V> Drop for Task<K, V> {
    /// After a panic, those who wait get an error, and the next caller starts another task.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut waiting = (self.lookup.lookups)(&self.store.shared).waiting.lock();
            waiting.callers.clear();
            waiting.has_task = false;
        }
    }
}
