//! Gaps: periods for which webhooks of an app may be missing. Each is a row until it has been recovered.
//!
//! [`Gaps::record`] stores a gap; gaps that touch are merged until their recovery begins. Recovery works page by page:
//! it claims a gap ([`Gaps::claim`]), fetches one page, and stores the outcome. A claim that was superseded, by another
//! process or because the gap has grown, changes nothing any more.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{clock::new_uuid, error::StoreError, id::AppId};
use strum::{EnumString, IntoStaticStr};

use crate::store::{Gaps, db::types::Id, on_db};

const INSERT: &str = "INSERT INTO gaps (id, app_id, since, until, reason, due_at)
    VALUES ($1, $2, $3, $4, $5, $4)";
/// A gap whose recovery has begun stays as it is.
const WIDEN: &str = "UPDATE gaps SET
    since = (SELECT MIN(since) FROM gaps
        WHERE app_id = $2 AND given_up IS NULL AND cursor IS NULL AND since <= $4 AND until >= $3),
    until = (SELECT MAX(until) FROM gaps
        WHERE app_id = $2 AND given_up IS NULL AND cursor IS NULL AND since <= $4 AND until >= $3)
    WHERE id = $1";
const ABSORB: &str = "DELETE FROM gaps WHERE id <> $1
    AND app_id = $2 AND given_up IS NULL AND cursor IS NULL AND since <= $4 AND until >= $3";
/// `$1`: whether apps without a connection belong to the static key.
const CONNECTED: &str = "SELECT apps.id FROM apps
    LEFT JOIN dialpad_connections ON dialpad_connections.app_id = apps.id
    WHERE (dialpad_connections.app_id IS NOT NULL OR $1)
    AND apps.id NOT IN (SELECT app_id FROM deleted_apps) ORDER BY apps.id";
/// The gap must have ended by `$1`, and be due by `$2`. One that ended in the future (`$3`), or is due after any pause
/// (`$4`), was stored while the clock was ahead.
const DUE: &str =
    "SELECT gaps.id, gaps.app_id, since, until, reason, cursor, list_from, gaps.generation, failures,
    COALESCE(dialpad_connections.connected_at, apps.created_at) AS connected_at
    FROM gaps JOIN apps ON apps.id = gaps.app_id
    LEFT JOIN dialpad_connections ON dialpad_connections.app_id = gaps.app_id
    WHERE given_up IS NULL AND apps.is_active
    AND (until <= $1 OR until > $3) AND (due_at <= $2 OR due_at > $4)
    ORDER BY due_at, gaps.id LIMIT 1";
const CLAIM: &str =
    "UPDATE gaps SET generation = generation + 1, due_at = $3 WHERE id = $1 AND generation = $2";
const ADVANCE: &str = "UPDATE gaps SET cursor = $3, list_from = $4, failures = 0, due_at = $5
    WHERE id = $1 AND generation = $2";
const POSTPONE: &str =
    "UPDATE gaps SET failures = failures + $4, due_at = $3 WHERE id = $1 AND generation = $2";
const RESTART: &str = "UPDATE gaps SET cursor = NULL, list_from = NULL WHERE id = $1 AND generation = $2";
const FINISH: &str = "DELETE FROM gaps WHERE id = $1 AND generation = $2";
/// What made this recovery succeed would have made the given-up ones succeed, too.
const DELETE_GIVEN_UP: &str = "DELETE FROM gaps WHERE app_id = $1 AND given_up IS NOT NULL";
/// One row stands for all gaps of an app that were given up.
const GIVE_UP: &str = "UPDATE gaps SET given_up = $3, since = (SELECT MIN(since) FROM gaps
    WHERE app_id = $4 AND (given_up IS NOT NULL OR id = $1)) WHERE id = $1 AND generation = $2";
const MERGE_GIVEN_UP: &str = "DELETE FROM gaps WHERE app_id = $1 AND given_up IS NOT NULL AND id <> $2
    AND EXISTS (SELECT 1 FROM gaps AS newer WHERE newer.id = $2 AND newer.given_up IS NOT NULL)";
