//! `cti-server migrate`: applies the pending migrations and lists them.

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

/// Apply the pending migrations and list them.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
    /// A settings file that overrides the defaults; environment variables override the file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Why `migrate` failed.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The settings are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database can't be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A migration failed.
    #[error(transparent)]
    Store(#[from] cti_actors::error::StoreError),
    /// The output failed.
    #[error(transparent)]
    Print(#[from] io::Error),
}

/// Applies the pending migrations.
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
