//! Disconnects an app: its tokens are revoked at Dialpad and deleted here.

use std::time::Duration;

use cti_actors::{Engine, error::StoreError, id::AppId};
use tokio::time::timeout;
use tracing::{info, warn};

use super::access::{Access, NoAccess};
use crate::{
    dialpad::{api::Dialpad, webhooks::WebhookReconciler},
    store::Store,
};

/// How long to wait for a valid token; revoking takes one.
const ACCESS_TIMEOUT: Duration = Duration::from_secs(5);

/// Removes an app's webhook at Dialpad, deletes and revokes its tokens, and emits the event. Returns whether the app
/// had a connection.
///
/// # Errors
/// The database can't be reached; the app is still connected.
pub async fn disconnect_app(
    webhook_reconciler: &WebhookReconciler,
    dialpad: &Dialpad,
    store: &Store,
    engine: &Engine,
    app: AppId,
) -> Result<bool, StoreError> {
    // May refresh the token.
    let access = timeout(ACCESS_TIMEOUT, dialpad.access.of(app)).await;
    let has_connection =
        !matches!(&access, Ok(Err(NoAccess::NotConnected) | Ok(Access { generation: 0, .. })));
    let access = match access {
        Ok(Err(NoAccess::Store(error @ StoreError::Unavailable(_)))) => return Err(error),
        Ok(Ok(access)) if access.generation != 0 => Some(access),
        // Not connected, expired, or encrypted with a key that is lost: the rows can still be deleted.
        Ok(Ok(_) | Err(_)) | Err(_) => None,
    };
    if has_connection {
        webhook_reconciler.deregister(app).await;
    }
    let Some(event) = store.connections().disconnect(app).await? else { return Ok(false) };
    engine.publish(app, vec![event]);
    revoke(dialpad, app, access).await;
    Ok(true)
}

async fn revoke(dialpad: &Dialpad, app: AppId, access: Option<Access>) {
    let Some(access) = access else {
        return warn!(app.id = %app, "the app's tokens were deleted but not revoked at Dialpad: none of them is valid");
    };
    match dialpad.client.deauthorize(&access.token).await {
        Ok(()) => info!(app.id = %app, "an app was disconnected"),
        Err(error) => {
            warn!(app.id = %app, %error, "the app's tokens were deleted but not revoked at Dialpad")
        }
    }
}
