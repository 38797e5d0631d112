//! Named consumers: the cursor of each in its app's feed, and the process that holds it. What processes share, `sharing` has.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use cti_actors::{
    consumer::{ConsumerKey, Mode},
    error::StoreError,
    id::{AppId, Epoch, Seq},
    ports::{Acquire, Acquired, Cursors, SharingSave, StoredConsumer, StoredCursor, StoredSharing},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::{
    ConsumerStore, Store,
    db::{
        bulk::{Column, Rows},
        types::Id,
    },
    on_db,
};

/// How many consumers an app may have. More mean that a client makes up a new name each time.
const MAX_CONSUMERS: i64 = 1000;

const ONE: &str = "SELECT acked_seq, epoch FROM consumers WHERE app_id = $1 AND name = $2";
/// Creates no consumer for an app that has `$9` of them. The epoch of its cursor stays until it acknowledges in another one: until then
/// each connection gets a gap.
const ACQUIRE: &str = "INSERT INTO consumers
    (app_id, name, mode, acked_seq, holder, connections, held_until, created_at, updated_at, epoch)
    SELECT $1, $2, $3, $4, $6, 1, $7, $8, $8, $10
    WHERE EXISTS (SELECT 1 FROM consumers WHERE app_id = $1 AND name = $2)
        OR (SELECT COUNT(*) FROM consumers WHERE app_id = $1) < $9
    ON CONFLICT (app_id, name) DO UPDATE SET
        mode = EXCLUDED.mode, held_until = EXCLUDED.held_until,
        holder = EXCLUDED.holder, previous_holder = consumers.holder,
        connections = CASE WHEN consumers.holder = EXCLUDED.holder THEN consumers.connections ELSE 1 END,
        acked_seq = CASE WHEN consumers.acked_seq > $5 THEN $5 ELSE consumers.acked_seq END
    RETURNING acked_seq, previous_holder, consumers.epoch";
/// Creates a consumer that no process holds, unless it exists.
const CREATE: &str = "INSERT INTO consumers
    (app_id, name, mode, acked_seq, holder, connections, held_until, created_at, updated_at, epoch)
    SELECT $1, $2, 'exclusive', $3, 0, 0, $4, $4, $4, $6
    WHERE (SELECT COUNT(*) FROM consumers WHERE app_id = $1) < $5
    ON CONFLICT (app_id, name) DO NOTHING";
const KEEP_HEAD: &str =
    "WITH kept (of_holder, of_app, of_name, acked, acked_in, open_now, leased_until, kept_at) AS (";
/// What was acknowledged in an earlier epoch does not count. The first acknowledgement in the present one replaces a cursor of
/// an earlier one, which may be higher.
const KEEP_TAIL: &str = ") UPDATE consumers SET
        updated_at = CASE WHEN acked_in = present.epoch AND (acked > acked_seq OR consumers.epoch <> present.epoch)
            THEN kept_at ELSE updated_at END,
        acked_seq = CASE WHEN acked_in = present.epoch AND (acked > acked_seq OR consumers.epoch <> present.epoch)
            THEN acked ELSE acked_seq END,
        epoch = CASE WHEN acked_in = present.epoch THEN acked_in ELSE consumers.epoch END,
        connections = open_now, held_until = leased_until
    FROM kept, feed_epoch AS present WHERE app_id = of_app AND name = of_name AND holder = of_holder
    RETURNING consumers.app_id, consumers.name";
const HELD: &str = "SELECT app_id, name FROM consumers WHERE holder = $1";
const ADVANCE: &str = "UPDATE consumers SET
        updated_at = CASE WHEN $3 > acked_seq OR consumers.epoch <> present.epoch THEN $4 ELSE updated_at END,
        acked_seq = CASE WHEN $3 > acked_seq OR consumers.epoch <> present.epoch THEN $3 ELSE acked_seq END,
        epoch = present.epoch
    FROM feed_epoch AS present
    WHERE app_id = $1 AND name = $2 AND mode <> 'share'";
const DELETE: &str = "DELETE FROM consumers WHERE app_id = $1 AND name = $2";
/// `$2`: the last name of the page before, or an empty text.
const LIST: &str = "SELECT name, mode, acked_seq, connections, held_until, created_at, updated_at
    FROM consumers WHERE app_id = $1 AND name > $2 ORDER BY name LIMIT $3";
const VIEW: &str = "SELECT name, mode, acked_seq, connections, held_until, created_at, updated_at
    FROM consumers WHERE app_id = $1 AND name = $2";

/// A named consumer.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = NamedConsumer)]
pub struct ConsumerView {
    /// The name.
    pub name: String,
    /// `exclusive` (one connection) or `share` (its connections share the work).
    #[schema(value_type = Mode)]
    pub mode: String,
    /// The cursor: the last event that it acknowledged.
    pub acked_seq: i64,
    /// How many events follow the cursor, whether they match its filter or not.
    pub behind: i64,
    /// How many connections it has.
    pub connections: i64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its cursor last moved.
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
        // The process that held it may have crashed.
        let connections = if held_until > now { connections } else { 0 };
        let behind = (head.0 - acked_seq).max(0);
        ConsumerView { name, mode, acked_seq, behind, connections, created_at, updated_at }
    }
}

