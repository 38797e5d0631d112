//! The database as a file: a copy of a SQLite database in use, and what follows when a copy has replaced the database.
//! These functions need no [`Store`](super::Store): there is no key to decrypt secrets with, and nothing is served.

use std::{fs::File, io, path::Path, time::Duration};

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::Epoch};
use sqlx::{
    ConnectOptions, Connection, PgConnection, SqliteConnection,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteLockingMode},
};

use super::db::{
    migrations,
    pool::{Database, Pools, store_error},
    sqlite_file,
    types::Id,
};
use crate::database_url::{DatabaseUrl, hosts::PostgresHosts};

/// Reads one snapshot of the database and writes it without holes. Writers are not delayed, and do not delay it: the backup
/// interface of SQLite begins again whenever another process has written, and never ends under load.
const COPY: &str = "VACUUM INTO $1";
const READ_ANYTHING: &str = "BEGIN EXCLUSIVE; SELECT COUNT(*) FROM sqlite_schema; ROLLBACK";
const SQLITE_BUSY: &str = "5";
const QUICK_CHECK: &str = "PRAGMA quick_check";
const FULL_CHECK: &str = "PRAGMA integrity_check";
const FOREIGN_KEY_CHECK: &str = "SELECT COUNT(*) FROM pragma_foreign_key_check";
const BEGIN_EPOCH: &str = "UPDATE feed_epoch SET epoch = $1";
/// The hidden app of the canary is no data.
macro_rules! real_apps {
    () => {
        "apps WHERE id NOT IN (SELECT app_id FROM deleted_apps WHERE purged_at IS NOT NULL)"
    };
}
const HAS_DATA: &str =
    concat!("SELECT EXISTS (SELECT 1 FROM ", real_apps!(), ") OR EXISTS (SELECT 1 FROM webhook_events)");
const COUNT: &str = concat!(
    "SELECT (SELECT COUNT(*) FROM ",
    real_apps!(),
    "), (SELECT COUNT(*) FROM calls), (SELECT COUNT(*) FROM events), (SELECT COUNT(*) FROM webhook_events)"
);
const NOTE: &str = "INSERT INTO server_state (name, at) VALUES ('backup', $1)
    ON CONFLICT (name) DO UPDATE SET at = EXCLUDED.at";
const POSTGRES_TABLES: &str = "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()";
/// Other connections of servers. That of a command has another name.
const POSTGRES_SERVERS: &str = "SELECT COUNT(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'cti-server' AND pid <> pg_backend_pid()";

/// What a database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// The apps.
    pub apps: i64,
    /// The calls.
    pub calls: i64,
    /// The events that are kept.
    pub events: i64,
    /// The webhooks in the journal.
    pub webhooks: i64,
}

/// How thoroughly a SQLite file is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Whether its pages are sound.
    Quick,
    /// Whether its indexes and references are sound as well.
    Full,
}

/// Writes a copy of a SQLite database to a file that does not exist or is empty.
///
/// # Errors
/// There is no such database, or it can't be copied.
pub async fn copy_sqlite(database: &Path, target: &str) -> Result<(), StoreError> {
    let mut db = open_sqlite(database).await?;
    sqlx::query(COPY).bind(target).execute(&mut db).await.map_err(store_error)?;
    db.close().await.map_err(store_error)
}

/// Checks a SQLite file.
///
/// # Errors
/// It can't be read, or is damaged.
pub async fn check_sqlite(file: &Path, check: Check) -> Result<(), StoreError> {
    let mut db = open_sqlite(file).await?;
    let pragma = if check == Check::Full { FULL_CHECK } else { QUICK_CHECK };
    let findings: Vec<String> = sqlx::query_scalar(pragma).fetch_all(&mut db).await.map_err(store_error)?;
    if findings != ["ok"] {
        return Err(StoreError::Rejected(format!("{} is damaged: {}", file.display(), findings.join("; "))));
    }
    if check == Check::Full {
        let dangling: i64 =
            sqlx::query_scalar(FOREIGN_KEY_CHECK).fetch_one(&mut db).await.map_err(store_error)?;
        if dangling > 0 {
            return Err(StoreError::Rejected(format!(
                "{}: {dangling} references lead nowhere",
                file.display()
            )));
        }
    }
    db.close().await.map_err(store_error)
}

/// Whether a SQLite database has an app or a webhook. A file without tables has none.
///
/// # Errors
/// It can't be read.
pub async fn sqlite_has_data(file: &Path) -> Result<bool, StoreError> {
    let mut db = open_sqlite(file).await?;
    let tables = "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'apps'";
    let has_tables: i64 = sqlx::query_scalar(tables).fetch_one(&mut db).await.map_err(store_error)?;
    let has_data =
        has_tables > 0 && sqlx::query_scalar(HAS_DATA).fetch_one(&mut db).await.map_err(store_error)?;
    db.close().await.map_err(store_error)?;
    Ok(has_data)
}

/// Whether a process has a SQLite database open. One that can't be read counts as open nowhere: it can be replaced.
pub async fn sqlite_is_in_use(file: &Path) -> bool {
    // With this mode, a connection gets its lock only where there is no other connection, whatever that one does.
    let options = SqliteConnectOptions::new()
        .filename(file)
        .locking_mode(SqliteLockingMode::Exclusive)
        .busy_timeout(Duration::ZERO);
    let read = async {
        let mut db = options.connect().await?;
        sqlx::raw_sql(READ_ANYTHING).execute(&mut db).await?;
        db.close().await
    };
    match read.await {
        Err(sqlx::Error::Database(error)) => error.code().is_some_and(|code| code == SQLITE_BUSY),
        _ => false,
    }
}

