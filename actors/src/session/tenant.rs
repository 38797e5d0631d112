//! An app as its sessions see it.

use std::sync::Arc;

use super::Sessions;
use crate::{
    consumer::Consumers,
    error::StoreError,
    feed::{Feed, Follower},
    id::AppId,
    ports::{Authenticator, Bounds, EventLog},
};

/// The handle on one app that a session works with. The engine makes one per app and shares it with all sessions.
pub struct TenantHandle {
    pub(crate) app_id: AppId,
    pub(crate) feed: Arc<Feed>,
    pub(crate) follower: Arc<Follower>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) consumers: Arc<Consumers>,
}

impl TenantHandle {
    /// Returns the open sessions.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Returns the named consumers.
    #[must_use]
    pub fn consumers(&self) -> &Consumers {
        &self.consumers
    }

    /// Returns what the store keeps of the feed, and checks whether that has gone back.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn bounds(&self) -> Result<Bounds, StoreError> {
        loop {
            let known = self.feed.known();
            let bounds = self.log.bounds(self.app_id).await?;
            if let Some(epoch) = self.feed.check(&*self.log, known, bounds.epoch, bounds.head).await? {
                return Ok(Bounds { epoch, ..bounds });
            }
        }
    }
}

/// Finds apps for sessions whose key arrives with their first message.
pub trait TenantDirectory: Send + Sync {
    /// Returns the handle on an app.
    fn tenant(&self, app: AppId) -> Arc<TenantHandle>;

    /// Returns what checks API keys.
    fn authenticator(&self) -> Arc<dyn Authenticator>;
}
