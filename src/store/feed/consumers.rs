//! Named consumers: how far each has come in its app's feed, and which process holds it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use cti_actors::{
    consumer::{Acked, ConsumerKey, Mode},
    error::StoreError,
    id::{AppId, Seq},
    ports::{Acquire, Acquired, Cursors, StoredConsumer},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::{
    ConsumerStore, Store,
    db::{
        bulk::{Column, Rows},
        pool::Pools,
        types::Id,
    },
    on_db,
};

/// How many consumers an app may have: more are names that somebody makes up anew each time.
const MOST: i64 = 1000;

const ONE: &str = "SELECT acked_seq FROM consumers WHERE app_id = $1 AND name = $2";
/// Of an app with `$9` consumers nobody becomes another one. One that is shared stays where its connections are, as long
/// as they are heard of.
const TAKE_UP: &str = "INSERT INTO consumers
    (app_id, name, mode, acked_seq, holder, connections, held_until, created_at, updated_at)
    SELECT $1, $2, $3, $4, $6, 1, $7, $8, $8
    WHERE EXISTS (SELECT 1 FROM consumers WHERE app_id = $1 AND name = $2)
        OR (SELECT COUNT(*) FROM consumers WHERE app_id = $1) < $9
    ON CONFLICT (app_id, name) DO UPDATE SET
        mode = EXCLUDED.mode, held_until = EXCLUDED.held_until,
        holder = EXCLUDED.holder, held_before = consumers.holder,
        connections = CASE WHEN consumers.holder = EXCLUDED.holder THEN consumers.connections ELSE 1 END,
        acked_seq = CASE WHEN consumers.acked_seq > $5 THEN $5 ELSE consumers.acked_seq END
    WHERE consumers.holder = EXCLUDED.holder OR EXCLUDED.mode <> 'share' OR consumers.mode <> 'share'
        OR consumers.connections = 0 OR consumers.held_until <= EXCLUDED.created_at
    RETURNING acked_seq, held_before";
/// What nobody holds begins here, or stands already.
const MAKE: &str = "INSERT INTO consumers
    (app_id, name, mode, acked_seq, holder, connections, held_until, created_at, updated_at)
    SELECT $1, $2, 'exclusive', $3, 0, 0, $4, $4, $4
    WHERE (SELECT COUNT(*) FROM consumers WHERE app_id = $1) < $5
    ON CONFLICT (app_id, name) DO NOTHING";
const KEEP_HEAD: &str =
    "WITH said (of_holder, of_app, of_name, acked, open_now, believed_until, said_at) AS (";
const KEEP_TAIL: &str = ") UPDATE consumers SET
        updated_at = CASE WHEN acked > acked_seq THEN said_at ELSE updated_at END,
        acked_seq = CASE WHEN acked > acked_seq THEN acked ELSE acked_seq END,
        connections = open_now, held_until = believed_until
    FROM said WHERE app_id = of_app AND name = of_name AND holder = of_holder
    RETURNING consumers.app_id, consumers.name";
const HELD: &str = "SELECT app_id, name FROM consumers WHERE holder = $1";
const ADVANCE: &str = "UPDATE consumers SET
        updated_at = CASE WHEN $3 > acked_seq THEN $4 ELSE updated_at END,
        acked_seq = CASE WHEN $3 > acked_seq THEN $3 ELSE acked_seq END
    WHERE app_id = $1 AND name = $2
        AND NOT (mode = 'share' AND connections > 0 AND held_until > $4)";
const REMOVE: &str = "DELETE FROM consumers WHERE app_id = $1 AND name = $2";
/// `$2`: the name that the page before ended with, or nothing.
const LIST: &str = "SELECT name, mode, acked_seq, connections, held_until, created_at, updated_at
    FROM consumers WHERE app_id = $1 AND name > $2 ORDER BY name LIMIT $3";
const VIEW: &str = "SELECT name, mode, acked_seq, connections, held_until, created_at, updated_at
    FROM consumers WHERE app_id = $1 AND name = $2";

/// A consumer as its CRM sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Consumer)]
pub struct ConsumerView {
    /// Its name.
    pub name: String,
    /// How its connections stand to each other: `exclusive` or `share`.
    #[schema(value_type = Mode)]
    pub mode: String,
    /// Everything up to here is dealt with.
    pub acked_seq: i64,
    /// How many events there are behind that, whether they are for it or not.
    pub behind: i64,
    /// How many connections it has.
    pub connections: i64,
    /// When it was first heard of.
    pub created_at: DateTime<Utc>,
    /// When it last came further.
    pub updated_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct ConsumerRow {
    name: String,
    mode: String,
    acked_seq: i64,
    connections: i64,
    held_until: DateTime<Utc>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl ConsumerRow {
    fn view(self, head: Seq, now: DateTime<Utc>) -> ConsumerView {
        let Self { name, mode, acked_seq, connections, held_until, created_at, updated_at } = self;
        // Its holder may have died.
        let connections = if held_until > now { connections } else { 0 };
        let behind = (head.0 - acked_seq).max(0);
        ConsumerView { name, mode, acked_seq, behind, connections, created_at, updated_at }
    }
}

impl ConsumerStore<'_> {
    /// An app's consumers by name, at most `limit` behind this name; `head` is its newest event.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn list(
        self,
        app: AppId,
        behind: &str,
        limit: usize,
        head: Seq,
    ) -> Result<Vec<ConsumerView>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<ConsumerRow> = on_db!(self.store, read db => {
            sqlx::query_as(LIST).bind(Id::from(app)).bind(behind).bind(limit).fetch_all(db).await
        })?;
        let now = self.store.now();
        Ok(rows.into_iter().map(|row| row.view(head, now)).collect())
    }

    /// One of them.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn view(self, app: AppId, name: &str, head: Seq) -> Result<Option<ConsumerView>, StoreError> {
        let row: Option<ConsumerRow> = on_db!(self.store, read db => {
            sqlx::query_as(VIEW).bind(Id::from(app)).bind(name).fetch_optional(db).await
        })?;
        Ok(row.map(|row| row.view(head, self.store.now())))
    }

    /// Where a consumer stands that asks from time to time; begins it there if it is new. `None`: the app has too many.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn find_or_create(self, app: AppId, name: &str, start: Seq) -> Result<Option<Seq>, StoreError> {
        if let Some(known) = self.store.consumer(app, name).await? {
            return Ok(Some(known));
        }
        let now = self.store.now();
        on_db!(self.store, write db => {
            sqlx::query(MAKE)
                .bind(Id::from(app))
                .bind(name)
                .bind(start.0)
                .bind(now)
                .bind(MOST)
                .execute(db)
                .await
                .map(|_| ())
        })?;
        self.store.consumer(app, name).await
    }
}

