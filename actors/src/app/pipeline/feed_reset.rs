//! What an app does when its feed goes back in the database: see [`Known`].

use tracing::warn;

use super::{InteractionCache, Pipeline, RecentKeys, Roster};
use crate::{feed::Known, id::Seq};

impl Pipeline {
    /// Resets the feed, whose newest event before a commit was older than one that is known to be durable: see `feed::reset`.
    pub(super) async fn check_feed(&self, known: Known, head: Seq) {
        let log = &*self.ports.log;
        let checked = match log.bounds(self.app_id).await {
            Ok(bounds) => self.feed.check(log, known, bounds.epoch, head).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = checked {
            // The next commit finds the same, and so does the watch of the sessions.
            warn!(app.id = %self.app_id, error = %failure, "the epoch of a feed could not be checked");
        }
    }

    /// Forgets what is in memory once the feed was reset: the database has an earlier state then.
    pub(super) fn forget_before_reset(&mut self) {
        let resets = self.feed.known().resets;
        if resets != self.resets {
            self.resets = resets;
            self.roster = Roster::default();
            self.interactions = InteractionCache::default();
            self.recent_keys = RecentKeys::default();
            self.inbox.lock().invalidate();
        }
    }
}
