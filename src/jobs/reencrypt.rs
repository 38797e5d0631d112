//! Encrypts stored secrets with the first of several keys.

use std::time::Duration;

use cti_actors::error::StoreError;
use tracing::{info, warn};

use super::periodic::{every, periodic_once};
use crate::store::{Store, crypto::reencrypt::Reencrypted};

/// Runs as long as there are several keys, because another process may still encrypt with an older one.
pub(super) async fn run(store: Store, interval: Duration) {
    if !store.reencryption().is_due() {
        return;
    }
    let state = (store.clone(), None);
    periodic_once(store, "reencrypt", every(interval), state, |(store, last)| {
        Box::pin(reencrypt(store, last))
    })
    .await;
}

/// Encrypts everything that the first key did not encrypt. Logs the result unless it is the same as the last one.
async fn reencrypt(store: &Store, last: &mut Option<Reencrypted>) -> Result<(), StoreError> {
    let result = store.reencryption().run().await?;
    if last.replace(result) == Some(result) {
        return Ok(());
    }
    match result {
        Reencrypted { changed: 0, lost: 0 } => {
            info!(
                "every secret is encrypted with the first TOKEN_ENCRYPTION_KEY; the other keys can be removed"
            );
        }
        Reencrypted { changed, lost: 0 } => {
            info!(changed, "secrets were encrypted again, with the first TOKEN_ENCRYPTION_KEY");
        }
        Reencrypted { changed, lost } => {
            warn!(changed, lost, "no TOKEN_ENCRYPTION_KEY decrypts some of the secrets");
        }
    }
    Ok(())
}
