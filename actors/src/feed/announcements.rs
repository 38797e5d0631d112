//! What other processes on the same database must learn of this one. Marked where it happens, collected by what sends it.
//!
//! A mark is only a hint: a process that gets it asks the store. So a lost one costs the time until the next poll, and one too
//! many costs a query.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::id::{AppId, Seq};

/// What other processes must learn. While nothing would be sent, a mark costs one load of a flag.
#[derive(Debug, Default)]
pub struct Announcements {
    is_wanted: AtomicBool,
    due: Mutex<Due>,
    marked: Notify,
}

/// What has been marked and not been taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The newest event of each feed that has new ones.
    pub heads: BTreeMap<AppId, Seq>,
    /// The apps with webhooks in the journal that another process is to take up.
    pub pending: BTreeSet<AppId>,
    /// The apps of which a key has ended, or that were switched off or deleted.
    pub access: BTreeSet<AppId>,
    /// The apps of which stored events were changed.
    pub rewritten: BTreeSet<AppId>,
    /// The apps with a named consumer whose connections at other processes have something to do.
    pub consumers: BTreeSet<AppId>,
    /// When the first of all this was marked.
    pub since: Option<Instant>,
}

impl Announcements {
    /// Says whether anybody would get what is marked from now on. Returns whether that has changed.
    pub fn set_wanted(&self, is_wanted: bool) -> bool {
        self.is_wanted.swap(is_wanted, Relaxed) != is_wanted
    }

    /// Whether anybody would get what is marked: other processes work on the same database.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Relaxed)
    }

    /// Marks that a feed has new events.
    pub(crate) fn head(&self, app: AppId, newest: Seq) {
        self.mark(|due| {
            let head = due.heads.entry(app).or_default();
            *head = newest.max(*head);
        });
    }

    /// Marks that an app has webhooks which another process is to take up.
    pub(crate) fn pending(&self, app: AppId) {
        self.mark(|due| _ = due.pending.insert(app));
    }

    /// Marks that a key of an app has ended, or that the app was switched off or deleted.
    pub(crate) fn access(&self, app: AppId) {
        self.mark(|due| _ = due.access.insert(app));
    }

    /// Marks that stored events of an app were changed.
    pub(crate) fn rewritten(&self, app: AppId) {
        self.mark(|due| _ = due.rewritten.insert(app));
    }

    /// Marks that connections of a named consumer at other processes have something to do.
    pub(crate) fn consumers(&self, app: AppId) {
        self.mark(|due| _ = due.consumers.insert(app));
    }

    /// Waits until something is marked, unless something is.
    pub async fn marked(&self) {
        self.marked.notified().await;
    }

    /// Takes what is marked.
    #[must_use]
    pub fn take(&self) -> Due {
        std::mem::take(&mut *self.due.lock())
    }

    fn mark(&self, add: impl FnOnce(&mut Due)) {
        if !self.is_wanted.load(Relaxed) {
            return;
        }
        let mut due = self.due.lock();
        due.since.get_or_insert_with(Instant::now);
        add(&mut due);
        drop(due);
        self.marked.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_marked_several_times_is_taken_once_with_the_newest_event() {
        let announcements = Announcements::default();
        announcements.set_wanted(true);
        let app = AppId::generate();
        for newest in [7, 9, 8] {
            announcements.head(app, Seq(newest));
        }
        announcements.marked().await;
        let due = announcements.take();
        assert_eq!((due.heads, due.since.is_some()), ([(app, Seq(9))].into(), true));
        assert_eq!(announcements.take(), Due::default());
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let announcements = Announcements::default();
        announcements.access(AppId::generate());
        assert_eq!(announcements.take(), Due::default());
    }
}
