//! What the errors of the databases mean: for the caller, and for the connection that returned them.
//!
//! Only a list of errors counts as caused by the data, and only a list of errors leaves a connection usable. Everything
//! else is an outage that passes, and ends the connection: a webhook that was acknowledged must not be given up because
//! of a lock, a timeout or a setting of the server.

use std::{future::Future, io, time::Duration};

use cti_actors::error::StoreError;
use sqlx::error::DatabaseError;

/// How long a query may take altogether.
const QUERY_TIMEOUT: Duration = Duration::from_millis(2800);

/// SQLSTATE classes that the data causes: cardinality (21), data exception (22), integrity (23), program limit (54), which
/// is also what PostgreSQL says about a value that is too large for an index.
const DATA_CLASSES: [&str; 4] = ["21", "22", "23", "54"];
/// Primary result codes of SQLite that the data causes: too big, constraint, mismatch, out of range.
const DATA_CODES: [u32; 4] = [18, 19, 20, 25];

/// SQLSTATE classes after which a connection of PostgreSQL is as it was: those above, transaction rollback (40), access
/// rule (42), insufficient resources (53), object not in the expected state (55). A statement that was cancelled (57014)
/// as well.
const HARMLESS_CLASSES: [&str; 4] = ["40", "42", "53", "55"];
const QUERY_CANCELED: &str = "57014";
/// A named statement that exists already: not of this connection, but of another client of a pooler.
const DUPLICATE_STATEMENT: &str = "42P05";
/// Result codes after which SQLite has not rolled back by itself: those above, busy, locked.
const HARMLESS_CODES: [u32; 2] = [5, 6];

/// The code of an error of the database itself.
enum Code<'e> {
    SqlState(&'e str),
    Sqlite(u32),
}

impl<'e> Code<'e> {
    fn of(code: &'e str) -> Self {
        match code.parse() {
            Ok(number) if code.len() < 5 => Self::Sqlite(number),
            _ => Self::SqlState(code),
        }
    }

    fn is_lost_race(&self) -> bool {
        // Not null (23502, SQLite 1299): the guard of a version. Serialization failure 40001, deadlock 40P01.
        matches!(self, Self::SqlState("23502" | "40001" | "40P01") | Self::Sqlite(1299))
    }

    fn is_of_data(&self) -> bool {
        match self {
            Self::SqlState(state) => is_of_class(state, &DATA_CLASSES),
            Self::Sqlite(code) => DATA_CODES.contains(&(code & 0xff)),
        }
    }

    fn leaves_connection_usable(&self) -> bool {
        let is_harmless = match self {
            Self::SqlState(state) => {
                *state == QUERY_CANCELED
                    || (is_of_class(state, &HARMLESS_CLASSES) && *state != DUPLICATE_STATEMENT)
            }
            Self::Sqlite(code) => HARMLESS_CODES.contains(&(code & 0xff)),
        };
        is_harmless || self.is_of_data()
    }
}

fn is_of_class(state: &str, classes: &[&str]) -> bool {
    classes.iter().any(|class| state.starts_with(class))
}

/// Classifies an error of the database: try again later (`Unavailable`), a lost race (`Conflict`), or data that can't be
/// stored or read (`Rejected`).
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    let text = error.to_string();
    match error {
        sqlx::Error::Database(failure) => of_database(&*failure, text),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => {
            StoreError::Rejected(text)
        }
        _ => StoreError::Unavailable(text),
    }
}

fn of_database(failure: &dyn DatabaseError, text: String) -> StoreError {
    let code = failure.code().unwrap_or_default();
    let code = Code::of(&code);
    if failure.is_unique_violation() || code.is_lost_race() {
        StoreError::Conflict(text)
    } else if code.is_of_data() {
        StoreError::Rejected(text)
    } else {
        StoreError::Unavailable(text)
    }
}

/// Whether the connection that returned this error can't be used any longer: it is broken, in an unknown state, or was
/// opened when the server was in another one. After an error by which SQLite rolls back by itself, sqlx still counts a
/// transaction; a session of PostgreSQL that began while the server was read-only stays read-only.
pub(super) fn ends_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(failure) => {
            !Code::of(&failure.code().unwrap_or_default()).leaves_connection_usable()
        }
        sqlx::Error::Io(_) => !timed_out(error),
        sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::InvalidSavePointStatement
        | sqlx::Error::BeginFailed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Whether a query took too long. Its connection may be slow or broken.
pub(super) fn timed_out(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(failure) if failure.kind() == io::ErrorKind::TimedOut)
}

/// Limits the time of one query.
pub(crate) async fn in_time<T>(
    query: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    limited(QUERY_TIMEOUT, query).await
}

/// Limits the time of queries.
pub(crate) async fn limited<T>(
    limit: Duration,
    queries: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, "the database took too long");
    tokio::time::timeout(limit, queries).await.map_err(timed_out)?
}

#[cfg(test)]
mod tests;
