//! Encrypts stored secrets with the first of several keys.

use std::time::Duration;

use cti_actors::error::StoreError;
use tracing::{info, warn};

use super::periodic::{every, periodic};
use crate::store::{Store, crypto::reencrypt::Resealed};

/// Runs as long as there are several keys, because another process may still encrypt with an older one.
pub(super) async fn run(store: Store, interval: Duration) {
    if !store.reencryption().is_due() {
        return;
    }
    let state = (store, None);
    periodic("reencrypt", every(interval), state, |(store, last)| Box::pin(reencrypt(store, last))).await;
}

/// Encrypts everything that the first key did not encrypt. Logs the result unless it is the same as the last one.
async fn reencrypt(store: &Store, last: &mut Option<Resealed>) -> Result<(), StoreError> {
    let result = store.reencryption().run().await?;
    if last.replace(result) == Some(result) {
        return Ok(());
    }
    match result {
        Resealed { changed: 0, lost: 0 } => {
            info!(
                "every secret is encrypted with the first TOKEN_ENCRYPTION_KEY; the other keys can be removed"
            );
        }
        Resealed { changed, lost: 0 } => {
            info!(changed, "secrets were encrypted again, with the first TOKEN_ENCRYPTION_KEY");
        }
        Resealed { changed, lost } => {
            warn!(changed, lost, "no TOKEN_ENCRYPTION_KEY decrypts some of the secrets");
        }
    }
    Ok(())
}
