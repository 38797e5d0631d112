//! Pools of connections: how each database is opened, and what its errors mean.

use std::{
    future::{Future, poll_fn},
    io,
    path::Path,
    pin::pin,
    time::Duration,
};

use cti_actors::error::StoreError;
use sqlx::{
    Pool, Postgres, Sqlite, Transaction,
    migrate::{AppliedMigration, Migrate, MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::runtime::Handle;
use tracing::info;

use crate::database_url::DatabaseUrl;

static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a query waits for a connection before the database counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a query may take altogether.
const QUERY_TIMEOUT: Duration = Duration::from_millis(2800);
/// How long SQLite waits while another process writes.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The pools of one database: one for reading, one for writing.
pub(crate) struct Pair<DB: sqlx::Database> {
    pub(crate) read: Pool<DB>,
    pub(crate) write: Pool<DB>,
}

/// The pools of the database that is open.
pub(crate) enum Pools {
    Postgres(Pair<Postgres>),
    Sqlite(Pair<Sqlite>),
}

/// The open database.
pub(crate) struct Database {
    pools: Pools,
    /// Drives the connections' sockets, whichever thread runs the query: a socket dies with the runtime that opened it,
    /// and each worker of the HTTP server has a runtime of its own.
    runtime: Handle,
}

impl Database {
    pub(crate) async fn open(url: &DatabaseUrl) -> Result<Self, sqlx::Error> {
        let pools = match url {
            DatabaseUrl::Sqlite(path) => Pools::Sqlite(open_sqlite(path).await?),
            DatabaseUrl::Postgres(options) => Pools::Postgres(open_postgres(options).await?),
        };
        info!(database = ?url, "opened the database");
        Ok(Self { pools, runtime: Handle::current() })
    }

    pub(crate) fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Polls a future inside the runtime that owns the connections.
    pub(crate) async fn within<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|context| {
            let _entered = self.runtime.enter();
            work.as_mut().poll(context)
        })
        .await
    }

    /// Polls a query as [`Database::within`] does, at most for [`QUERY_TIMEOUT`].
    pub(crate) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        self.within(in_time(work)).await.map_err(store_error)
    }

    /// Polls work of many queries, each of which limits its own time with [`in_time`].
    pub(crate) async fn in_steps<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        self.within(work).await.map_err(store_error)
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(crate) async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        let applied = match &self.pools {
            Pools::Postgres(pools) => {
                let mut connection = pools.write.acquire().await.map_err(store_error)?;
                apply(&POSTGRES_MIGRATIONS, &mut *connection).await
            }
            Pools::Sqlite(pools) => {
                let mut connection = pools.write.acquire().await.map_err(store_error)?;
                apply(&SQLITE_MIGRATIONS, &mut *connection).await
            }
        };
        applied.map_err(|error| StoreError::Rejected(format!("migrations: {error}")))
    }

    pub(crate) async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        let pending = match &self.pools {
            Pools::Postgres(pools) => {
                let mut connection = pools.write.acquire().await.map_err(store_error)?;
                pending(&POSTGRES_MIGRATIONS, &mut *connection).await
            }
            Pools::Sqlite(pools) => {
                let mut connection = pools.write.acquire().await.map_err(store_error)?;
                pending(&SQLITE_MIGRATIONS, &mut *connection).await
            }
        };
        pending.map_err(|error| StoreError::Rejected(format!("migrations: {error}")))
    }

    pub(crate) fn connections(&self) -> (usize, usize) {
        fn count<DB: sqlx::Database>(pools: &Pair<DB>) -> (usize, usize) {
            let idle = pools.read.num_idle() + pools.write.num_idle();
            let open = (pools.read.size() + pools.write.size()) as usize;
            (idle, open.saturating_sub(idle))
        }
        match &self.pools {
            Pools::Postgres(pools) => count(pools),
            Pools::Sqlite(pools) => count(pools),
        }
    }

    pub(crate) async fn close(&self) {
        match &self.pools {
            Pools::Postgres(pools) => {
                pools.write.close().await;
                pools.read.close().await;
            }
            Pools::Sqlite(pools) => {
                pools.read.close().await;
                pools.write.close().await;
            }
        }
    }
}

/// Limits the time of one query to [`QUERY_TIMEOUT`].
pub(crate) async fn in_time<T>(
    query: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, "the database took too long");
    tokio::time::timeout(QUERY_TIMEOUT, query).await.map_err(timed_out)?
}

/// A database with transactions in which every query sees the same snapshot.
pub(crate) trait SnapshotRead: sqlx::Database {
    const BEGIN: &'static str;
}

