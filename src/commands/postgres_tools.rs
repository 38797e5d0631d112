//! `pg_dump` and `pg_restore`, which come with PostgreSQL. They get the address of the database through the environment:
//! what is on a command line, other users of the machine can read.

use std::{
    io,
    process::{Command, Output},
};

use percent_encoding::percent_decode_str;
use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};

/// Runs one of the tools and waits for it. `None`: it is not installed.
///
/// # Errors
/// It can't be started.
pub(super) async fn run(
    tool: &'static str,
    arguments: Vec<String>,
    database: &PgConnectOptions,
) -> io::Result<Option<Output>> {
    let mut command = Command::new(tool);
    command.args(arguments).envs(environment(database));
    let output = tokio::task::spawn_blocking(move || command.output()).await.map_err(io::Error::other)?;
    match output {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the variables with which the tools find a database.
fn environment(database: &PgConnectOptions) -> Vec<(&'static str, String)> {
    let host = match database.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => database.get_host().to_owned(),
    };
    let url = database.to_url_lossy();
    let mut variables = vec![
        ("PGHOST", host),
        ("PGPORT", database.get_port().to_string()),
        ("PGUSER", database.get_username().to_owned()),
        ("PGDATABASE", database.get_database().unwrap_or(database.get_username()).to_owned()),
        ("PGSSLMODE", ssl_mode(database.get_ssl_mode()).to_owned()),
    ];
    let decoded =
        url.password().map(|password| percent_decode_str(password).decode_utf8_lossy().into_owned());
    variables.extend(decoded.map(|password| ("PGPASSWORD", password)));
    let certificate = url.query_pairs().find(|(name, _)| name == "sslrootcert");
    variables.extend(certificate.map(|(_, path)| ("PGSSLROOTCERT", path.into_owned())));
    variables
}

fn ssl_mode(mode: PgSslMode) -> &'static str {
    match mode {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_tools_get_the_whole_address() {
        let options: PgConnectOptions =
            "postgres://ada:p%40ss@db.example.com:6432/cti?sslmode=require".parse().expect("a URL");
        let environment: BTreeMap<_, _> = environment(&options).into_iter().collect();
        let expected = [
            ("PGDATABASE", "cti"),
            ("PGHOST", "db.example.com"),
            ("PGPASSWORD", "p@ss"),
            ("PGPORT", "6432"),
            ("PGSSLMODE", "require"),
            ("PGUSER", "ada"),
        ];
        assert_eq!(environment, expected.map(|(name, value)| (name, value.to_owned())).into());
    }
}
