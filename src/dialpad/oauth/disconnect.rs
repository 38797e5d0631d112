//! How an app parts with Dialpad: its tokens are worthless afterwards, there and here.

use std::time::Duration;

use cti_actors::{Engine, error::StoreError, id::AppId};
use tokio::time::timeout;
use tracing::{info, warn};

use super::access::{Access, NoAccess};
use crate::dialpad::{api::Dialpad, webhooks::WebhookReconciler};
use crate::store::Store;

/// How long to wait for a token that can revoke the others.
const LIVING_TOKEN_WITHIN: Duration = Duration::from_secs(5);

/// Forgets an app's tokens, here and at Dialpad, and tells so; before that, its webhook there goes. Says whether there
/// were any tokens.
///
/// # Errors
/// The database could not be asked; the tokens are still there then.
pub async fn part(
    webhook_reconciler: &WebhookReconciler,
    dialpad: &Dialpad,
    store: &Store,
    engine: &Engine,
    app: AppId,
) -> Result<bool, StoreError> {
    // Only a token that lives can revoke the others; this may get one.
    let access = timeout(LIVING_TOKEN_WITHIN, dialpad.access.of(app)).await;
    let has_connection =
        !matches!(&access, Ok(Err(NoAccess::NotConnected) | Ok(Access { generation: 0, .. })));
    let access = match access {
        Ok(Err(NoAccess::Store(failure @ StoreError::Unavailable(_)))) => return Err(failure),
        Ok(Ok(access)) if access.generation != 0 => Some(access),
        // Not connected, dead, or sealed with a key that is gone: it can still be forgotten.
        Ok(Ok(_) | Err(_)) | Err(_) => None,
    };
    if has_connection {
        webhook_reconciler.farewell(app).await;
    }
    let Some(told) = store.connections().disconnect(app).await? else { return Ok(false) };
    engine.publish(app, vec![told]);
    revoke(dialpad, app, access).await;
    Ok(true)
}

async fn revoke(dialpad: &Dialpad, app: AppId, access: Option<Access>) {
    let Some(access) = access else {
        return warn!(app.id = %app, "there is no living token to revoke the others with at Dialpad; all are forgotten");
    };
    match dialpad.client.deauthorize(&access.token).await {
        Ok(()) => info!(app.id = %app, "an app was disconnected"),
        Err(error) => {
            warn!(app.id = %app, %error, "the tokens could not be revoked at Dialpad; they are forgotten")
        }
    }
}
