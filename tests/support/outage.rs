//! A database that can be read and not written, as after a failover or with a full disk.

use sqlx::{Connection, PgConnection, SqliteConnection};

use super::world::World;

/// What the server writes webhooks and its own state to.
const LOCK: &str = "BEGIN; LOCK TABLE webhook_events, server_state IN EXCLUSIVE MODE";

/// As long as it exists, no write to the database of its world ends.
pub(crate) enum Outage {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Outage {
    pub(crate) async fn begin(world: &World) -> Self {
        let url = world.setting("DATABASE_URL");
        if world.is_on_postgres() {
            let mut db = PgConnection::connect(url).await.expect("the database can be reached");
            sqlx::raw_sql(LOCK).execute(&mut db).await.expect("the tables can be locked");
            Self::Postgres(db)
        } else {
            let mut db = SqliteConnection::connect(url).await.expect("the database can be opened");
            sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut db).await.expect("the database can be locked");
            Self::Sqlite(db)
        }
    }

    pub(crate) async fn end(self) {
        let closed = match self {
            Self::Postgres(db) => db.close().await,
            Self::Sqlite(db) => db.close().await,
        };
        closed.expect("the connection can be closed");
    }
}
