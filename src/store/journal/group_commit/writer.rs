//! The connection that a lane writes with.

use std::{collections::HashMap, sync::Arc};

use cti_actors::{
    id::{AppId, JournalId},
    unit::{DedupKey, Receipt, Unit},
};

use crate::store::{
    journal::append::{self, Inserted, JournalRow},
    ledger::{self, UnitFailure},
};

/// The pool that a lane writes with.
pub(super) enum Writer {
    Postgres(sqlx::PgPool),
    Sqlite(sqlx::SqlitePool),
}

impl Writer {
    pub(super) async fn append(&self, rows: Vec<&JournalRow>) -> Result<Inserted, sqlx::Error> {
        match self {
            Self::Postgres(pool) => append::append_postgres(&mut *pool.acquire().await?, rows).await,
            Self::Sqlite(pool) => {
                let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
                let inserted = append::append_sqlite(&mut transaction, rows).await?;
                transaction.commit().await?;
                Ok(inserted)
            }
        }
    }

    pub(super) async fn write(&self, units: &[Arc<Unit>]) -> Result<Vec<Receipt>, UnitFailure> {
        match self {
            // A single statement is a transaction by itself; only units with retries or failures need several.
            Self::Postgres(pool)
                if units.iter().all(|unit| unit.retried.is_empty() && unit.failed.is_empty()) =>
            {
                ledger::write_postgres(&mut *pool.acquire().await?, units).await
            }
            Self::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                let receipts = ledger::write_postgres(&mut transaction, units).await?;
                transaction.commit().await?;
                Ok(receipts)
            }
            Self::Sqlite(pool) if ledger::is_small(units) => {
                ledger::write_sqlite_at_once(&mut *pool.acquire().await?, units).await
            }
            Self::Sqlite(pool) => {
                let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
                let receipts = ledger::write_sqlite(&mut transaction, units).await?;
                transaction.commit().await?;
                Ok(receipts)
            }
        }
    }

    /// Returns those of the units' incoming webhooks that the journal has already, each with the id that it has there.
    pub(super) async fn known_webhooks(
        &self,
        units: &[Arc<Unit>],
    ) -> Result<HashMap<(AppId, DedupKey), JournalId>, sqlx::Error> {
        match self {
            Self::Postgres(pool) => append::known_postgres(&mut *pool.acquire().await?, units).await,
            Self::Sqlite(pool) => append::known_sqlite(&mut *pool.acquire().await?, units).await,
        }
    }
}
