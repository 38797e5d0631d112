//! The hosts of a PostgreSQL database, of which one can be written.
//!
//! libpq takes several hosts and `target_session_attrs`. sqlx 0.9 takes one host and ignores the parameter with a warning.

use std::{fmt, io, time::Duration};

use futures_util::future::join_all;
use sqlx::{ConnectOptions, Connection, Row, postgres::PgConnectOptions};
use tokio::time::timeout;

/// How long a host may take to say whether it can be written.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// `f` of a primary that can be written, with the number of its timeline; `t` of a standby or where transactions are
/// read-only. It is asked by the simple protocol, which every pooler understands.
const STATE: &str = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,
    CASE WHEN pg_is_in_recovery() THEN NULL ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END";

/// The hosts of one database, in the order in which they are tried.
#[derive(Clone)]
pub struct PostgresHosts(Vec<PgConnectOptions>);

impl PostgresHosts {
    /// Takes at least one host.
    pub(super) fn new(hosts: Vec<PgConnectOptions>) -> Self {
        debug_assert!(!hosts.is_empty(), "a URL has a host");
        Self(hosts)
    }

    /// Returns the only host; `None` if there are several.
    #[must_use]
    pub fn only(&self) -> Option<&PgConnectOptions> {
        match self.0.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Returns the host to use: the only one, which is not asked, or the first that can be written. If several can, an
    /// old primary came back after another server was promoted: then it is the one that was promoted last.
    ///
    /// # Errors
    /// None of several hosts can be written; each is named with its reason.
    pub async fn writable(&self) -> Result<PgConnectOptions, sqlx::Error> {
        if let Some(only) = self.only() {
            return Ok(only.clone());
        }
        let states = join_all(self.0.iter().map(timeline)).await;
        let (mut newest, mut reasons) = (None, Vec::new());
        for (host, state) in self.0.iter().zip(states) {
            match state {
                // Timelines are hexadecimal numbers of the same length.
                Ok(Some(timeline)) if newest.as_ref().is_none_or(|(_, other)| timeline > *other) => {
                    newest = Some((host, timeline));
                }
                Ok(Some(_)) => {}
                Ok(None) => reasons.push(format!("{} is read-only", address(host))),
                Err(error) => reasons.push(format!("{}: {error}", address(host))),
            }
        }
        match newest {
            Some((host, _)) => Ok(host.clone()),
            None => {
                let reasons = format!("no host can be written ({})", reasons.join("; "));
                Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::NotConnected, reasons)))
            }
        }
    }
}

/// Whether a host can be written now.
pub(crate) async fn is_writable(host: &PgConnectOptions) -> bool {
    matches!(timeline(host).await, Ok(Some(_)))
}

/// Whether two options name the same host.
pub(crate) fn is_same(one: &PgConnectOptions, other: &PgConnectOptions) -> bool {
    address(one) == address(other)
}

/// Returns the timeline of a host that can be written; `None` if it can only be read.
async fn timeline(host: &PgConnectOptions) -> Result<Option<String>, sqlx::Error> {
    let asked = timeout(ANSWER_TIMEOUT, async {
        let mut db = host.connect().await?;
        let state = sqlx::raw_sql(STATE).fetch_one(&mut db).await?;
        let _ = db.close().await;
        let is_read_only: bool = state.try_get(0)?;
        let timeline: Option<String> = state.try_get(1)?;
        Ok(if is_read_only { None } else { timeline })
    });
    let no_answer = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer");
    asked.await.map_err(no_answer)?
}

/// Returns the address of a host, without user and password.
pub(crate) fn address(host: &PgConnectOptions) -> String {
    match host.get_socket() {
        Some(folder) => format!("{}:{}", folder.display(), host.get_port()),
        None => format!("{}:{}", host.get_host(), host.get_port()),
    }
}

impl fmt::Debug for PostgresHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.0.iter().map(address).collect();
        let database = self.0.first().and_then(PgConnectOptions::get_database);
        write!(f, "postgres://{}/{}", addresses.join(","), database.unwrap_or_default())
    }
}