const DELETE_OLD: &str = "DELETE FROM gaps WHERE until < $1 RETURNING app_id, since, until, given_up";
const PENDING_COUNT: &str = "SELECT COUNT(*) FROM gaps WHERE given_up IS NULL";
const GIVEN_UP: &str = "SELECT app_id, since, until, given_up FROM gaps WHERE app_id = $1 AND given_up IS NOT NULL ORDER BY since";

/// How far the clocks of processes may differ.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(1);
/// No pause before a gap is due again is longer.
const MAX_PAUSE: TimeDelta = TimeDelta::days(1);

/// Why webhooks may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum GapReason {
    /// The server, or its database, was not running.
    Away,
    /// No webhooks came, although they had come before.
    Silence,
    /// The subscription at Dialpad was missing.
    SubscriptionMissing,
}

impl GapReason {
    /// Returns the word in the database and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A gap that was claimed for the recovery of one page.
#[derive(Clone, Debug)]
pub struct ClaimedGap {
    id: Id,
    generation: i64,
    /// The app.
    pub app: AppId,
    /// The beginning of the gap.
    pub since: DateTime<Utc>,
    /// The end of the gap.
    pub until: DateTime<Utc>,
    /// Why webhooks may be missing.
    pub reason: GapReason,
    /// When the app was connected; an app with the static key, when it was created.
    pub connected_at: DateTime<Utc>,
    /// Where Dialpad's list continues; `None` at its beginning.
    pub cursor: Option<String>,
    /// The start of the calls that the list covers; `None` at its beginning.
    pub list_from: Option<DateTime<Utc>>,
    /// How many attempts have failed since the last success.
    pub failures: u32,
}

/// A gap that is not recovered.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct LostGap {
    /// The app.
    #[sqlx(rename = "app_id", try_from = "Id")]
    pub app: AppId,
    /// The beginning of the gap.
    pub since: DateTime<Utc>,
    /// The end of the gap.
    pub until: DateTime<Utc>,
    /// Why it was given up; `None` where it only was too old.
    pub given_up: Option<String>,
}

#[derive(sqlx::FromRow)]
struct GapRow {
    id: Id,
    app_id: Id,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    reason: String,
    cursor: Option<String>,
    list_from: Option<DateTime<Utc>>,
    generation: i64,
    failures: i64,
    connected_at: DateTime<Utc>,
}

