//! The migrations of both databases.

use cti_actors::error::StoreError;
use sqlx::{
    error::DatabaseError,
    migrate::{AppliedMigration, Migrate, MigrateError, Migrator},
};

use super::{
    errors::store_error,
    pool::{Database, Pools},
};

pub(in crate::store) static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
pub(in crate::store) static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// Lets one process at a time apply migrations through a pooler, which gives a session's lock to any other client.
const LOCK: &str = "SELECT pg_advisory_xact_lock(4852143126007)";

impl Database {
    /// Applies the pending migrations. Returns their names, oldest first.
    pub(crate) async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        let applied = match self.pools() {
            Pools::Postgres(pools) if pools.write.wraps_statements() => {
                let mut transaction = pools.write.begin().await.map_err(store_error)?;
                sqlx::query(LOCK).execute(&mut *transaction).await.map_err(store_error)?;
                let mut migrator = sqlx::migrate!("migrations/postgres");
                migrator.set_locking(false);
                let applied = apply(&migrator, &mut *transaction).await;
                transaction.commit().await.map_err(store_error)?;
                applied
            }
            Pools::Postgres(pools) => {
                let mut connection = pools.write.acquire().await.map_err(store_error)?;
                apply(&POSTGRES, &mut *connection).await
            }
            Pools::Sqlite(pools) => {
                let mut connection = pools.write.acquire().await.map_err(store_error)?;
                apply(&SQLITE, &mut *connection).await
            }
        };
        applied.map_err(refused)
    }

    /// Names the migrations that [`Self::migrate`] would apply.
    pub(crate) async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        let pending = match self.pools() {
            Pools::Postgres(pools) => {
                let mut connection = pools.write.acquire().await.map_err(store_error)?;
                pending(&POSTGRES, &mut *connection).await
            }
            Pools::Sqlite(pools) => {
                let mut connection = pools.write.acquire().await.map_err(store_error)?;
                pending(&SQLITE, &mut *connection).await
            }
        };
        pending.map_err(refused)
    }
}

/// Says why migrations were not applied. Waiting helps only if the database was the reason, and it did not refuse them.
fn refused(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
            if error.as_database_error().is_none_or(|failure| !refuses_statements(failure)) =>
        {
            store_error(error)
        }
        error => StoreError::Unusable(format!("migrations: {error}")),
    }
}

/// Whether the statements are wrong or not allowed: class 42 of PostgreSQL, error and read-only of SQLite.
fn refuses_statements(failure: &dyn DatabaseError) -> bool {
    let code = failure.code().unwrap_or_default();
    (code.len() == 5 && code.starts_with("42")) || matches!(&*code, "1" | "8")
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
