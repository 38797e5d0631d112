//! Apps on their way out: gone at once for everybody who asks, then parted from Dialpad, then row by row.
//!
//! Every step may be done again, so whoever died on the way is taken over by the next look ([`AppDeletion::run`]), which
//! also finds what a straggler wrote after its app was gone.

use std::{sync::Arc, time::Duration};

use cti_actors::{Engine, error::StoreError, id::AppId, session::CloseCode};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use crate::{
    dialpad::{api::Dialpad, oauth::disconnect::part, webhooks::WebhookReconciler},
    store::{Store, tenants::deletion::RemovalBegun},
};

/// How long whoever removes an app waits for its rows to go. What takes longer goes on by itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often unfinished app_deletion are looked for.
const EVERY: Duration = Duration::from_secs(20);
/// What sessions are told.
const REASON: &str = "the app was removed";

/// Removes apps. Cheap to clone.
#[derive(Clone)]
pub struct AppDeletion {
    /// The database.
    pub store: Store,
    /// The engine.
    pub engine: Arc<Engine>,
    /// The way to Dialpad.
    pub dialpad: Dialpad,
    /// The webhook_reconciler of webhooks there.
    pub webhook_reconciler: WebhookReconciler,
}

impl AppDeletion {
    /// Removes an app, and waits a while until there is nothing left of it.
    ///
    /// # Errors
    /// The database could not be asked; the app may be there still.
    pub async fn remove(&self, app: AppId) -> Result<RemovalBegun, StoreError> {
        let begun = self.store.apps().begin_deletion(app).await?;
        if begun == RemovalBegun::Now {
            self.engine.close_sessions_of(app, CloseCode::Forbidden, REASON);
            info!(app.id = %app, "an app is being removed");
            let app_deletion = self.clone();
            // Goes on if nobody waits any more.
            let finished = tokio::spawn(async move { app_deletion.finish(app).await });
            if timeout(PATIENCE, finished).await.is_err() {
                info!(app.id = %app, "the rest of an app is removed in the background");
            }
        }
        Ok(begun)
    }

    /// Finishes what is left to do, as long as the server runs.
    pub async fn run(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.store.apps().unfinished_deletions().await {
                Ok(apps) => {
                    for app in apps {
                        self.finish(app).await;
                    }
                }
                Err(failure) => warn!(error = %failure, "unfinished app_deletion can't be looked up"),
            }
        }
    }

    async fn finish(&self, app: AppId) {
        // Also if it has its webhook by the static key, and so no connection to part with.
        self.webhook_reconciler.farewell(app).await;
        if let Err(failure) =
            part(&self.webhook_reconciler, &self.dialpad, &self.store, &self.engine, app).await
        {
            return warn!(app.id = %app, error = %failure, "a removal has to wait");
        }
        self.engine.remove_app(app, CloseCode::Forbidden, REASON).await;
        if let Err(failure) = self.store.apps().delete_rows(app).await {
            warn!(app.id = %app, error = %failure, "a removal has to wait");
        }
    }
}
