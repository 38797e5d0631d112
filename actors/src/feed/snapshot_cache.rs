//! Active calls that several readers share. A reader that asks for them while others read them from the store, or still
//! send them, gets the same ones: they are right for it too, because the events after them follow anyway. So a thousand
//! readers that come at once cost one read of the store, and slow readers keep a few snapshots in memory, not one each.

use std::sync::{Arc, Weak};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use parking_lot::Mutex;

use super::{Feed, Slice};
use crate::{error::StoreError, event::ActiveCalls, ports::EventLog};

/// How many snapshots of an app are kept for readers that have not sent all of theirs. From then on, new readers get the
/// newest one, however old it is.
const MAX_SNAPSHOTS: usize = 4;

type SnapshotResult = Result<Arc<ActiveCalls>, StoreError>;
type Reading = BoxFuture<'static, SnapshotResult>;

/// The snapshots of one app that readers need.
#[derive(Default)]
pub(super) struct SnapshotCache(Mutex<State>);

#[derive(Default)]
struct State {
    /// The read of the store that is under way.
    reading: Option<WeakShared<Reading>>,
    /// The snapshots that readers send, the newest last.
    in_use: Vec<Weak<ActiveCalls>>,
}

impl SnapshotCache {
    /// Forgets the snapshots: readers that come from now on read the store.
    pub(super) fn forget(&self) {
        *self.0.lock() = State::default();
    }
}

impl Feed {
    /// Returns the active calls, as of some place in the feed.
    ///
    /// # Errors
    /// The store failed.
    pub async fn active_calls(self: &Arc<Self>, log: &Arc<dyn EventLog>) -> SnapshotResult {
        let reading = {
            let mut state = self.snapshots.0.lock();
            if let Some(snapshot) = self.usable_snapshot(&mut state) {
                return Ok(snapshot);
            }
            match state.reading.as_ref().and_then(WeakShared::upgrade) {
                Some(reading) => reading,
                None => {
                    let reading = self.read_active_calls(Arc::clone(log));
                    state.reading = reading.downgrade();
                    reading
                }
            }
        };
        reading.await
    }

    /// Returns the newest snapshot that other readers send, if the ring has all events after it: then sending those is no
    /// more work than reading anew.
    fn usable_snapshot(&self, state: &mut State) -> Option<Arc<ActiveCalls>> {
        state.in_use.retain(|snapshot| snapshot.strong_count() > 0);
        let newest = state.in_use.last()?.upgrade()?;
        let is_full = state.in_use.len() >= MAX_SNAPSHOTS;
        let is_usable = is_full || !matches!(self.after(newest.as_of, 1, 1), Slice::Behind);
        is_usable.then_some(newest)
    }

    /// Reads them from the store, in a task of its own: it holds one of few permits, and its reader may go away.
    fn read_active_calls(self: &Arc<Self>, log: Arc<dyn EventLog>) -> Shared<Reading> {
        let feed = Arc::clone(self);
        let reading = tokio::spawn(async move {
            let _permit = feed.read_permit().await;
            let (known, rewrites) = (feed.known(), feed.rewrites());
            let snapshot = Arc::new(log.active_calls(feed.app_id()).await?);
            // One from before a reset or an erasure is not shared any further.
            if feed.observe(known, snapshot.epoch, snapshot.as_of) {
                let mut state = feed.snapshots.0.lock();
                if feed.rewrites() == rewrites {
                    state.in_use.push(Arc::downgrade(&snapshot));
                }
            }
            Ok(snapshot)
        });
        let interrupted = |_| Err(StoreError::Unavailable("the active calls could not be read".into()));
        reading.map(move |snapshot| snapshot.unwrap_or_else(interrupted)).boxed().shared()
    }
}
