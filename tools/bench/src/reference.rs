//! Measures the database alone: single rows, one committed transaction each, in a table shaped like the journal. The
//! server's rates are given as ratios to it, because absolute rates depend on the machine.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, PgConnection, raw_sql};
use uuid::Uuid;

use super::Failure;
use super::events::{Event, PayloadTemplate, Phase};
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

/// Inserts per second directly before and after a measure.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Reference {
    /// Before.
    pub before_per_s: f64,
    /// After.
    pub after_per_s: f64,
    /// The mean of both, to which ratios refer.
    pub per_s: f64,
    /// SQLite only: the mean with one connection. SQLite allows one writer at a time, so this shows the cost or gain of
    /// concurrent writers.
    pub single_connection_per_s: Option<f64>,
}

impl Reference {
    /// Combines two rounds.
    pub(crate) fn around(before: Round, after: Round) -> Self {
        let mean = |first: f64, second: f64| (first + second) / 2.0;
        Self {
            before_per_s: before.many,
            after_per_s: after.many,
            per_s: mean(before.many, after.many),
            single_connection_per_s: before.single.zip(after.single).map(|(one, other)| mean(one, other)),
        }
    }

    /// Returns a rate as a ratio to the reference.
    pub(crate) fn ratio(&self, rate: f64) -> f64 {
        ratio(rate, self.per_s)
    }
}

/// One measurement of the database alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    many: f64,
    single: Option<f64>,
}

impl Round {
    /// Inserts for `time` with `connections` connections, into a new table that is removed afterwards.
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
    let template = PayloadTemplate::recent();
    let app_id = Uuid::now_v7();
    let mut payload = Vec::with_capacity(1_024);
    let mut count = 0;
    for row in rows {
        if Instant::now() >= until {
            break;
        }
        payload.clear();
        template.write_body(Event { call: row, phase: Phase::Started }, &mut payload);
        writer.insert(app_id, &payload).await?;
        count += 1;
    }
    writer.close().await?;
    Ok(count)
}

/// The table of the reference.
enum Table {
    /// A file beside the server's own: on the same disk, with its own lock.
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

/// Returns options with full durability: every commit is on the disk before it returns.
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
