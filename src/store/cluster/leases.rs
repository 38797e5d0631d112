//! Which process works on which app.

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, Fence},
    model::lease::{FreeLease, TakeoverReason},
};
use uuid::Uuid;

use crate::store::{
    Leases,
    db::{
        bulk::{Column, FirstParam, Rows},
        types::Id,
    },
    on_db,
};

/// Of a new app, whose creator owns it. `$2`: the creator, if it is one of the processes that run.
pub(in crate::store) const INSERT: &str = "INSERT INTO app_leases (app_id, owner, fence) VALUES ($1,
    (SELECT process_id FROM processes WHERE incarnation = $2 AND NOT is_stopping), $3)";
pub(crate) const FIRST_FENCE: Fence = Fence(1);
/// Those of apps that another version has created, or that were imported.
const INSERT_MISSING: &str = "INSERT INTO app_leases (app_id, fence) SELECT id, 0 FROM apps
    WHERE NOT EXISTS (SELECT 1 FROM app_leases WHERE app_id = apps.id) ON CONFLICT DO NOTHING";
const HELD: &str = "SELECT app_id, fence FROM app_leases
    WHERE owner = (SELECT process_id FROM processes WHERE incarnation = $1)";
/// Without those of deleted apps, which the hidden app of the canary counts as.
const COUNT: &str = "SELECT COUNT(*) FROM app_leases
    WHERE owner = (SELECT process_id FROM processes WHERE incarnation = $1)
    AND app_id NOT IN (SELECT app_id FROM deleted_apps)";
const FREE: &str = "SELECT app_id, fence, FALSE AS has_owner FROM app_leases WHERE owner IS NULL
    UNION ALL SELECT app_id, fence, TRUE FROM app_leases
    WHERE owner IN (SELECT process_id FROM processes WHERE expires_at <= clock_timestamp()) LIMIT $1";
/// The rows are apps with the fences that were read. The fence is compared, so that of two processes one gets a lease. The
/// feed's row comes first: it is where a unit of work of the former owner may be at this moment. One that stays locked, by a
/// process that was stopped in the middle of a transaction, delays no other.
const TAKE_HEAD: &str = "WITH listed (app_id, fence) AS (";
const TAKE_TAIL: &str = "),
    process AS (SELECT process_id FROM processes WHERE incarnation = $1),
    wanted AS (
        SELECT event_feeds.app_id, listed.fence FROM event_feeds JOIN listed ON listed.app_id = event_feeds.app_id
        FOR UPDATE OF event_feeds SKIP LOCKED
    ),
    taken AS (
        UPDATE app_leases SET owner = process.process_id, fence = app_leases.fence + 1 FROM wanted, process
        WHERE app_leases.app_id = wanted.app_id AND app_leases.fence = wanted.fence
        AND (owner IS NULL OR owner IN (SELECT process_id FROM processes WHERE expires_at <= clock_timestamp()))
        RETURNING app_leases.app_id, app_leases.fence
    )
    UPDATE event_feeds SET fence = taken.fence FROM taken WHERE event_feeds.app_id = taken.app_id
    RETURNING event_feeds.app_id, event_feeds.fence";
const TAKE_ALL_SQLITE: &str =
    "UPDATE app_leases SET owner = (SELECT process_id FROM processes), fence = fence + 1";
/// The rows are apps.
const RELEASE_HEAD: &str = "WITH listed (app_id) AS (";
const RELEASE_TAIL: &str = ")
    UPDATE app_leases SET owner = NULL FROM listed WHERE app_leases.app_id = listed.app_id
    AND owner = (SELECT process_id FROM processes WHERE incarnation = $1) RETURNING app_leases.app_id, fence";
const ALL: &str = "SELECT app_id, owner, fence, expires_at FROM app_leases
    LEFT JOIN processes ON process_id = owner WHERE app_id NOT IN (SELECT app_id FROM deleted_apps) ORDER BY app_id";