#[async_trait]
impl Cursors for Store {
    async fn consumer(&self, app: AppId, name: &str) -> Result<Option<Seq>, StoreError> {
        let row: Option<(i64,)> = on_db!(self, read db => {
            sqlx::query_as(ONE).bind(Id::from(app)).bind(name).fetch_optional(db).await
        })?;
        Ok(row.map(|(acked,)| Seq(acked)))
    }

    async fn acquire(&self, wish: Acquire<'_>) -> Result<Acquired, StoreError> {
        let Acquire { app_id, name, mode, start, head, holder, held_until } = wish;
        let now = self.now();
        let taken: Option<(i64, Option<i64>)> = on_db!(self, write db => {
            sqlx::query_as(TAKE_UP)
                .bind(Id::from(app_id))
                .bind(name)
                .bind(mode.as_str())
                .bind(start.0)
                .bind(head.0)
                .bind(holder)
                .bind(held_until)
                .bind(now)
                .bind(MOST)
                .fetch_optional(db)
                .await
        })?;
        if let Some((acked, before)) = taken {
            return Ok(Acquired::Held { acked: Seq(acked), before });
        }
        let known = self.consumer(app_id, name).await?;
        Ok(if known.is_some() { Acquired::Elsewhere } else { Acquired::TooMany })
    }

    async fn save_cursors(
        &self,
        holder: i64,
        cursors: &[StoredConsumer],
    ) -> Result<Vec<ConsumerKey>, StoreError> {
        let now = self.now();
        // In one order for all processes, so that two of them never wait for each other.
        let sorted: BTreeMap<_, _> = cursors.iter().map(|it| ((it.app_id, &it.name), it)).collect();
        let each = || sorted.values();
        let rows = Rows::of(vec![
            Column::Int(each().map(|_| holder).collect()),
            Column::Id(each().map(|it| it.app_id.into()).collect()),
            Column::Text(each().map(|it| it.name.clone()).collect()),
            Column::Int(each().map(|it| it.acked.0).collect()),
            Column::Int(each().map(|it| i64::try_from(it.connections).unwrap_or(i64::MAX)).collect()),
            Column::Time(each().map(|it| it.held_until).collect()),
            Column::Time(each().map(|_| now).collect()),
        ]);
        let database = &self.shared.database;
        let work = async {
            match database.pools() {
                Pools::Postgres(pools) => {
                    let mut db = pools.write.acquire().await?;
                    rows.fetch_postgres::<(Id, String)>(&mut db, KEEP_HEAD, KEEP_TAIL).await
                }
                Pools::Sqlite(pools) => {
                    let mut db = pools.write.acquire().await?;
                    rows.fetch_sqlite::<(Id, String)>(&mut db, KEEP_HEAD, KEEP_TAIL).await
                }
            }
        };
        let kept = database.in_time(Box::pin(work)).await?;
        Ok(kept.into_iter().map(|(app, name)| (app.into(), name)).collect())
    }

    async fn held_by(&self, holder: i64) -> Result<Vec<ConsumerKey>, StoreError> {
        let rows: Vec<(Id, String)> =
            on_db!(self, read db => sqlx::query_as(HELD).bind(holder).fetch_all(db).await)?;
        Ok(rows.into_iter().map(|(app, name)| (app.into(), name)).collect())
    }

    async fn advance_consumer(&self, app: AppId, name: &str, acked: Seq) -> Result<Acked, StoreError> {
        let now = self.now();
        let moved = on_db!(self, write db => {
            let moved =
                sqlx::query(ADVANCE).bind(Id::from(app)).bind(name).bind(acked.0).bind(now).execute(db).await?;
            Ok(moved.rows_affected())
        })?;
        if moved > 0 {
            return Ok(Acked::Counted);
        }
        let known = self.consumer(app, name).await?;
        Ok(if known.is_some() { Acked::Elsewhere } else { Acked::Unknown })
    }

    async fn remove_consumer(&self, app: AppId, name: &str) -> Result<bool, StoreError> {
        on_db!(self, write db => {
            let removed = sqlx::query(REMOVE).bind(Id::from(app)).bind(name).execute(db).await?;
            Ok(removed.rows_affected() > 0)
        })
    }
}