impl SnapshotRead for Postgres {
    const BEGIN: &'static str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
}

/// Every transaction that reads sees one snapshot here.
impl SnapshotRead for Sqlite {
    const BEGIN: &'static str = "BEGIN";
}

/// Begins a transaction in which every query sees the same snapshot.
pub(crate) async fn read_snapshot<DB: SnapshotRead>(
    pool: &Pool<DB>,
) -> Result<Transaction<'static, DB>, sqlx::Error> {
    pool.begin_with(DB::BEGIN).await
}

/// Names the migrations that a database lacks. Changes nothing, even where there are no tables at all.
async fn pending<C: Migrate>(migrator: &Migrator, connection: &mut C) -> Result<Vec<String>, MigrateError> {
    let applied = match connection.list_applied_migrations(&migrator.table_name).await {
        // There is no table of them. Creating one takes a privilege that a server which does not migrate may lack.
        Err(MigrateError::Execute(sqlx::Error::Database(_))) => Vec::new(),
        listed => listed?,
    };
    Ok(not_applied(&applied, migrator))
}

/// Names the migrations that are not among those that were applied.
fn not_applied(applied: &[AppliedMigration], migrator: &Migrator) -> Vec<String> {
    let new = migrator
        .iter()
        .filter(|migration| applied.iter().all(|applied| applied.version != migration.version));
    new.map(|migration| format!("{:04} {}", migration.version, migration.description)).collect()
}

async fn apply<C: Migrate>(migrator: &Migrator, connection: &mut C) -> Result<Vec<String>, MigrateError> {
    connection.ensure_migrations_table(&migrator.table_name).await?;
    let before = connection.list_applied_migrations(&migrator.table_name).await?;
    migrator.run_direct(None, connection, false).await?;
    Ok(not_applied(&before, migrator))
}

/// Opens SQLite with a WAL, so that readers never wait; with `FULL`, so that a commit has reached the disk; and with
/// one writing connection, because SQLite has only one writer.
async fn open_sqlite(path: &Path) -> Result<Pair<Sqlite>, sqlx::Error> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await.map_err(sqlx::Error::Io)?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(SQLITE_BUSY_TIMEOUT)
        // A statement of many rows saves the pages that it changes, in case it fails half-way: in memory, not in a
        // file.
        .pragma("temp_store", "MEMORY")
        // What is deleted or replaced is overwritten: an erased person is in no free page.
        .pragma("secure_delete", "ON")
        .pragma("cache_size", "-32768")
        .pragma("wal_autocheckpoint", "4000");
    let pool = SqlitePoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT).test_before_acquire(false);
    let write = pool.clone().max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
    let write = write.connect_with(options.clone()).await?;
    let read = pool.max_connections(4).connect_with(options).await?;
    Ok(Pair { read, write })
}

async fn open_postgres(options: &PgConnectOptions) -> Result<Pair<Postgres>, sqlx::Error> {
    // Whatever the database's default is, an acknowledgement promises a durable commit.
    let options = options.clone().application_name("cti-server").options([("synchronous_commit", "on")]);
    let pool = PgPoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT);
    // Two lanes of group commit, and some room for other writes.
    let write =
        pool.clone().max_connections(4).test_before_acquire(false).connect_with(options.clone()).await?;
    let read = pool.max_connections(8).connect_with(options).await?;
    Ok(Pair { read, write })
}

/// Classifies an error of the database: try again later (`Unavailable`), a lost race (`Conflict`), or a bug or bad data
/// (`Rejected`).
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    let text = error.to_string();
    match error {
        sqlx::Error::Database(failure) => {
            let code = failure.code().unwrap_or_default();
            // Not null (23502, SQLite 1299): the guard of a version. Serialization failure 40001, deadlock 40P01.
            let lost_race = matches!(&*code, "23502" | "1299" | "40001" | "40P01");
            if failure.is_unique_violation() || lost_race {
                return StoreError::Conflict(text);
            }
            // PostgreSQL: connection exception (08), insufficient resources (53), shutting down (57P). SQLite: busy
            // (5), locked (6), I/O error (10), full (13), can't open (14).
            let postgres_down =
                ["08", "53", "57P"].iter().any(|class| code.len() == 5 && code.starts_with(class));
            let sqlite_down = code.len() < 5
                && code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13 | 14));
            if postgres_down || sqlite_down {
                StoreError::Unavailable(text)
            } else {
                StoreError::Rejected(text)
            }
        }
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::TypeNotFound { .. } => StoreError::Rejected(text),
        _ => StoreError::Unavailable(text),
    }
}
