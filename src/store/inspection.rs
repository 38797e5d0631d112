//! What a database looks like from outside the server: for `doctor`. Read with a connection of its own, without a pool and
//! without named statements, so that it works beside a running server, behind a pooler, and before the first migration.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use cti_actors::id::JournalId;
use sqlx::{
    ConnectOptions, Connection, PgConnection, Row, SqliteConnection, migrate::Migrator,
    postgres::PgConnectOptions, sqlite::SqliteConnectOptions,
};

use super::db::{durability, migrations};
use crate::database_url::DatabaseUrl;

/// What was found.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// Name and version of the database.
    pub(crate) version: String,
    pub(crate) missing_migrations: Vec<String>,
    /// Indexes that the migrations create and the database does not have.
    pub(crate) missing_indexes: Vec<String>,
    /// When the oldest webhook was received that is not processed.
    pub(crate) oldest_pending: Option<DateTime<Utc>>,
    /// When `cti-server backup` last made a copy.
    pub(crate) backed_up: Option<DateTime<Utc>>,
    pub(crate) failed_webhooks: i64,
    pub(crate) unrouted_webhooks: i64,
    /// `None` on SQLite.
    pub(crate) postgres: Option<PostgresSettings>,
}

/// The settings of a server of PostgreSQL.
#[derive(Debug)]
pub(crate) struct PostgresSettings {
    pub(crate) major_version: u32,
    pub(crate) encoding: String,
    pub(crate) is_read_only: bool,
    /// How many more connections the server takes from users without special rights.
    pub(crate) free_connections: i64,
    /// Whether the server listens on another port than the one that was connected to.
    pub(crate) is_behind_another_port: bool,
    /// The settings with which commits can be lost, as they are.
    pub(crate) weak_durability: Vec<String>,
}

enum Link {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Inspection {
    /// Looks at a database. Changes nothing, and creates no file.
    pub(crate) async fn take(url: &DatabaseUrl) -> Result<Self, sqlx::Error> {
        let (mut link, migrator, catalogue) = match url {
            DatabaseUrl::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path).read_only(true);
                let catalogue = "SELECT name FROM sqlite_master WHERE type = 'index'";
                (Link::Sqlite(options.connect().await?), &migrations::SQLITE, catalogue)
            }
            DatabaseUrl::Postgres(hosts) => {
                let options = hosts.writable().await?;
                let catalogue = "SELECT indexname::text FROM pg_indexes WHERE schemaname = current_schema()";
                (Link::Postgres(options.connect().await?), &migrations::POSTGRES, catalogue)
            }
        };
        let (version, postgres) = match url {
            DatabaseUrl::Sqlite(_) => {
                (format!("SQLite {}", link.one("SELECT sqlite_version()").await?), None)
            }
            DatabaseUrl::Postgres(hosts) => {
                let version = link.one("SHOW server_version").await?;
                let settings = PostgresSettings::read(&mut link, hosts.only()).await?;
                (format!("PostgreSQL {version}"), Some(settings))
            }
        };
        // Before the first migration the table does not exist.
        let applied = link.column("SELECT CAST(version AS TEXT) FROM _sqlx_migrations WHERE success").await;
        let applied: BTreeSet<String> = applied.unwrap_or_default().into_iter().collect();
        let missing = migrator.iter().filter(|migration| !applied.contains(&migration.version.to_string()));
        let missing_migrations: Vec<String> =
            missing.map(|it| format!("{:04} {}", it.version, it.description)).collect();
        let existing: BTreeSet<String> = link.column(catalogue).await?.into_iter().collect();
        let expected = indexes_of(migrator).into_iter();
        let mut found = Self {
            version,
            missing_indexes: expected.filter(|index| !existing.contains(index)).collect(),
            missing_migrations,
            oldest_pending: None,
            backed_up: None,
            failed_webhooks: 0,
            unrouted_webhooks: 0,
            postgres,
        };
        if found.missing_migrations.is_empty() {
            found.backed_up = link.instant("SELECT at FROM server_state WHERE name = 'backup'").await?;
            found.read_journal(&mut link).await?;
        }
        link.close().await?;
        Ok(found)
    }

    async fn read_journal(&mut self, link: &mut Link) -> Result<(), sqlx::Error> {
        let oldest =
            "SELECT CAST(id AS TEXT) FROM webhook_events WHERE status = 'pending' ORDER BY id LIMIT 1";
        let oldest = link.column(oldest).await?.into_iter().next();
        // Ids are UUIDs of version 7: they hold the time at which they were made.
        self.oldest_pending = oldest.and_then(|id| id.parse::<JournalId>().ok()?.generated_at());
        self.count_webhooks(link).await
    }

    async fn count_webhooks(&mut self, link: &mut Link) -> Result<(), sqlx::Error> {
        let failed = "SELECT CAST(COUNT(*) AS TEXT) FROM webhook_events WHERE status = 'failed'";
        self.failed_webhooks = link.number(failed).await?;
        let unrouted = "SELECT CAST(COUNT(*) AS TEXT) FROM webhook_events WHERE status = 'unrouted'";
        self.unrouted_webhooks = link.number(unrouted).await?;
        Ok(())
    }
}