/// How many free leases are read at a time.
const MAX_FREE: i64 = 5000;

/// The lease of an app.
#[derive(Clone, Debug, serde::Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct LeaseRow {
    /// The app.
    #[sqlx(try_from = "Id")]
    pub app_id: AppId,
    /// The process that works on it; null while none does.
    pub owner: Option<String>,
    /// The number of this ownership; it grows with each new owner.
    pub fence: i64,
    /// Until when it is owned without another renewal; null while it is not owned.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Leases<'_> {
    /// Returns what a process holds.
    pub async fn held(self, incarnation: Uuid) -> Result<Vec<(AppId, Fence)>, StoreError> {
        let rows: Vec<(Id, i64)> = on_db!(self.store, read db => {
            sqlx::query_as(HELD).bind(Id(incarnation)).fetch_all(db).await
        })?;
        Ok(leases(rows))
    }

    /// Counts what this process holds.
    pub async fn count(self) -> Result<i64, StoreError> {
        let process = self.store.incarnation();
        on_db!(self.store, read db => sqlx::query_scalar(COUNT).bind(process).fetch_one(db).await)
    }

    /// Returns leases that no living process holds.
    pub async fn free(self) -> Result<Vec<FreeLease>, StoreError> {
        let rows: Vec<(Id, i64, bool)> = on_db!(self.store, read db => {
            sqlx::query_as(FREE).bind(MAX_FREE).fetch_all(db).await
        })?;
        let free = rows.into_iter().map(|(app, fence, has_owner)| {
            let reason = match (has_owner, fence) {
                (true, _) => TakeoverReason::Expired,
                (false, 0) => TakeoverReason::New,
                (false, _) => TakeoverReason::Released,
            };
            FreeLease { app: app.into(), fence: Fence(fence), reason }
        });
        Ok(free.collect())
    }

    /// Takes leases that are still free, for a process. Returns those that it got, with their new fences.
    pub async fn take(
        self,
        incarnation: Uuid,
        wanted: &[FreeLease],
    ) -> Result<Vec<(AppId, Fence)>, StoreError> {
        let columns = vec![
            Column::Id(wanted.iter().map(|lease| lease.app.into()).collect()),
            Column::Int(wanted.iter().map(|lease| lease.fence.0).collect()),
        ];
        let listed = Rows::of(columns).after(FirstParam::Id(Id(incarnation)));
        Ok(leases(self.store.fetch_listed(TAKE_HEAD, TAKE_TAIL, listed).await?))
    }

    /// Takes all leases on SQLite, where no other process can be.
    pub async fn take_all(self) -> Result<(), StoreError> {
        on_db!(self.store, write db => sqlx::query(TAKE_ALL_SQLITE).execute(db).await.map(|_| ()))
    }

    /// Releases leases of a process.
    pub async fn release(self, incarnation: Uuid, apps: &[AppId]) -> Result<(), StoreError> {
        let apps = Column::Id(apps.iter().map(|app| Id::from(*app)).collect());
        let listed = Rows::of(vec![apps]).after(FirstParam::Id(Id(incarnation)));
        let _: Vec<(Id, i64)> = self.store.fetch_listed(RELEASE_HEAD, RELEASE_TAIL, listed).await?;
        Ok(())
    }

    /// Adds the leases of apps that have none.
    pub async fn add_missing(self) -> Result<(), StoreError> {
        on_db!(self.store, write db => sqlx::query(INSERT_MISSING).execute(db).await.map(|_| ()))
    }

    /// Returns all leases.
    pub async fn all(self) -> Result<Vec<LeaseRow>, StoreError> {
        on_db!(self.store, read db => sqlx::query_as(ALL).fetch_all(db).await)
    }
}

fn leases(rows: Vec<(Id, i64)>) -> Vec<(AppId, Fence)> {
    rows.into_iter().map(|(app, fence)| (app.into(), Fence(fence))).collect()
}
