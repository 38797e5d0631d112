//! The connections that a lane writes with.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cti_actors::{
    id::{AppId, JournalId},
    unit::{DedupKey, Receipt, Unit},
};
use sqlx::{Postgres, Sqlite};

use crate::store::{
    db::{connections::Connections, errors::limited, sqlite_writer::SqliteWriter},
    journal::append::{self, Inserted, JournalRow},
    ledger::{self, UnitFailure},
};

/// How long a transaction on PostgreSQL may take. After it the connection counts as broken; whether it was committed is
/// found out when the same is written again.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections that a lane writes with. What it returns as written is in the file that the database has now.
pub(super) enum Writer {
    Postgres(Connections<Postgres>),
    /// With the thread that writes units.
    Sqlite(Connections<Sqlite>, Arc<SqliteWriter>),
}

impl Writer {
    pub(super) async fn append(&self, rows: Vec<&JournalRow>) -> Result<Inserted, sqlx::Error> {
        let appended = match self {
            Self::Postgres(pool) => limited(WRITE_TIMEOUT, append_postgres(pool, rows)).await,
            Self::Sqlite(pool, _) => append_sqlite(pool, rows).await,
        };
        appended
            .and_then(|inserted| self.check_file().map(|()| inserted))
            .inspect_err(|error| self.observe(error))
    }

    pub(super) async fn write(&self, units: &[Arc<Unit>]) -> Result<Vec<Receipt>, UnitFailure> {
        let written = match self {
            Self::Postgres(pool) => {
                let written = async { Ok(write_postgres(pool, units).await) };
                limited(WRITE_TIMEOUT, written).await.unwrap_or_else(|error| Err(error.into()))
            }
            Self::Sqlite(_, writer) => {
                let units = units.to_vec();
                writer.run(move |db| ledger::write_sqlite(db, &units)).await
            }
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
            Self::Postgres(pool) => {
                let known = async {
                    let mut db = pool.acquire().await?;
                    let known = append::known_postgres(&mut db, units).await?;
                    db.done().await?;
                    Ok(known)
                };
                limited(WRITE_TIMEOUT, known).await
            }
            Self::Sqlite(pool, _) => append::known_sqlite(&mut *pool.acquire().await?, units).await,
        };
        known.inspect_err(|error| self.observe(error))
    }

    fn check_file(&self) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(_) => Ok(()),
            Self::Sqlite(pool, _) => pool.check_file(),
        }
    }

    fn observe(&self, error: &sqlx::Error) {
        match self {
            Self::Postgres(pool) => pool.observe(error),
            Self::Sqlite(pool, _) => pool.observe(error),
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

async fn write_postgres(
    pool: &Connections<Postgres>,
    units: &[Arc<Unit>],
) -> Result<Vec<Receipt>, UnitFailure> {
    // A single statement is a transaction by itself; only units with retries or failures need several.
    if units.iter().all(|unit| unit.retried.is_empty() && unit.failed.is_empty()) {
        let mut db = pool.acquire().await?;
        let receipts = ledger::write_postgres(&mut db, units).await?;
        db.done().await?;
        return Ok(receipts);
    }
    let mut transaction = pool.begin().await?;
    let receipts = ledger::write_postgres(&mut transaction, units).await?;
    transaction.commit().await?;
    Ok(receipts)
}
