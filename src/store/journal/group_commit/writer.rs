//! The connections that a lane writes with.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use cti_actors::{
    id::{AppId, JournalId},
    unit::{DedupKey, Receipt, Unit},
};
use parking_lot::Mutex;
use sqlx::{Postgres, Sqlite};

use crate::store::{
    db::{
        connections::{Connections, Taken},
        errors::limited,
        sqlite_writer::SqliteWriter,
    },
    journal::append::{self, Inserted, JournalRow},
    ledger::{self, UnitFailure},
};

/// How long a transaction on PostgreSQL may take. After it the connection counts as broken; whether it was committed is
/// found out when the same is written again.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections that a lane writes with. What it returns as written is in the file that the database has now.
pub(super) enum Writer {
    Postgres(PostgresWriter),
    /// Blocks the thread while it writes units.
    Sqlite(SqliteWriter),
}

impl Writer {
    pub(super) async fn append(&self, rows: Vec<&JournalRow>) -> Result<Inserted, sqlx::Error> {
        let appended = match self {
            Self::Postgres(it) => limited(WRITE_TIMEOUT, append_postgres(&it.connections, rows)).await,
            Self::Sqlite(writer) => append_sqlite(&writer.others, rows).await,
        };
        appended
            .and_then(|inserted| self.check_file().map(|()| inserted))
            .inspect_err(|error| self.observe(error))
    }

    pub(super) async fn write(&self, units: &[Arc<Unit>]) -> Result<Vec<Receipt>, UnitFailure> {
        let written = match self {
            Self::Postgres(writer) => {
                let written = async { Ok(writer.write(units).await) };
                limited(WRITE_TIMEOUT, written).await.unwrap_or_else(|error| Err(error.into()))
            }
            Self::Sqlite(writer) => writer.run(|db| ledger::write_sqlite(db, units)).await,
        };
        let written = written.and_then(|receipts| {
            self.check_file()?;
            Ok(receipts)
        });
        if let Err(UnitFailure::Sql(error)) = &written {
            self.observe(error);
        }
        written
    }

    /// Returns those of the units' incoming webhooks that the journal has already, each with the id that it has there.
    pub(super) async fn known_webhooks(
        &self,
        units: &[Arc<Unit>],
    ) -> Result<HashMap<(AppId, DedupKey), JournalId>, sqlx::Error> {
        let known = match self {
            Self::Postgres(writer) => {
                let known = async {
                    let mut db = writer.connections.acquire().await?;
                    let known = append::known_postgres(&mut db, units).await?;
                    db.done().await?;
                    Ok(known)
                };
                limited(WRITE_TIMEOUT, known).await
            }
            Self::Sqlite(writer) => append::known_sqlite(&mut *writer.others.acquire().await?, units).await,
        };
        known.inspect_err(|error| self.observe(error))
    }

    /// Whether a connection is kept from one unit to the next.
    pub(super) fn keeps_connection(&self) -> bool {
        match self {
            Self::Postgres(writer) => writer.kept.lock().is_some(),
            Self::Sqlite(..) => true,
        }
    }

    /// Gives that connection back, or closes it.
    pub(super) fn release(&self) {
        match self {
            Self::Postgres(writer) => *writer.kept.lock() = None,
            Self::Sqlite(writer) => writer.close(),
        }
    }

    fn check_file(&self) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(_) => Ok(()),
            Self::Sqlite(writer) => writer.others.check_file(),
        }
    }

    fn observe(&self, error: &sqlx::Error) {
        match self {
            Self::Postgres(writer) => writer.connections.observe(error),
            Self::Sqlite(writer) => writer.others.observe(error),
        }
    }
}

async fn append_postgres(
    pool: &Connections<Postgres>,
    rows: Vec<&JournalRow>,
) -> Result<Inserted, sqlx::Error> {
    let mut db = pool.acquire().await?;
    let inserted = append::append_postgres(&mut db, rows).await?;
    db.done().await?;
    Ok(inserted)
}

async fn append_sqlite(pool: &Connections<Sqlite>, rows: Vec<&JournalRow>) -> Result<Inserted, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let inserted = append::append_sqlite(&mut transaction, rows).await?;
    transaction.commit().await?;
    Ok(inserted)
}

/// Writes on PostgreSQL. Keeps its connection from one unit to the next while they follow each other: sqlx has each
/// connection answer once more that is given back.
pub(super) struct PostgresWriter {
    connections: Connections<Postgres>,
    /// With the time at which it was taken.
    kept: Mutex<Option<(Taken<Postgres>, Instant)>>,
}

impl PostgresWriter {
    pub(super) fn new(connections: Connections<Postgres>) -> Self {
        Self { connections, kept: Mutex::default() }
    }

    async fn write(&self, units: &[Arc<Unit>]) -> Result<Vec<Receipt>, UnitFailure> {
        // A single statement is a transaction by itself; only units with retries or failures need several.
        if units.iter().any(|unit| !unit.retried.is_empty() || !unit.failed.is_empty()) {
            let mut transaction = self.connections.begin().await?;
            let receipts = ledger::write_postgres(&mut transaction, units).await?;
            transaction.commit().await?;
            return Ok(receipts);
        }
        let kept = self.kept.lock().take();
        let usable = kept.filter(|(_, taken_at)| !self.connections.are_replaced_since(*taken_at));
        let (mut db, taken_at) = match usable {
            Some(kept) => kept,
            None => (self.connections.acquire().await?, Instant::now()),
        };
        let receipts = ledger::write_postgres(&mut db, units).await?;
        match db {
            Taken::Connection(_) => *self.kept.lock() = Some((db, taken_at)),
            Taken::Transaction(_) => db.done().await?,
        }
        Ok(receipts)
    }
}
