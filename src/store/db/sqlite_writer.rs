//! The connection that writes units of work on SQLite, in the thread of the lane that uses it.
//!
//! sqlx runs each statement by a change of threads, there and back, and needs another prepared statement for each number of
//! rows. Here a whole transaction stays in one thread, and each table has one statement, which is run once for each row. A
//! statement of a single row can't fail half-way: SQLite keeps no journal for it.

use std::{error::Error, fmt, path::Path, time::Instant};

use cti_actors::background::caught_blocking;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use sqlx::{
    Sqlite,
    error::{DatabaseError, ErrorKind},
};

use super::{
    connections::{Connections, Taken},
    sqlite::{BUSY_TIMEOUT, PRAGMAS},
};

/// Negative: in KiB. SQLite looks through the whole cache at nearly every commit, and what a batch reads again is in the
/// operating system's cache.
const CACHE_SIZE: i64 = -4096;
/// How many statements are kept prepared; there are fewer.
const MAX_STATEMENTS: usize = 64;

/// Writes in the thread that calls it.
pub(crate) struct SqliteWriter {
    /// The pool of the connection that writes everything else: for the same file, and replaced after the same errors.
    pub(crate) others: Connections<Sqlite>,
    /// The connection, and when it was opened.
    open: Mutex<Option<(Connection, Instant)>>,
}

impl SqliteWriter {
    /// Returns one that writes into the file of these connections.
    pub(crate) fn new(others: Connections<Sqlite>) -> Self {
        Self { others, open: Mutex::default() }
    }

    /// Runs work in a transaction and commits it. Blocks the thread meanwhile.
    pub(crate) async fn run<T, E>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, E>) -> Result<T, E>
    where
        E: From<sqlx::Error>,
    {
        let _turn = self.turn().await?;
        let mut open = self.open.lock();
        caught_blocking("write to SQLite", || self.write(&mut open, work)).unwrap_or_else(|| {
            *open = None;
            Err(sqlx::Error::WorkerCrashed.into())
        })
    }

    /// Waits for what is written on the other connection, in the order of the calls: SQLite's own way to wait is to look
    /// again and again. Where nothing is, it is not taken, because giving it back costs two changes of threads. What
    /// takes it meanwhile waits for this one transaction.
    async fn turn(&self) -> Result<Option<Taken<Sqlite>>, sqlx::Error> {
        let pool = &self.others.pool;
        let is_free = pool.num_idle() == pool.size() as usize;
        if is_free { Ok(None) } else { self.others.acquire().await.map(Some) }
    }

    /// Closes the connection.
    pub(crate) fn close(&self) {
        *self.open.lock() = None;
    }

    fn write<T, E: From<sqlx::Error>>(
        &self,
        open: &mut Option<(Connection, Instant)>,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let db = self.connection(open)?;
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
        let done = work(&transaction)?;
        transaction.commit().map_err(sql)?;
        Ok(done)
    }

    fn connection<'o>(
        &self,
        open: &'o mut Option<(Connection, Instant)>,
    ) -> Result<&'o mut Connection, sqlx::Error> {
        // After a failed rollback, a transaction is left.
        let is_usable = |(db, opened): &(Connection, Instant)| {
            db.is_autocommit() && !self.others.are_replaced_since(*opened)
        };
        let usable = open.take().filter(is_usable);
        let (db, _) = match usable {
            Some(usable) => open.insert(usable),
            None => {
                // Another file at the path would take the log of this one for its own.
                self.others.check_file()?;
                let options = self.others.pool.connect_options();
                open.insert((open_file(options.get_filename()).map_err(sql)?, Instant::now()))
            }
        };
        Ok(db)
    }
}

fn open_file(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    for (name, value) in PRAGMAS {
        db.pragma_update(None, name, value)?;
    }
    db.pragma_update(None, "cache_size", CACHE_SIZE)?;
    db.set_prepared_statement_cache_capacity(MAX_STATEMENTS);
    Ok(db)
}

/// Returns an error of SQLite as sqlx would, so that what it means is decided in one place.
pub(crate) fn sql(error: rusqlite::Error) -> sqlx::Error {
    match error {
        rusqlite::Error::SqliteFailure(failure, message) => {
            let message = message.unwrap_or_else(|| failure.to_string());
            sqlx::Error::Database(Box::new(Failure { code: failure.extended_code, message }))
        }
        other => sqlx::Error::Encode(other.into()),
    }
}

/// An error of SQLite.
#[derive(Debug)]
struct Failure {
    /// The extended result code.
    code: i32,
    message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(code: {}) {}", self.code, self.message)
    }
}

impl Error for Failure {}

impl DatabaseError for Failure {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(self.code.to_string().into())
    }

    fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        match self.code {
            rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {
                ErrorKind::UniqueViolation
            }
            rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ErrorKind::ForeignKeyViolation,
            rusqlite::ffi::SQLITE_CONSTRAINT_NOTNULL => ErrorKind::NotNullViolation,
            rusqlite::ffi::SQLITE_CONSTRAINT_CHECK => ErrorKind::CheckViolation,
            _ => ErrorKind::Other,
        }
    }
}
