//! The open database: its pools, and how work runs on them.

use std::{
    fs::File,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use cti_actors::error::StoreError;
use sqlx::{Postgres, Sqlite, Transaction};
use tokio::runtime::Handle;
use tracing::info;

pub(crate) use super::errors::{in_time, store_error};
use super::{
    connections::Connections, postgres, sqlite, sqlite_file::SqliteFile, trust::Trust, writable::Writable,
};
use crate::database_url::DatabaseUrl;

/// How long a query waits for a connection before the database counts as unavailable.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// The connections of one database: those for reading, those for writing.
pub(crate) struct Pair<DB: sqlx::Database> {
    pub(crate) read: Connections<DB>,
    pub(crate) write: Connections<DB>,
}

/// The connections to the database that is open.
pub(crate) enum Pools {
    Postgres(Pair<Postgres>),
    Sqlite(Pair<Sqlite>),
}

/// The open database.
pub(crate) struct Database {
    pools: Pools,
    trust: Trust,
    file: Option<Arc<SqliteFile>>,
    /// The lock of a server on that file.
    pub(super) lock: OnceLock<File>,
    pub(super) writable: Writable,
    /// Drives the connections' sockets, whichever thread runs the query: a socket dies with the runtime that opened it,
    /// and each worker of the HTTP server has a runtime of its own.
    runtime: Handle,
}

impl Database {
    pub(crate) async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let trust = Trust::new();
        let (pools, file) = match url {
            DatabaseUrl::Sqlite(path) => {
                let pools = sqlite::open(path, &trust).await?;
                let file = pools.write.file.clone();
                (Pools::Sqlite(pools), file)
            }
            DatabaseUrl::Postgres(hosts) => (Pools::Postgres(postgres::open(hosts, &trust).await?), None),
        };
        info!(database = ?url, "opened the database");
        Ok(Self {
            pools,
            trust,
            file,
            lock: OnceLock::new(),
            writable: Writable::default(),
            runtime: Handle::current(),
        })
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

    /// Polls a query as [`Database::within`] does, for a limited time.
    pub(crate) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        self.in_steps(in_time(work)).await
    }

    /// Polls work of many queries, each of which limits its own time with [`in_time`].
    pub(crate) async fn in_steps<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let done = self.within(work).await.and_then(|value| {
            self.file.as_ref().map_or(Ok(()), |file| file.check())?;
            Ok(value)
        });
        done.inspect_err(|error| self.trust.observe(error)).map_err(store_error)
    }

    /// Lets no connection be used any longer that is open now.
    pub(super) fn replace_connections(&self) {
        self.trust.end_all();
    }

    /// The file of SQLite.
    pub(super) fn file(&self) -> Option<&SqliteFile> {
        self.file.as_deref()
    }

    /// Returns how large SQLite's write-ahead log is; 0 where there is none.
    pub(crate) fn wal_bytes(&self) -> u64 {
        self.file().map_or(0, SqliteFile::wal_bytes)
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(crate) fn connections(&self) -> (usize, usize) {
        fn count<DB: sqlx::Database>(pools: &Pair<DB>) -> (usize, usize) {
            let (read, write) = (&pools.read.pool, &pools.write.pool);
            let idle = read.num_idle() + write.num_idle();
            let open = (read.size() + write.size()) as usize;
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
                pools.write.pool.close().await;
                pools.read.pool.close().await;
            }
            Pools::Sqlite(pools) => {
                pools.read.pool.close().await;
                pools.write.pool.close().await;
            }
        }
    }
}

/// Begins a transaction in which every query sees the same snapshot.
pub(crate) async fn read_snapshot<DB: sqlx::Database>(
    db: &Connections<DB>,
) -> Result<Transaction<'static, DB>, sqlx::Error> {
    db.read_snapshot().await
}