impl PostgresSettings {
    async fn read(link: &mut Link, host: Option<&PgConnectOptions>) -> Result<Self, sqlx::Error> {
        let version = link.number("SELECT current_setting('server_version_num')").await?;
        let read_only =
            "SELECT (pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on')::text";
        let free = "SELECT (current_setting('max_connections')::bigint
                - current_setting('superuser_reserved_connections')::bigint
                - (SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend'))::text";
        // Null over a socket of the file system.
        let port =
            link.column("SELECT inet_server_port()::text WHERE inet_server_port() IS NOT NULL").await?;
        let mut weak_durability = Vec::new();
        for (name, question, needed) in durability::NEEDED {
            let found = link.one(question).await?;
            if found != needed {
                weak_durability.push(format!("{name} = {found}"));
            }
        }
        Ok(Self {
            major_version: u32::try_from(version / 10_000).unwrap_or_default(),
            encoding: link.one("SHOW server_encoding").await?,
            is_read_only: link.one(read_only).await? == "true",
            free_connections: link.number(free).await?,
            is_behind_another_port: host
                .zip(port.first())
                .is_some_and(|(host, port)| *port != host.get_port().to_string()),
            weak_durability,
        })
    }
}

impl Link {
    /// Returns the first column of all rows. It must be text.
    async fn column(&mut self, sql: &'static str) -> Result<Vec<String>, sqlx::Error> {
        match self {
            Self::Sqlite(db) => {
                sqlx::raw_sql(sql).fetch_all(db).await?.iter().map(|row| row.try_get(0)).collect()
            }
            Self::Postgres(db) => {
                sqlx::raw_sql(sql).fetch_all(db).await?.iter().map(|row| row.try_get(0)).collect()
            }
        }
    }

    async fn instant(&mut self, sql: &'static str) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
        match self {
            Self::Sqlite(db) => {
                sqlx::raw_sql(sql).fetch_optional(db).await?.map(|row| row.try_get(0)).transpose()
            }
            Self::Postgres(db) => {
                sqlx::raw_sql(sql).fetch_optional(db).await?.map(|row| row.try_get(0)).transpose()
            }
        }
    }

    async fn one(&mut self, sql: &'static str) -> Result<String, sqlx::Error> {
        self.column(sql).await?.into_iter().next().ok_or(sqlx::Error::RowNotFound)
    }

    async fn number(&mut self, sql: &'static str) -> Result<i64, sqlx::Error> {
        self.one(sql).await?.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
    }

    async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(db) => db.close().await,
            Self::Postgres(db) => db.close().await,
        }
    }
}

/// Returns the names of the indexes that exist after all migrations.
fn indexes_of(migrator: &Migrator) -> BTreeSet<String> {
    let mut indexes = BTreeSet::new();
    for migration in migrator.iter() {
        let words: Vec<&str> = migration.sql.as_str().split_whitespace().collect();
        for (place, word) in words.iter().enumerate() {
            if !word.eq_ignore_ascii_case("INDEX") {
                continue;
            }
            let before = place.checked_sub(1).map_or("", |place| words[place]).to_ascii_uppercase();
            let after = words[place + 1..].iter().find(|word| {
                !["IF", "NOT", "EXISTS", "CONCURRENTLY"].contains(&word.to_ascii_uppercase().as_str())
            });
            let Some(name) = after.map(|name| name.trim_end_matches(';').to_owned()) else { continue };
            match before.as_str() {
                "CREATE" | "UNIQUE" => drop(indexes.insert(name)),
                "DROP" => drop(indexes.remove(&name)),
                _ => {}
            }
        }
    }
    indexes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_indexes_of_the_migrations_are_known_by_name() {
        for migrator in [&migrations::SQLITE, &migrations::POSTGRES] {
            let indexes = indexes_of(migrator);
            assert!(
                indexes.contains("webhook_events_dedup") && indexes.contains("calls_live"),
                "{indexes:?}"
            );
        }
    }
}
