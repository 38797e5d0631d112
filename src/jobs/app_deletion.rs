//! The deletion of an app: hidden at once, then disconnected from Dialpad, then deleted row by row.
//!
//! Every step can be repeated. A deletion that did not finish, and rows that a late request wrote after its app was
//! gone, are found by the periodic job.

use std::{sync::Arc, time::Duration};

use cti_actors::{Engine, error::StoreError, id::AppId, session::CloseCode};
use tokio::time::timeout;
use tracing::{info, warn};

use super::periodic::{every, periodic_once};
use crate::{
    dialpad::{api::Dialpad, oauth::disconnect::disconnect_app, webhooks::WebhookReconciler},
    store::{Store, tenants::deletion::DeletionBegun},
    tasks::Tasks,
};

/// How long a request waits for the rows to be deleted. The rest continues in the background.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);
const UNFINISHED_INTERVAL: Duration = Duration::from_secs(20);
/// What the app's sessions are closed with.
const REASON: &str = "the app was removed";

/// Deletes apps. Cheap to clone.
#[derive(Clone)]
pub struct AppDeletion {
    /// Where the app's rows are.
    pub store: Store,
    /// Holds the app's sessions and actors.
    pub engine: Arc<Engine>,
    /// Revokes the app's tokens.
    pub dialpad: Dialpad,
    /// Removes the app's webhook at Dialpad.
    pub webhook_reconciler: WebhookReconciler,
    /// Runs what outlives the request.
    pub tasks: Tasks,
}

impl AppDeletion {
    /// Begins to delete an app and waits up to 10 s until nothing is left of it.
    ///
    /// # Errors
    /// The database can't be reached; the app may still exist.
    pub async fn remove(&self, app: AppId) -> Result<DeletionBegun, StoreError> {
        let begun = self.store.apps().begin_deletion(app).await?;
        if begun == DeletionBegun::Now {
            self.engine.close_sessions_of(app, CloseCode::Forbidden, REASON);
            info!(app.id = %app, "an app is being deleted");
            let deletion = self.clone();
            // A task of its own: it continues when the request has ended.
            let finished = self.tasks.spawn(async move { deletion.finish(app).await });
            if timeout(WAIT_TIMEOUT, finished).await.is_err() {
                info!(app.id = %app, "the rest of an app is deleted in the background");
            }
        }
        Ok(begun)
    }

    /// Finishes the deletions that were interrupted, periodically.
    pub(super) async fn run(self) {
        let ticks = every(UNFINISHED_INTERVAL);
        periodic_once(self.store.clone(), "finish app deletions", ticks, self, |deletion| {
            Box::pin(deletion.finish_all())
        })
        .await;
    }

    async fn finish_all(&self) -> Result<(), StoreError> {
        for app in self.store.apps().unfinished_deletions().await? {
            self.finish(app).await;
        }
        Ok(())
    }

    async fn finish(&self, app: AppId) {
        if let Err(error) = self.try_to_finish(app).await {
            warn!(app.id = %app, %error, "an app could not be deleted yet");
        }
    }

    async fn try_to_finish(&self, app: AppId) -> Result<(), StoreError> {
        // Also for an app that has its webhook by the static key, and so no connection to disconnect.
        self.webhook_reconciler.deregister(app).await;
        disconnect_app(&self.webhook_reconciler, &self.dialpad, &self.store, &self.engine, app).await?;
        self.engine.remove_app(app, CloseCode::Forbidden, REASON).await;
        self.store.apps().delete_rows(app).await
    }
}