impl ConsumerStore<'_> {
    /// Returns an app's consumers by name: at most `limit` after the name `after`. `head` is the app's last event.
    pub async fn list(
        self,
        app: AppId,
        after: &str,
        limit: usize,
        head: Seq,
    ) -> Result<Vec<ConsumerView>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<ConsumerRow> = on_db!(self.store, read db => {
            sqlx::query_as(LIST).bind(Id::from(app)).bind(after).bind(limit).fetch_all(db).await
        })?;
        let now = self.store.now();
        Ok(rows.into_iter().map(|row| row.view(head, now)).collect())
    }

    /// Returns one consumer.
    pub async fn view(self, app: AppId, name: &str, head: Seq) -> Result<Option<ConsumerView>, StoreError> {
        let row: Option<ConsumerRow> = on_db!(self.store, read db => {
            sqlx::query_as(VIEW).bind(Id::from(app)).bind(name).fetch_optional(db).await
        })?;
        Ok(row.map(|row| row.view(head, self.store.now())))
    }

    /// Creates a consumer that polls at `start`, of this epoch, unless it exists. Returns its cursor; `None` where the app
    /// has too many.
    pub async fn find_or_create(
        self,
        app: AppId,
        name: &str,
        start: Seq,
        epoch: Epoch,
    ) -> Result<Option<StoredCursor>, StoreError> {
        let now = self.store.now();
        on_db!(self.store, write db => {
            sqlx::query(CREATE)
                .bind(Id::from(app))
                .bind(name)
                .bind(start.0)
                .bind(now)
                .bind(MAX_CONSUMERS)
                .bind(Id::from(epoch))
                .execute(db)
                .await
                .map(|_| ())
        })?;
        self.store.consumer(app, name).await
    }
}

#[async_trait]
impl Cursors for Store {
    async fn consumer(&self, app: AppId, name: &str) -> Result<Option<StoredCursor>, StoreError> {
        let row: Option<(i64, Option<Id>)> = on_db!(self, read db => {
            sqlx::query_as(ONE).bind(Id::from(app)).bind(name).fetch_optional(db).await
        })?;
        Ok(row.map(|(acked, epoch)| StoredCursor { acked: Seq(acked), epoch: epoch.map(Into::into) }))
    }

    async fn acquire(&self, request: Acquire<'_>) -> Result<Acquired, StoreError> {
        let Acquire { app_id, name, start, epoch, head, holder, held_until } = request;
        let now = self.now();
        let taken: Option<(i64, Option<i64>, Option<Id>)> = on_db!(self, write db => {
            sqlx::query_as(ACQUIRE)
                .bind(Id::from(app_id))
                .bind(name)
                .bind(Mode::Exclusive.as_str())
                .bind(start.0)
                .bind(head.0)
                .bind(holder)
                .bind(held_until)
                .bind(now)
                .bind(MAX_CONSUMERS)
                .bind(Id::from(epoch))
                .fetch_optional(db)
                .await
        })?;
        if let Some((acked, before, stored_epoch)) = taken {
            let is_current = stored_epoch.is_none_or(|stored| Epoch::from(stored) == epoch);
            return Ok(Acquired::Held { is_current, acked: Seq(acked), before });
        }
        Ok(Acquired::TooMany)
    }

    async fn save_cursors(
        &self,
        holder: i64,
        cursors: &[StoredConsumer],
    ) -> Result<Vec<ConsumerKey>, StoreError> {
        let now = self.now();
        // In the same order in all processes, so that two of them never wait for each other.
        let sorted: BTreeMap<_, _> = cursors.iter().map(|it| ((it.app_id, &it.name), it)).collect();
        let each = || sorted.values();
        let rows = Rows::of(vec![
            Column::Int(each().map(|_| holder).collect()),
            Column::Id(each().map(|it| it.app_id.into()).collect()),
            Column::Text(each().map(|it| it.name.clone()).collect()),
            Column::Int(each().map(|it| it.acked.0).collect()),
            // No epoch is nil.
            Column::Id(each().map(|it| it.epoch.unwrap_or_default().into()).collect()),
            Column::Int(each().map(|it| i64::try_from(it.connections).unwrap_or(i64::MAX)).collect()),
            Column::Time(each().map(|it| it.held_until).collect()),
            Column::Time(each().map(|_| now).collect()),
        ]);
        let kept: Vec<(Id, String)> = self.write_listed(KEEP_HEAD, KEEP_TAIL, rows).await?;
        Ok(kept.into_iter().map(|(app, name)| (app.into(), name)).collect())
    }

    async fn held_by(&self, holder: i64) -> Result<Vec<ConsumerKey>, StoreError> {
        let rows: Vec<(Id, String)> =
            on_db!(self, read db => sqlx::query_as(HELD).bind(holder).fetch_all(db).await)?;
        Ok(rows.into_iter().map(|(app, name)| (app.into(), name)).collect())
    }

    async fn advance_consumer(&self, app: AppId, name: &str, acked: Seq) -> Result<bool, StoreError> {
        let now = self.now();
        on_db!(self, write db => {
            let moved =
                sqlx::query(ADVANCE).bind(Id::from(app)).bind(name).bind(acked.0).bind(now).execute(db).await?;
            Ok(moved.rows_affected() > 0)
        })
    }

    async fn open_shared(
        &self,
        app: AppId,
        name: &str,
        start: Seq,
        epoch: Epoch,
    ) -> Result<Option<StoredSharing>, StoreError> {
        self.consumers().open_shared(app, name, start, epoch).await
    }

    async fn sharing(&self, app: AppId, name: &str) -> Result<Option<StoredSharing>, StoreError> {
        self.consumers().sharing(app, name).await
    }

    async fn save_sharings(&self, saves: &[SharingSave]) -> Result<Vec<ConsumerKey>, StoreError> {
        self.consumers().save_sharings(saves).await
    }

    async fn remove_consumer(&self, app: AppId, name: &str) -> Result<bool, StoreError> {
        on_db!(self, write db => {
            let removed = sqlx::query(DELETE).bind(Id::from(app)).bind(name).execute(db).await?;
            Ok(removed.rows_affected() > 0)
        })
    }
}
