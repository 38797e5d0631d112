//! Where the database is.

pub mod hosts;

use std::{fmt, path::PathBuf, str::FromStr};

use thiserror::Error;

use self::hosts::PostgresHosts;

/// A database URL, parsed. Its `Debug` form has no password.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A server of PostgreSQL, or several of which one can be written.
    Postgres(PostgresHosts),
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
            return parse_postgres(url).map(Self::Postgres);
        }
        Err(DatabaseUrlError::Scheme)
    }
}

fn malformed(problem: impl Into<String>) -> DatabaseUrlError {
    DatabaseUrlError::Malformed(problem.into())
}

/// Parses each of the hosts `user@a:5432,b:5433` with what they have in common.
fn parse_postgres(url: &str) -> Result<PostgresHosts, DatabaseUrlError> {
    let (base, parameters) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = base.split_once("://").unwrap_or_default();
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (user, hosts) = authority.rfind('@').map_or(("", authority), |at| authority.split_at(at + 1));
    let parameters = kept_parameters(parameters)?;
    let hosts: Vec<&str> = hosts.split(',').collect();
    if hosts.len() > 1 {
        if hosts.contains(&"") {
            return Err(malformed("has an empty host among several"));
        }
        let own = parameters
            .iter()
            .find(|parameter| matches!(parameter.split('=').next(), Some("host" | "hostaddr" | "port")));
        if let Some(parameter) = own {
            return Err(malformed(format!(
                "has the parameter {parameter}, and several hosts before the path"
            )));
        }
    }
    let query = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
    let parse = |host: &str| {
        let options = format!("{scheme}://{user}{host}{path}{query}").parse();
        options.map_err(|error: sqlx::Error| malformed(error.to_string()))
    };
    Ok(PostgresHosts::new(hosts.into_iter().map(parse).collect::<Result<_, _>>()?))
}

/// Returns the parameters for the driver. Refuses what libpq understands and the driver ignores: another server than the
/// wanted one would be used. Leaves out what only says what the server does anyhow.
fn kept_parameters(parameters: &str) -> Result<Vec<&str>, DatabaseUrlError> {
    let mut kept = Vec::new();
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let is_several =
            matches!(name, "host" | "hostaddr" | "port") && (value.contains(',') || value.contains("%2C"));
        let is_refused = match name {
            // The server uses the host that can be written.
            "target_session_attrs" => !matches!(value, "any" | "read-write" | "primary"),
            "load_balance_hosts" => value != "disable",
            _ => is_several,
        };
        if is_refused {
            return Err(malformed(format!("has the parameter {name}={value}, which is not supported")));
        }
        if !matches!(name, "target_session_attrs" | "load_balance_hosts") {
            kept.push(parameter);
        }
    }
    Ok(kept)
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(hosts) => hosts.fmt(f),
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
        assert!(problem("postgres://u:p@a,,b/cti").contains("empty host"));
        assert!(problem("postgres://u@a,b/cti?port=5433").contains("port=5433"));
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

    #[test]
    fn several_hosts_share_everything_but_their_ports() {
        let url =
            "postgres://ada:p%2Css@a,b:5433,[::1]:5434/cti?sslmode=require&target_session_attrs=read-write";
        let url: DatabaseUrl = url.parse().expect("a URL");
        assert_eq!(format!("{url:?}"), "postgres://a:5432,b:5433,[::1]:5434/cti");
        let DatabaseUrl::Postgres(hosts) = url else { panic!("not PostgreSQL") };
        assert!(hosts.only().is_none());
    }
}
