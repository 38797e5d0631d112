//! The connections that read and those that write: how a statement runs, and how a transaction begins.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Instant,
};

use futures_util::{
    StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{Database, Describe, Either, Execute, Executor, Pool, SqlStr, Transaction, pool::PoolConnection};

use super::{sqlite_file::SqliteFile, trust::Trust};

/// How transactions begin on a database.
#[derive(Clone, Copy)]
pub(super) struct Begin {
    /// One that writes, or reads several times.
    pub(super) any: &'static str,
    /// One in which every query sees the same snapshot.
    pub(super) snapshot: &'static str,
    /// Whether each statement needs a transaction, because a pooler may run its parts on different connections.
    pub(super) wraps_statements: bool,
}

/// Pooled connections. Statements run on it as on a pool.
pub(crate) struct Connections<DB: Database> {
    pub(super) pool: Pool<DB>,
    pub(super) begin: Begin,
    pub(super) trust: Trust,
    /// The file of SQLite.
    pub(super) file: Option<Arc<SqliteFile>>,
}

impl<DB: Database> Connections<DB> {
    /// Begins a transaction. One that writes takes SQLite's lock at once: waiting for it later can fail.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, DB>, sqlx::Error> {
        self.check_file()?;
        self.pool.begin_with(self.begin.any).await
    }

    /// Begins a transaction in which every query sees the same snapshot.
    pub(super) async fn read_snapshot(&self) -> Result<Transaction<'static, DB>, sqlx::Error> {
        self.check_file()?;
        self.pool.begin_with(self.begin.snapshot).await
    }

    /// Takes a connection for statements of which each is a transaction by itself.
    pub(crate) async fn acquire(&self) -> Result<Taken<DB>, sqlx::Error> {
        if self.begin.wraps_statements {
            return Ok(Taken::Transaction(self.begin().await?));
        }
        self.check_file()?;
        self.pool.acquire().await.map(Taken::Connection)
    }

    /// Whether each statement needs a transaction.
    pub(crate) fn wraps_statements(&self) -> bool {
        self.begin.wraps_statements
    }

    /// Notes the error of a statement that ran on a connection of these.
    pub(crate) fn observe(&self, error: &sqlx::Error) {
        self.trust.observe(error);
    }

    /// Whether a connection that was taken then must not be used any more.
    pub(crate) fn are_replaced_since(&self, taken_at: Instant) -> bool {
        self.trust.is_replaced(taken_at.elapsed())
    }

    /// Fails if the file of SQLite is no longer the one that was opened: then nothing that is written can be found again.
    /// Called before a connection is taken as well, which may open one: with another file at the path, it would take the
    /// log of this one for its own, copy it there and remove it.
    pub(crate) fn check_file(&self) -> Result<(), sqlx::Error> {
        self.file.as_ref().map_or(Ok(()), |file| file.check())
    }
}

impl<DB: Database> Clone for Connections<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            begin: self.begin,
            trust: self.trust.clone(),
            file: self.file.clone(),
        }
    }
}

impl<DB: Database> fmt::Debug for Connections<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// A connection that was taken for single statements.
pub(crate) enum Taken<DB: Database> {
    Connection(PoolConnection<DB>),
    Transaction(Transaction<'static, DB>),
}

impl<DB: Database> Taken<DB> {
    /// Closes the connection after its use.
    pub(crate) fn close_on_drop(&mut self) {
        if let Self::Connection(connection) = self {
            connection.close_on_drop();
        }
    }

    /// Commits, where the statements need it.
    pub(crate) async fn done(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Connection(_) => Ok(()),
            Self::Transaction(transaction) => transaction.commit().await,
        }
    }
}

impl<DB: Database> Deref for Taken<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        match self {
            Self::Connection(connection) => connection,
            Self::Transaction(transaction) => transaction,
        }
    }
}

impl<DB: Database> DerefMut for Taken<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        match self {
            Self::Connection(connection) => connection,
            Self::Transaction(transaction) => transaction,
        }
    }
}

impl<'c, DB: Database> Executor<'c> for &'c Connections<DB>
where
    for<'a> &'a mut DB::Connection: Executor<'a, Database = DB>,
{
    type Database = DB;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<DB::QueryResult, DB::Row>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        if let Err(error) = self.check_file() {
            return stream::once(async { Err(error) }).boxed();
        }
        if !self.begin.wraps_statements {
            return self.pool.fetch_many(query);
        }
        let fetched = async move {
            let mut transaction = self.begin().await?;
            let rows: Vec<_> = transaction.fetch_many(query).try_collect().await?;
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(stream::iter(rows.into_iter().map(Ok)))
        };
        stream::once(fetched).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<DB::Row>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        if let Err(error) = self.check_file() {
            return Box::pin(async { Err(error) });
        }
        if !self.begin.wraps_statements {
            return self.pool.fetch_optional(query);
        }
        Box::pin(async move {
            let mut transaction = self.begin().await?;
            let row = transaction.fetch_optional(query).await?;
            transaction.commit().await?;
            Ok(row)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [DB::TypeInfo],
    ) -> BoxFuture<'e, Result<DB::Statement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.pool.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<DB>, sqlx::Error>>
    where
        'c: 'e,
    {
        self.pool.describe(sql)
    }
}
