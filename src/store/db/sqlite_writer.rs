//! The thread that writes units of work on SQLite.
//!
//! sqlx runs each statement by a change of threads, there and back, and needs another prepared statement for each number of
//! rows. Here a whole transaction is one change of threads, and each table has one statement, which is run once for each
//! row. A statement of a single row can't fail half-way: SQLite keeps no journal for it.

use std::{
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{OnceLock, mpsc},
    thread,
    time::Instant,
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use sqlx::{
    Sqlite,
    error::{DatabaseError, ErrorKind},
};
use tokio::sync::oneshot;

use super::{
    connections::Connections,
    sqlite::{BUSY_TIMEOUT, PRAGMAS},
};

/// How many statements are kept prepared; there are fewer.
const MAX_STATEMENTS: usize = 64;

type Job = Box<dyn FnOnce(&mut Slot) + Send>;

/// Gives work to the thread, which starts with the first.
pub(crate) struct SqliteWriter {
    jobs: OnceLock<mpsc::Sender<Job>>,
    others: Connections<Sqlite>,
}

/// The thread's connection.
struct Slot {
    open: Option<(Connection, Instant)>,
    /// The pool of the connection that writes everything else: for the same file, and replaced after the same errors.
    others: Connections<Sqlite>,
}

impl SqliteWriter {
    /// Returns one that writes into the file of these connections.
    pub(crate) fn new(others: Connections<Sqlite>) -> Self {
        Self { jobs: OnceLock::new(), others }
    }

    /// Runs work in a transaction and commits it.
    pub(crate) async fn run<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<sqlx::Error> + Send + 'static,
    {
        // Only for the right to write: SQLite has one writer, and there is one queue for it.
        let _right_to_write = self.others.acquire().await?;
        let (reply, done) = oneshot::channel();
        let job: Job = Box::new(move |slot| {
            // The caller may have gone; the transaction is complete all the same.
            let _ = reply.send(slot.run(work));
        });
        self.jobs()?.send(job).map_err(|_| ended())?;
        done.await.map_err(|_| ended())?
    }

    /// Closes the connection, after the work that was given before.
    pub(crate) async fn close(&self) {
        let Some(jobs) = self.jobs.get() else { return };
        let (reply, done) = oneshot::channel();
        let job: Job = Box::new(move |slot| {
            slot.open = None;
            let _ = reply.send(());
        });
        if jobs.send(job).is_ok() {
            let _ = done.await;
        }
    }

    fn jobs(&self) -> Result<&mpsc::Sender<Job>, sqlx::Error> {
        if let Some(jobs) = self.jobs.get() {
            return Ok(jobs);
        }
        let (sender, jobs) = mpsc::channel::<Job>();
        let mut slot = Slot { open: None, others: self.others.clone() };
        let work = move || {
            for job in jobs {
                if catch_unwind(AssertUnwindSafe(|| job(&mut slot))).is_err() {
                    slot.open = None;
                }
            }
        };
        thread::Builder::new().name("cti-sqlite-writer".into()).spawn(work)?;
        Ok(self.jobs.get_or_init(|| sender))
    }
}

fn ended() -> sqlx::Error {
    sqlx::Error::WorkerCrashed
}

impl Slot {
    fn run<T, E: From<sqlx::Error>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let db = self.connection()?;
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
        let done = work(&transaction)?;
        transaction.commit().map_err(sql)?;
        Ok(done)
    }

    fn connection(&mut self) -> Result<&mut Connection, sqlx::Error> {
        // After a failed rollback, a transaction is left.
        let is_useless = |(db, opened): &(Connection, Instant)| {
            !db.is_autocommit() || self.others.trust.is_replaced(opened.elapsed())
        };
        if self.open.as_ref().is_some_and(is_useless) {
            self.open = None;
        }
        let (db, _) = match self.open.take() {
            Some(open) => self.open.insert(open),
            None => {
                // Another file at the path would take the log of this one for its own.
                self.others.check_file()?;
                let options = self.others.pool.connect_options();
                self.open.insert((open(options.get_filename()).map_err(sql)?, Instant::now()))
            }
        };
        Ok(db)
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    for (name, value) in PRAGMAS {
        db.pragma_update(None, name, value)?;
    }
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
