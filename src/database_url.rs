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
                return Err(malformed("needs the path of a file: sqlite://PATH"));
            }
            if let Some((path, parameters)) = path.split_once('?') {
                return Err(malformed(format!("sqlite://{path} takes no parameters, but has ?{parameters}")));
            }
            return Ok(Self::Sqlite(path.into()));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            check_parameters(url)?;
            let options =
                url.parse().map_err(|error: sqlx::Error| DatabaseUrlError::Malformed(error.to_string()))?;
            return Ok(Self::Postgres(Box::new(options)));
        }
        Err(DatabaseUrlError::Scheme)
    }
}

fn malformed(problem: impl Into<String>) -> DatabaseUrlError {
    DatabaseUrlError::Malformed(problem.into())
}

/// Refuses what libpq understands and the driver ignores without a word: another server than the wanted one would be used.
fn check_parameters(url: &str) -> Result<(), DatabaseUrlError> {
    let (base, parameters) = url.split_once('?').unwrap_or((url, ""));
    let authority = base.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    if hosts.contains(',') {
        return Err(malformed(
            "must name one host; put a proxy or an address that moves in front of several",
        ));
    }
    for parameter in parameters.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let is_several =
            matches!(name, "host" | "hostaddr" | "port") && (value.contains(',') || value.contains("%2C"));
        let is_other_server = match name {
            // The server needs one that can be written; `/health` says so while it is not.
            "target_session_attrs" => !matches!(value, "any" | "read-write" | "primary"),
            "load_balance_hosts" => value != "disable",
            _ => false,
        };
        if is_several || is_other_server {
            return Err(malformed(format!("has the parameter {name}={value}, which is not supported")));
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(url: &str) -> String {
        url.parse::<DatabaseUrl>().expect_err(url).to_string()
    }

    #[test]
    fn what_would_be_ignored_is_refused_by_name() {
        assert!(problem("sqlite://data/cti.db?mode=rwc").contains("?mode=rwc"));
        assert!(problem("postgres://u:p@a,b/cti").contains("one host"));
        assert!(problem("postgres://u@a:5432,b:5433/cti").contains("one host"));
        for parameter in [
            "target_session_attrs=standby",
            "load_balance_hosts=random",
            "host=a,b",
            "hostaddr=1.1.1.1,2.2.2.2",
        ] {
            assert!(problem(&format!("postgres://u@a/cti?{parameter}")).contains(parameter), "{parameter}");
        }
    }

    #[test]
    fn what_says_what_the_server_does_anyhow_is_accepted() {
        for url in [
            "sqlite://data/cti.db",
            "postgres://u:a%2Cb@host/cti?sslmode=prefer&target_session_attrs=read-write",
            "postgresql://u@[::1]:5432/cti?target_session_attrs=any&load_balance_hosts=disable",
            "postgres:///cti?host=/run/postgresql",
        ] {
            url.parse::<DatabaseUrl>().expect(url);
        }
    }
}
