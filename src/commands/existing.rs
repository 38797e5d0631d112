//! Opening a database that a command expects to find.

use std::{path::PathBuf, sync::Arc};

use cti_actors::{clock::Clock, error::StoreError};
use thiserror::Error;

use crate::{
    config::Config,
    database_url::DatabaseUrl,
    startup::{StartError, open_store},
    store::Store,
};

/// Why there is no such database.
#[derive(Debug, Error)]
pub enum OpenError {
    /// There is no database: it is not created.
    #[error("there is no database at {}", .0.display())]
    NoDatabase(PathBuf),
    /// The database can't be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The database has another schema than this version.
    #[error("the database lacks {}; run `cti-server migrate` first", .0.join(", "))]
    NotMigrated(Vec<String>),
    /// The database could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the database, if there is one of this version.
pub(super) async fn open_existing(config: &Config, clock: Arc<dyn Clock>) -> Result<Store, OpenError> {
    if let DatabaseUrl::Sqlite(path) = &config.database_url
        && !path.exists()
    {
        return Err(OpenError::NoDatabase(path.clone()));
    }
    let (store, _) = open_store(config, clock).await?;
    let pending = store.pending_migrations().await?;
    if pending.is_empty() { Ok(store) } else { Err(OpenError::NotMigrated(pending)) }
}
