//! Other processes on the same database: what they announce, and what this one announces to them.
//!
//! Nothing here is needed for what is promised: each process polls the store as well. It only makes the rest faster.

use std::sync::Arc;

use super::Engine;
use crate::{
    error::StoreError,
    feed::Announcements,
    id::{AppId, Seq},
};

impl Engine {
    /// Returns what other processes must learn.
    #[must_use]
    pub fn announcements(&self) -> Arc<Announcements> {
        Arc::clone(self.tenants.announcements())
    }

    /// Makes other processes check at once which sessions of an app may stay open: a key of it has ended, or it was switched off
    /// or deleted.
    pub fn announce_access(&self, app: AppId) {
        self.tenants.announcements().access(app);
    }

    /// Delivers what another process has emitted to the sessions of an app, up to this event. Must be called within a runtime.
    pub fn on_head(&self, app: AppId, newest: Seq) {
        self.tenants.follow(app, newest);
    }

    /// Makes the supervisor of an app read the journal, because another process has written to it. Without effect for an app
    /// that this process does not own.
    pub fn on_pending(&self, app: AppId) {
        if let Some(tenant) = self.tenants.owned(app) {
            tenant.notify();
        }
    }

    /// Forgets what is in memory of an app, because another process has changed stored calls and events.
    pub async fn on_rewritten(&self, app: AppId) {
        if let Some(tenant) = self.tenants.get(app) {
            tenant.forget().await;
            tenant.handle.feed.forget();
        }
    }

    /// Makes the shared consumers of an app look at the store, because another process has something for them.
    pub fn on_consumers(&self, app: AppId) {
        if let Some(tenant) = self.tenants.get(app) {
            tenant.handle.consumers.mark_outdated();
        }
    }

    /// Checks at once which sessions may stay open, and what other processes have emitted.
    pub fn check_sessions(&self) {
        self.tenants.watch_now().notify_one();
    }

    /// Looks at once for everything that another process may have announced.
    ///
    /// # Errors
    /// The store failed. The next poll finds the same.
    pub async fn poll_now(&self) -> Result<(), StoreError> {
        self.check_sessions();
        self.sweep().await
    }
}
