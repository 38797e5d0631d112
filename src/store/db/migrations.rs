//! The migrations of both databases.

use std::time::{Duration, Instant};

use cti_actors::error::StoreError;
use sqlx::{
    Executor, Postgres,
    error::DatabaseError,
    migrate::{AppliedMigration, Migrate, MigrateError, Migration, Migrator},
};
use tracing::info;

use super::{
    connections::Connections,
    errors::store_error,
    pool::{Database, Pools},
};

pub(in crate::store) static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
pub(in crate::store) static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// Lets one process at a time apply migrations through a pooler, which gives a session's lock to any other client.
const LOCK: &str = "SELECT pg_advisory_xact_lock(4852143126007)";

/// While a migration waits for a lock, everything else that needs the table waits behind it: less than a webhook may wait.
const LOCK_TIMEOUT: &str = "SET lock_timeout TO '400ms'";
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// How long a migration is tried again because of locks. Another process may be migrating.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(120);
const LOCK_INTERVAL: Duration = Duration::from_millis(400);

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
            Pools::Postgres(pools) => apply_between_others(&pools.write).await,
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

/// Applies the migrations while other processes serve from the same tables.
async fn apply_between_others(pool: &Connections<Postgres>) -> Result<Vec<String>, MigrateError> {
    let began = Instant::now();
    let mut all = Vec::new();
    loop {
        let mut connection = pool.acquire().await?;
        // After an error the session may still hold the lock of the migrations, and it keeps its setting.
        connection.close_on_drop();
        connection.execute(LOCK_TIMEOUT).await?;
        let before = applied(&POSTGRES, &mut *connection).await?;
        let done = POSTGRES.run_direct(None, &mut *connection, false).await;
        let after = connection.list_applied_migrations(&POSTGRES.table_name).await?;
        all.extend(names(POSTGRES.iter().filter(|migration| {
            let is_in =
                |applied: &[AppliedMigration]| applied.iter().any(|one| one.version == migration.version);
            is_in(&after) && !is_in(&before)
        })));
        match done {
            Err(error) if waited_for_a_lock(&error) && began.elapsed() < MAX_LOCK_WAIT => {
                info!("a migration waits until nobody uses the table");
                tokio::time::sleep(LOCK_INTERVAL).await;
            }
            done => return done.map(|()| all),
        }
    }
}

fn waited_for_a_lock(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

/// Says why migrations were not applied. Waiting helps only if the database was the reason, and it did not refuse them.
fn refused(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
            if error.as_database_error().is_none_or(|failure| !refuses_statements(failure)) =>
        {
            store_error(error)
        }
        MigrateError::VersionMissing(version) => StoreError::Unusable(format!(
            "a newer version of cti-server has migrated the database (it has migration {version:04}, and this version \
             knows none after {:04}); start that version, or a newer one",
            POSTGRES.iter().map(|migration| migration.version).max().unwrap_or_default()
        )),
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
    if let Some(newer) = applied.iter().find(|applied| !migrator.version_exists(applied.version)) {
        return Err(MigrateError::VersionMissing(newer.version));
    }
    Ok(not_applied(&applied, migrator))
}

/// Names the migrations that are not among those that were applied.
fn not_applied(applied: &[AppliedMigration], migrator: &Migrator) -> Vec<String> {
    let new = migrator
        .iter()
        .filter(|migration| applied.iter().all(|applied| applied.version != migration.version));
    names(new)
}

fn names<'m>(migrations: impl Iterator<Item = &'m Migration>) -> Vec<String> {
    migrations.map(|migration| format!("{:04} {}", migration.version, migration.description)).collect()
}

/// Returns what was applied before.
async fn applied<C: Migrate>(
    migrator: &Migrator,
    connection: &mut C,
) -> Result<Vec<AppliedMigration>, MigrateError> {
    connection.ensure_migrations_table(&migrator.table_name).await?;
    connection.list_applied_migrations(&migrator.table_name).await
}

async fn apply<C: Migrate>(migrator: &Migrator, connection: &mut C) -> Result<Vec<String>, MigrateError> {
    let before = applied(migrator, connection).await?;
    migrator.run_direct(None, connection, false).await?;
    Ok(not_applied(&before, migrator))
}
