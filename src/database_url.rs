//! Where the database is.

use std::{fmt, path::PathBuf, str::FromStr};

use sqlx::postgres::PgConnectOptions;
use thiserror::Error;

/// A database URL, parsed. Its `Debug` form has no password.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A server of PostgreSQL.
    Postgres(Box<PgConnectOptions>),
}

/// Why a database URL can't be used, as the end of a sentence that names the setting.
#[derive(Debug, Error)]
pub enum DatabaseUrlError {
    /// The part before `://` is neither `sqlite` nor `postgres`.
    #[error("must begin with sqlite:// or postgres://")]
    Scheme,
    /// It can't be parsed.
    #[error("{0}")]
    Malformed(String),
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(":memory:") {
                return Err(DatabaseUrlError::Malformed("needs the path of a file: sqlite://PATH".into()));
            }
            return Ok(Self::Sqlite(path.into()));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options =
                url.parse().map_err(|error: sqlx::Error| DatabaseUrlError::Malformed(error.to_string()))?;
            return Ok(Self::Postgres(Box::new(options)));
        }
        Err(DatabaseUrlError::Scheme)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(options) => write!(
                f,
                "postgres://{}:{}/{}",
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default()
            ),
        }
    }
}
