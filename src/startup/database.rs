//! Opening the database, and its schema.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cti_actors::clock::Clock;
use tracing::{info, warn};

use super::StartError;
use crate::{
    config::{Config, Environment},
    database_url::DatabaseUrl,
    encryption_keys::EncryptionKeys,
    store::{Store, crypto::vault::Vault, journal::pending::DurableWebhooks},
};

/// Opens the database with the keys that its secrets are encrypted with.
///
/// # Errors
/// The database can't be opened, or the key file can be neither read nor created.
pub async fn open_store(
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<(Store, DurableWebhooks), StartError> {
    let keys = match &config.token_encryption_keys {
        Some(keys) => keys.clone(),
        None => {
            let path = key_file(&config.database_url);
            warn!(file = %path.display(), "TOKEN_ENCRYPTION_KEY is not set; stored tokens are encrypted with a key file");
            EncryptionKeys::from_file(&path)?
        }
    };
    Ok(Store::open(&config.database_url, Vault::new(&keys), clock).await?)
}

/// Returns the file with the key that secrets are encrypted with, where no setting has it.
pub(crate) fn key_file(database: &DatabaseUrl) -> PathBuf {
    match database {
        DatabaseUrl::Sqlite(path) => path.with_extension("key"),
        DatabaseUrl::Postgres(_) => Path::new("data").join("token_encryption.key"),
    }
}

/// Refuses a file that another server uses and, in production, a database that may lose what it has committed.
pub(super) async fn check_database(config: &Config, store: &Store) -> Result<(), StartError> {
    store.claim()?;
    let problems = store.durability_problems().await?;
    if !problems.is_empty() && config.environment == Environment::Production && !config.allow_unsafe_database
    {
        return Err(StartError::UnsafeDatabase(problems));
    }
    for problem in problems {
        warn!("acknowledged webhooks may be lost when the database crashes: {problem}");
    }
    Ok(())
}

/// Applies the pending migrations, or checks that there are none.
pub(super) async fn migrate(store: &Store, auto_migrate: bool) -> Result<(), StartError> {
    if auto_migrate {
        for migration in store.migrate().await? {
            info!(migration, "a migration was applied");
        }
        return Ok(());
    }
    let pending = store.pending_migrations().await?;
    if pending.is_empty() { Ok(()) } else { Err(StartError::NotMigrated(pending)) }
}
