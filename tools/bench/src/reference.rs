//! What the database alone can do: single rows, one committed transaction each, in a table shaped like the
//! journal. Every rate of the server is set in proportion to it, because absolute rates belong to a machine.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, PgConnection, raw_sql};
use uuid::Uuid;

use super::Failure;
use super::events::{Event, Phase, Script};
use super::scratch::{Database, remove_sqlite};
use super::stats::{per_second, ratio};

const CREATE_POSTGRES: &str = "
    DROP TABLE IF EXISTS bench_reference;
    CREATE TABLE bench_reference (
        id UUID PRIMARY KEY,
        app_id UUID NOT NULL,
        dedup_key BYTEA NOT NULL UNIQUE,
        payload BYTEA NOT NULL,
        received_at BIGINT NOT NULL,
        processed_at BIGINT
    )";

const CREATE_SQLITE: &str = "
    CREATE TABLE bench_reference (
        id TEXT PRIMARY KEY,
        app_id TEXT NOT NULL,
        dedup_key BLOB NOT NULL UNIQUE,
        payload BLOB NOT NULL,
        received_at INTEGER NOT NULL,
        processed_at INTEGER
    )";

const INSERT: &str = "
    INSERT INTO bench_reference (id, app_id, dedup_key, payload, received_at) VALUES ($1, $2, $3, $4, $5)";

/// Inserts per second around a measure.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Reference {
    /// Directly before it.
    pub before_per_s: f64,
    /// Directly after it.
    pub after_per_s: f64,
    /// The mean of both: what ratios are taken to.
    pub per_s: f64,
    /// SQLite only, mean of before and after: the same with one connection. SQLite lets one write at a time, so
    /// it shows what the waiting for each other costs or gains.
    pub single_connection_per_s: Option<f64>,
}

impl Reference {
    /// The mean of two rounds.
    pub(crate) fn around(before: Round, after: Round) -> Self {
        let mean = |one: f64, other: f64| (one + other) / 2.0;
        Self {
            before_per_s: before.many,
            after_per_s: after.many,
            per_s: mean(before.many, after.many),
            single_connection_per_s: before.single.zip(after.single).map(|(one, other)| mean(one, other)),
        }
    }

    /// A rate in proportion to the reference.
    pub(crate) fn ratio(&self, rate: f64) -> f64 {
        ratio(rate, self.per_s)
    }
}

/// One time of measuring the database alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    many: f64,
    single: Option<f64>,
}

impl Round {
    /// Inserts for `time` with so many connections, into a new table that is gone afterwards.
    pub(crate) async fn measure(
        database: &Database,
        connections: u32,
        time: Duration,
    ) -> Result<Self, Failure> {
        let many = inserts_per_second(database, connections, time).await?;
        let single = match database {
            Database::Sqlite(_) => Some(inserts_per_second(database, 1, time / 2).await?),
            Database::Postgres { .. } => None,
        };
        Ok(Self { many, single })
    }
}

async fn inserts_per_second(database: &Database, connections: u32, time: Duration) -> Result<f64, Failure> {
    let table = Table::create(database).await?;
    let writers = try_join_all((0..connections).map(|_| table.writer())).await?;
    let start = Instant::now();
    let writing = writers.into_iter().zip(0..).map(|(writer, number)| {
        let rows = (number..).step_by(connections as usize);
        tokio::spawn(write_until(writer, rows, start + time))
    });
    let counts: Vec<u64> = try_join_all(writing).await?.into_iter().collect::<Result<_, _>>()?;
    let rate = per_second(counts.iter().sum(), start.elapsed());
    table.remove().await?;
    Ok(rate)
}

async fn write_until(
    mut writer: Writer,
    rows: impl Iterator<Item = u32>,
    until: Instant,
) -> Result<u64, sqlx::Error> {
    let script = Script::recent();
    let app_id = Uuid::now_v7();
    let mut payload = Vec::with_capacity(1_024);
    let mut count = 0;
    for row in rows {
        if Instant::now() >= until {
            break;
        }
        payload.clear();
        script.write_body(Event { call: row, phase: Phase::Started }, &mut payload);
        writer.insert(app_id, &payload).await?;
        count += 1;
    }
    writer.close().await?;
    Ok(count)
}

/// Where the rows go.
enum Table {
    /// A file beside the server's own: on the same disk, but a lock of its own.
    Sqlite(PathBuf),
    /// In the server's database.
    Postgres(String),
}

impl Table {
    async fn create(database: &Database) -> Result<Self, Failure> {
        match database {
            Database::Sqlite(path) => {
                let path = Database::reference_file(path);
                remove_sqlite(&path)?;
                let mut connection = SqliteConnection::connect_with(&sqlite_options(&path)).await?;
                raw_sql(CREATE_SQLITE).execute(&mut connection).await?;
                connection.close().await?;
                Ok(Self::Sqlite(path))
            }
            Database::Postgres { own, .. } => {
                let mut connection = PgConnection::connect(own.as_str()).await?;
                raw_sql(CREATE_POSTGRES).execute(&mut connection).await?;
                connection.close().await?;
                Ok(Self::Postgres(own.to_string()))
            }
        }
    }

    async fn writer(&self) -> Result<Writer, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(path) => {
                Writer::Sqlite(SqliteConnection::connect_with(&sqlite_options(path)).await?)
            }
            Self::Postgres(url) => Writer::Postgres(PgConnection::connect(url).await?),
        })
    }

    async fn remove(self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(path) => Ok(remove_sqlite(&path)?),
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(&url).await?;
                raw_sql("DROP TABLE bench_reference").execute(&mut connection).await?;
                Ok(connection.close().await?)
            }
        }
    }
}

/// As durable as it gets: every commit is on the disk before it returns.
fn sqlite_options(path: &PathBuf) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(60))
}

enum Writer {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Writer {
    async fn insert(&mut self, app_id: Uuid, payload: &[u8]) -> Result<(), sqlx::Error> {
        let id = Uuid::now_v7();
        let dedup_key = Sha256::digest(payload).to_vec();
        let received_at = id.get_timestamp().map_or(0, |time| time.to_unix().0.cast_signed());
        match self {
            Self::Sqlite(connection) => {
                let query = sqlx::query(INSERT).bind(id.to_string()).bind(app_id.to_string());
                query.bind(dedup_key).bind(payload).bind(received_at).execute(connection).await?;
            }
            Self::Postgres(connection) => {
                let query = sqlx::query(INSERT).bind(id).bind(app_id);
                query.bind(dedup_key).bind(payload).bind(received_at).execute(connection).await?;
            }
        }
        Ok(())
    }

    async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::{DatabaseChoice, Scratch};

    #[tokio::test]
    async fn the_reference_leaves_nothing_beside_the_database() {
        let scratch = Scratch::create(&DatabaseChoice::TemporarySqlite).await.unwrap();
        let round = Round::measure(&scratch.database, 2, Duration::from_millis(50)).await.unwrap();
        assert!(round.many > 0.0 && round.single.unwrap() > 0.0);
        assert_eq!(std::fs::read_dir(&scratch.folder.path).unwrap().count(), 0);
    }
}
