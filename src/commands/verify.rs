//! `cti-server verify`: checks the invariants of the database.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use cti_actors::clock::SystemClock;
use thiserror::Error;

use super::existing::{OpenError, open_existing};
use crate::{
    config::{Config, ConfigError, Needs},
    store::verify::Verified,
};

/// Check the invariants of the database: the feeds have no holes, every event has its cause, every call is what its facts
/// say. Prints one line for each that is broken. Only reads; a server may run meanwhile.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// A settings file that overrides the defaults; environment variables override the file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Why `verify` failed.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The settings are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no database of this version.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database could not be read.
    #[error(transparent)]
    Store(#[from] cti_actors::error::StoreError),
    /// Invariants are broken; each was printed.
    #[error("{0} lines: the database is not sound")]
    Broken(usize),
    /// The output failed.
    #[error(transparent)]
    Print(#[from] io::Error),
}

/// Checks the invariants and prints what is broken.
///
/// # Errors
/// See [`VerifyError`].
pub async fn run(args: VerifyArgs) -> Result<(), VerifyError> {
    let config = Config::load(args.config.as_deref(), Needs::Database)?;
    let store = open_existing(&config, Arc::new(SystemClock)).await?;
    let verified = store.verification().run().await;
    store.close().await;
    print(&verified?)
}

fn print(verified: &Verified) -> Result<(), VerifyError> {
    let mut out = io::stdout().lock();
    for line in &verified.broken {
        writeln!(out, "{line}")?;
    }
    let checked = verified.checked;
    match verified.broken.len() {
        0 => {
            writeln!(out, "sound: {checked}")?;
            Ok(())
        }
        lines => {
            writeln!(out, "checked: {checked}")?;
            Err(VerifyError::Broken(lines))
        }
    }
}
