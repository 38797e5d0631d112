//! Removing an app's webhook from Dialpad.

use std::time::Duration;

use cti_actors::id::AppId;
use tokio::time::timeout;
use tracing::{info, warn};

use super::{CHECK_TIMEOUT, ReconcileError, WebhookReconciler, timed_out};
use crate::dialpad::{
    client::{DialpadError, request::Urgency},
    oauth::access::NoAccess,
};

/// How long a disconnection, or a new connection, waits for the removal of the webhook.
const DEREGISTER_TIMEOUT: Duration = Duration::from_secs(5);

/// What happens to webhooks that Dialpad signed before the removal and that arrive later.
#[derive(Clone, Copy)]
enum LateWebhooks {
    Accepted,
    Refused,
}

impl WebhookReconciler {
    /// Prepares a new connection of an app to this organization. If the app was at another organization, its webhook
    /// there is removed while there is still a token for that.
    pub async fn on_reconnecting(&self, app: AppId, organization: Option<i64>) {
        let previous = match self.inner.store.webhooks().of_app(app).await {
            Ok(webhook) => webhook.and_then(|webhook| webhook.organization),
            Err(error) => {
                return warn!(app.id = %app, %error, "the app's webhook at its previous organization can't be looked up");
            }
        };
        let Some(organization) = organization else { return };
        if previous.is_some_and(|previous| previous != organization) {
            self.try_to_deregister(app, LateWebhooks::Refused).await;
        }
        // Also for an app that was disconnected before: late webhooks would be taken for those of the new organization.
        if let Err(error) = self.inner.store.webhooks().drop_foreign_secrets(app, organization).await {
            warn!(app.id = %app, %error, "the webhook secrets of the previous organization could not be deleted");
        }
    }

    /// Removes the webhook of an app that is being disconnected. Late webhooks are still accepted.
    pub async fn deregister(&self, app: AppId) {
        self.try_to_deregister(app, LateWebhooks::Accepted).await;
    }

    async fn try_to_deregister(&self, app: AppId, late_webhooks: LateWebhooks) {
        let claimed = match timeout(DEREGISTER_TIMEOUT, self.claim(app)).await {
            Ok(Ok(claimed)) => claimed,
            Ok(Err(ReconcileError::NotFound)) => return,
            Ok(Err(error)) => return warn!(app.id = %app, %error, "the app's webhook could not be removed"),
            Err(_) => return warn!(app.id = %app, "the app's webhook could not be removed in time"),
        };
        let hook_url = self.hook_url(app);
        let remote = self.remote(app, &hook_url, Urgency::Foreground);
        let removed = timeout(DEREGISTER_TIMEOUT, remote.remove_everything(&claimed.webhook)).await;
        match removed.unwrap_or_else(|_| Err(timed_out())) {
            Ok(()) => info!(app.id = %app, "the app's webhook was removed"),
            Err(error) => warn_left_behind(app, &error),
        }
        let accepts_late = matches!(late_webhooks, LateWebhooks::Accepted);
        if let Err(error) = self.inner.store.webhooks().remove(claimed, accepts_late).await {
            warn!(app.id = %app, %error, "the app's webhook could not be deleted here");
        }
    }

    /// Removes an app's webhook on an administrator's request, at Dialpad and here. No later check creates it again.
    ///
    /// # Errors
    /// See [`ReconcileError`]; the webhook still exists. Without access to Dialpad it is deleted only here.
    pub async fn remove(&self, app: AppId) -> Result<(), ReconcileError> {
        let claimed = self.claim(app).await?;
        let hook_url = self.hook_url(app);
        let remote = self.remote(app, &hook_url, Urgency::Foreground);
        let removed = timeout(CHECK_TIMEOUT, remote.remove_everything(&claimed.webhook)).await;
        match removed.unwrap_or_else(|_| Err(timed_out())) {
            Ok(()) => info!(app.id = %app, "the app's webhook was removed"),
            Err(error @ DialpadError::NoAccess(NoAccess::NotConnected | NoAccess::Expired)) => {
                warn_left_behind(app, &error);
            }
            Err(error) => {
                self.inner.store.webhooks().release(claimed).await?;
                return Err(error.into());
            }
        }
        Ok(self.inner.store.webhooks().remove(claimed, true).await?)
    }
}

fn warn_left_behind(app: AppId, error: &DialpadError) {
    warn!(app.id = %app, %error, "the app's webhook was deleted here but may still exist at Dialpad");
}
