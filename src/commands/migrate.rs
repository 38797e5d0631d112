//! `cti-server migrate`: applies the pending migrations and says which.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use cti_actors::clock::SystemClock;
use thiserror::Error;

use crate::{
    config::{Config, ConfigError, Needs},
    startup::{StartError, open_store},
};

/// Apply the pending migrations and say which.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
    /// A file of settings to lay over the defaults; environment variables go before it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Why nothing was migrated.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database can't be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A migration failed.
    #[error(transparent)]
    Store(#[from] cti_actors::error::StoreError),
    /// Nobody listens.
    #[error(transparent)]
    Print(#[from] io::Error),
}

/// Applies what is pending.
///
/// # Errors
/// See [`MigrateError`].
pub async fn run(args: MigrateArgs) -> Result<(), MigrateError> {
    let config = Config::load(args.config.as_deref(), Needs::Database)?;
    let (store, _) = open_store(&config, Arc::new(SystemClock)).await?;
    let applied = store.migrate().await?;
    let mut out = io::stdout().lock();
    for migration in &applied {
        writeln!(out, "applied {migration}")?;
    }
    if applied.is_empty() {
        writeln!(out, "nothing to apply: the database is up to date")?;
    }
    store.close().await;
    Ok(())
}
