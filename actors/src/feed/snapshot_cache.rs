//! Who comes for the active calls while they are being read or told to somebody gets the same ones: they are right for
//! whoever comes, because what lies behind them is told anyway. So a thousand readers that come at once cost one look
//! at the store, and readers that take their time keep a few snapshots in memory and not one each.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

use super::{Feed, Slice};
use crate::event::ActiveCalls;
use crate::{error::StoreError, ports::EventLog};

/// How many snapshots of an app are kept for readers that have not heard all of theirs. From then on whoever comes is
/// told the newest one, however old it is.
const MOST_KEPT: usize = 4;

type Outcome = Result<Arc<ActiveCalls>, StoreError>;
type Reading = BoxFuture<'static, Outcome>;

/// The snapshots of one app that somebody needs.
#[derive(Default)]
pub(super) struct Snapshots(Mutex<Needed>);

#[derive(Default)]
struct Needed {
    under_way: Option<WeakShared<Reading>>,
    /// Those that are being told, the newest last.
    told: Vec<Weak<ActiveCalls>>,
}

impl Feed {
    /// The calls that are not over, as of some place in the feed.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn active_calls(self: &Arc<Self>, log: &Arc<dyn EventLog>) -> Outcome {
        let reading = {
            let mut needed = self.snapshots.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = self.at_hand(&mut needed) {
                return Ok(known);
            }
            match needed.under_way.as_ref().and_then(WeakShared::upgrade) {
                Some(reading) => reading,
                None => {
                    let reading = self.read(Arc::clone(log));
                    needed.under_way = reading.downgrade();
                    reading
                }
            }
        };
        reading.await
    }

    /// Those that are being told to somebody, if they will do: as long as memory has everything behind them, hearing it
    /// is no more work than reading anew.
    fn at_hand(&self, needed: &mut Needed) -> Option<Arc<ActiveCalls>> {
        needed.told.retain(|told| told.strong_count() > 0);
        let newest = needed.told.last()?.upgrade()?;
        let will_do =
            needed.told.len() >= MOST_KEPT || !matches!(self.after(newest.as_of, 1, 1), Slice::Behind);
        will_do.then_some(newest)
    }

    /// Reads them from the store. A task of its own does it: it holds one of few places, and whoever asked may go away.
    fn read(self: &Arc<Self>, log: Arc<dyn EventLog>) -> Shared<Reading> {
        let feed = Arc::clone(self);
        let reading = tokio::spawn(async move {
            let _place = feed.place().await;
            let read = Arc::new(log.active_calls(feed.app_id()).await?);
            feed.advance(read.as_of);
            feed.snapshots.0.lock().unwrap_or_else(PoisonError::into_inner).told.push(Arc::downgrade(&read));
            Ok(read)
        });
        let interrupted = |_| Err(StoreError::Unavailable("the active calls could not be read".into()));
        reading.map(move |read| read.unwrap_or_else(interrupted)).boxed().shared()
    }
}