impl Gaps<'_> {
    /// Stores that webhooks of an app may be missing for this period. It is recovered in the background.
    ///
    /// # Errors
    /// There is no such app.
    pub async fn record(
        self,
        app: AppId,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        reason: GapReason,
    ) -> Result<(), StoreError> {
        let id = Id(new_uuid());
        let app = Id::from(app);
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            sqlx::query(INSERT).bind(id).bind(app).bind(since).bind(until).bind(reason.as_str()).execute(&mut *db).await?;
            sqlx::query(WIDEN).bind(id).bind(app).bind(since).bind(until).execute(&mut *db).await?;
            sqlx::query(ABSORB).bind(id).bind(app).bind(since).bind(until).execute(&mut *db).await?;
            transaction.commit().await
        })
    }

    /// Returns the apps that Dialpad sends webhooks for: those with a connection, and with the static key all others.
    pub async fn connected_apps(self, by_static_key: bool) -> Result<Vec<AppId>, StoreError> {
        let rows: Vec<(Id,)> =
            on_db!(self.store, read db => sqlx::query_as(CONNECTED).bind(by_static_key).fetch_all(db).await)?;
        Ok(rows.into_iter().map(|(id,)| id.into()).collect())
    }

    /// Claims the gap that is due first, of those that ended before `ended_before`. Nobody else can claim it until
    /// `held_until`.
    pub async fn claim(
        self,
        ended_before: DateTime<Utc>,
        held_until: DateTime<Utc>,
    ) -> Result<Option<ClaimedGap>, StoreError> {
        let now = self.store.now();
        let row: Option<GapRow> = on_db!(self.store, read db => {
            sqlx::query_as(DUE).bind(ended_before).bind(now).bind(now + CLOCK_TOLERANCE).bind(now + MAX_PAUSE)
                .fetch_optional(db).await
        })?;
        let Some(row) = row else { return Ok(None) };
        let claimed = on_db!(self.store, write db => {
            sqlx::query(CLAIM).bind(row.id).bind(row.generation).bind(held_until).execute(db).await
                .map(|done| done.rows_affected())
        })?;
        let is_in_future = row.until > now + CLOCK_TOLERANCE;
        Ok((claimed > 0).then(|| ClaimedGap {
            id: row.id,
            generation: row.generation + 1,
            app: row.app_id.into(),
            // When it really was is unknown.
            since: if is_in_future { row.since.min(now - MAX_PAUSE) } else { row.since },
            until: if is_in_future { now } else { row.until },
            // A newer version may have stored a reason that this one does not know.
            reason: row.reason.parse().unwrap_or(GapReason::Away),
            connected_at: row.connected_at,
            cursor: row.cursor,
            list_from: row.list_from,
            failures: u32::try_from(row.failures).unwrap_or(u32::MAX),
        }))
    }

    /// Stores that a page was recovered: the next one follows this cursor, in the list of calls that began since
    /// `list_from`. When it fails, the page is fetched again.
    pub async fn advance(
        self,
        gap: &ClaimedGap,
        cursor: &str,
        list_from: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let now = self.store.now();
        on_db!(self.store, write db => {
            sqlx::query(ADVANCE).bind(gap.id).bind(gap.generation).bind(cursor).bind(list_from).bind(now).execute(db)
                .await.map(|_| ())
        })
    }

    /// Stores that the page is to be fetched again, at this instant or later.
    pub async fn postpone(
        self,
        gap: &ClaimedGap,
        until: DateTime<Utc>,
        is_failure: bool,
    ) -> Result<(), StoreError> {
        on_db!(self.store, write db => {
            sqlx::query(POSTPONE).bind(gap.id).bind(gap.generation).bind(until).bind(i64::from(is_failure)).execute(db)
                .await.map(|_| ())
        })
    }

    /// Starts the list again: Dialpad may refuse its cursor.
    pub async fn restart(self, gap: &ClaimedGap) -> Result<(), StoreError> {
        on_db!(self.store, write db => {
            sqlx::query(RESTART).bind(gap.id).bind(gap.generation).execute(db).await.map(|_| ())
        })
    }

    /// Deletes a gap that was recovered. When it fails, its last page is fetched again.
    pub async fn finish(self, gap: &ClaimedGap) -> Result<(), StoreError> {
        let app = Id::from(gap.app);
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            sqlx::query(FINISH).bind(gap.id).bind(gap.generation).execute(&mut *db).await?;
            sqlx::query(DELETE_GIVEN_UP).bind(app).execute(&mut *db).await?;
            transaction.commit().await
        })
    }

    /// Gives a gap up. It is kept for a while with the reason, merged with those that were given up before.
    pub async fn give_up(self, gap: &ClaimedGap, reason: &str) -> Result<(), StoreError> {
        let app = Id::from(gap.app);
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            sqlx::query(GIVE_UP).bind(gap.id).bind(gap.generation).bind(reason).bind(app).execute(&mut *db).await?;
            sqlx::query(MERGE_GIVEN_UP).bind(app).bind(gap.id).execute(&mut *db).await?;
            transaction.commit().await
        })
    }

    /// Deletes the gaps that ended before this instant, and returns them.
    pub async fn drop_older_than(self, before: DateTime<Utc>) -> Result<Vec<LostGap>, StoreError> {
        on_db!(self.store, write db => sqlx::query_as(DELETE_OLD).bind(before).fetch_all(db).await)
    }

    /// Counts the gaps that wait to be recovered.
    pub async fn pending(self) -> Result<i64, StoreError> {
        on_db!(self.store, read db => sqlx::query_scalar(PENDING_COUNT).fetch_one(db).await)
    }

    /// Returns the gaps of an app that were given up.
    pub async fn given_up(self, app: AppId) -> Result<Vec<LostGap>, StoreError> {
        on_db!(self.store, read db => sqlx::query_as(GIVEN_UP).bind(Id::from(app)).fetch_all(db).await)
    }
}
