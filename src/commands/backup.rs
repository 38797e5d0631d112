//! `cti-server backup FILE`: a copy of the database, also while a server runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use cti_actors::error::StoreError;
use sqlx::postgres::PgConnectOptions;
use thiserror::Error;

use super::{output::print_line, postgres_tools, private_file};
use crate::{
    config::{Config, ConfigError, Needs},
    database_url::DatabaseUrl,
    store::backup::{Check, check_sqlite, copy_sqlite, host_of, note},
};

/// Copy the database to a file, also while a server runs.
///
/// A SQLite database is copied as of one moment and checked. A PostgreSQL database is dumped by `pg_dump`. The key that
/// encrypts tokens is not part of the copy: keep it as well.
#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// The file to write; only its owner can read it
    file: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// A settings file that overrides the defaults; environment variables override the file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Why `backup` failed.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The settings are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file exists.
    #[error("{} exists; replace it with --force", .0.display())]
    Exists(PathBuf),
    /// The file is the database.
    #[error("{} is the database itself", .0.display())]
    Itself(PathBuf),
    /// The file can't be written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The database can't be copied.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `pg_dump` is not installed.
    #[error("pg_dump was not found; where it is installed, run:\n  {0}")]
    NoTool(String),
    /// `pg_dump` failed.
    #[error("pg_dump failed: {0}")]
    Dump(String),
}

/// Writes the copy.
///
/// # Errors
/// See [`BackupError`]; the file is unchanged then.
pub async fn run(args: BackupArgs) -> Result<(), BackupError> {
    let BackupArgs { file, force, config } = args;
    let config = Config::load(config.as_deref(), Needs::Database)?;
    if let DatabaseUrl::Sqlite(database) = &config.database_url
        && let (Ok(target), Ok(database)) = (file.canonicalize(), database.canonicalize())
        && target == database
    {
        return Err(BackupError::Itself(file));
    }
    if !force && file.exists() {
        return Err(BackupError::Exists(file));
    }
    let partial = private_file::beside(&file, ".partial");
    private_file::create(&partial).map_err(|error| BackupError::File { path: partial.clone(), error })?;
    let written = match &config.database_url {
        DatabaseUrl::Sqlite(database) => copy(database, &partial).await,
        DatabaseUrl::Postgres(hosts) => match host_of(hosts).await {
            Ok(database) => dump(&database, &partial, &file).await,
            Err(error) => Err(error.into()),
        },
    };
    let written = written.and_then(|()| {
        private_file::move_to(&partial, &file)
            .map_err(|error| BackupError::File { path: file.clone(), error })
    });
    if written.is_err() {
        // It may not be there: the error above counts.
        let _ = fs::remove_file(&partial);
    }
    written?;
    // `doctor` asks for it. The copy is good without.
    if let Err(error) = note(&config.database_url, SystemTime::now().into()).await {
        print_line(&format!("the time of the backup could not be noted in the database: {error}"));
    }
    let bytes = fs::metadata(&file).map_or(0, |file| file.len());
    print_line(&format!("wrote {} ({bytes} bytes)", file.display()));
    Ok(())
}

async fn copy(database: &Path, target: &Path) -> Result<(), BackupError> {
    let error = |error| BackupError::File { path: target.to_owned(), error };
    let text = target.to_str().ok_or_else(|| error(io::Error::other("the name is not valid UTF-8")))?;
    copy_sqlite(database, text).await?;
    check_sqlite(target, Check::Quick).await?;
    Ok(())
}

async fn dump(database: &PgConnectOptions, partial: &Path, file: &Path) -> Result<(), BackupError> {
    let error = |error| BackupError::File { path: partial.to_owned(), error };
    let arguments = vec!["--format=custom".to_owned(), format!("--file={}", partial.display())];
    match postgres_tools::run("pg_dump", arguments, database).await.map_err(error)? {
        Some(output) if output.status.success() => Ok(()),
        Some(output) => Err(BackupError::Dump(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        None => {
            let line = format!("pg_dump --format=custom --file={} \"$DATABASE_URL\"", file.display());
            Err(BackupError::NoTool(line))
        }
    }
}