/// Takes the lock of a SQLite database as a server does, until what is returned is dropped; `None`: another process has it.
///
/// # Errors
/// The lock file can't be used.
pub fn lock_sqlite(file: &Path) -> io::Result<Option<File>> {
    sqlite_file::lock(file)
}

/// Applies the pending migrations to a restored database, and begins another epoch. Returns the epoch and the migrations.
///
/// # Errors
/// It can't be opened or migrated.
pub async fn begin_epoch(url: &DatabaseUrl) -> Result<(Epoch, Vec<String>), StoreError> {
    let database = Database::open(url).await?;
    let applied = database.migrate().await?;
    let epoch = Epoch::generate();
    let begun = match database.pools() {
        Pools::Postgres(pools) => {
            sqlx::query(BEGIN_EPOCH).bind(Id::from(epoch)).execute(&pools.write).await.map(|_| ())
        }
        Pools::Sqlite(pools) => {
            sqlx::query(BEGIN_EPOCH).bind(Id::from(epoch)).execute(&pools.write).await.map(|_| ())
        }
    };
    database.close().await;
    begun.map_err(store_error)?;
    Ok((epoch, applied))
}

/// Counts what a database has.
///
/// # Errors
/// It can't be read.
pub async fn count(url: &DatabaseUrl) -> Result<Counts, StoreError> {
    let row: Result<(i64, i64, i64, i64), sqlx::Error> = match url {
        DatabaseUrl::Postgres(hosts) => {
            let options = host_of(hosts).await?;
            sqlx::query_as(COUNT).fetch_one(&mut open_postgres(&options).await?).await
        }
        DatabaseUrl::Sqlite(path) => sqlx::query_as(COUNT).fetch_one(&mut open_sqlite(path).await?).await,
    };
    let (apps, calls, events, webhooks) = row.map_err(store_error)?;
    Ok(Counts { apps, calls, events, webhooks })
}

/// Notes in the database when it was last backed up.
///
/// # Errors
/// It can't be written.
pub async fn note(url: &DatabaseUrl, at: DateTime<Utc>) -> Result<(), StoreError> {
    let noted = match url {
        DatabaseUrl::Postgres(hosts) => {
            let options = host_of(hosts).await?;
            sqlx::query(NOTE).bind(at).execute(&mut open_postgres(&options).await?).await.map(|_| ())
        }
        DatabaseUrl::Sqlite(path) => {
            sqlx::query(NOTE).bind(at).execute(&mut open_sqlite(path).await?).await.map(|_| ())
        }
    };
    noted.map_err(store_error)
}

/// Returns the host of a PostgreSQL database that can be written.
///
/// # Errors
/// None of several can be.
pub async fn host_of(hosts: &PostgresHosts) -> Result<PgConnectOptions, StoreError> {
    hosts.writable().await.map_err(store_error)
}

/// What stands in the way of a restore into a PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresTarget {
    /// How many connections of servers are open.
    pub servers: i64,
    /// Whether it has an app or a webhook.
    pub has_data: bool,
    /// The tables of this program that it has.
    pub tables: Vec<String>,
}

/// Looks at the database that a backup is to be restored into.
///
/// # Errors
/// It can't be read.
pub async fn inspect_postgres(options: &PgConnectOptions) -> Result<PostgresTarget, StoreError> {
    let mut db = open_postgres(options).await?;
    let servers = sqlx::query_scalar(POSTGRES_SERVERS).fetch_one(&mut db).await.map_err(store_error)?;
    let mut tables: Vec<String> =
        sqlx::query_scalar(POSTGRES_TABLES).fetch_all(&mut db).await.map_err(store_error)?;
    let own = own_postgres_tables();
    tables.retain(|table| own.contains(table));
    let has_tables = ["apps", "webhook_events"].iter().all(|name| tables.iter().any(|table| table == name));
    let has_data =
        has_tables && sqlx::query_scalar(HAS_DATA).fetch_one(&mut db).await.map_err(store_error)?;
    db.close().await.map_err(store_error)?;
    Ok(PostgresTarget { servers, has_data, tables })
}

/// Returns the tables that the migrations make.
fn own_postgres_tables() -> Vec<String> {
    let lines = migrations::POSTGRES.iter().flat_map(|migration| migration.sql.as_str().lines());
    let made = lines.filter_map(|line| line.strip_prefix("CREATE TABLE ")?.split_whitespace().next());
    made.chain(["_sqlx_migrations"]).map(str::to_owned).collect()
}

/// Drops tables of this program that a backup does not have, because a newer version made them.
///
/// # Errors
/// They can't be dropped.
pub async fn drop_tables(options: &PgConnectOptions, tables: &[String]) -> Result<(), StoreError> {
    let mut db = open_postgres(options).await?;
    for table in tables {
        let mut statement = sqlx::QueryBuilder::<sqlx::Postgres>::new("DROP TABLE \"");
        // A name of one of our own migrations: it has no quote.
        statement.push(table).push("\" CASCADE").build().execute(&mut db).await.map_err(store_error)?;
    }
    db.close().await.map_err(store_error)
}

async fn open_sqlite(path: &Path) -> Result<SqliteConnection, StoreError> {
    if !path.is_file() {
        return Err(StoreError::Rejected(format!("there is no database at {}", path.display())));
    }
    SqliteConnectOptions::new().filename(path).connect().await.map_err(store_error)
}

async fn open_postgres(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    options.clone().application_name("cti-server command").connect().await.map_err(store_error)
}
