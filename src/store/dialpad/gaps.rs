//! Gaps: times for which webhooks of an app may be missing. Each is a row until it has been looked into.
//!
//! [`Gaps::record`] writes one down; gaps that touch become one, until they are begun. Whoever works them off takes a turn at one
//! ([`Gaps::claim`]) and says how it goes on. A turn that was overtaken, by another process or because the gap
//! has grown meanwhile, changes nothing any more.

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId};
use uuid::Uuid;

use crate::store::{Gaps, db::types::Id, on_db};

const NOTE: &str = "INSERT INTO repairs (id, app_id, since, until, reason, not_before)
    VALUES ($1, $2, $3, $4, $5, $4)";
/// A gap that is being worked off stays as it is: it goes on where it was.
const WIDEN: &str = "UPDATE repairs SET
    since = (SELECT MIN(since) FROM repairs
        WHERE app_id = $2 AND given_up IS NULL AND cursor IS NULL AND since <= $4 AND until >= $3),
    until = (SELECT MAX(until) FROM repairs
        WHERE app_id = $2 AND given_up IS NULL AND cursor IS NULL AND since <= $4 AND until >= $3)
    WHERE id = $1";
const ABSORB: &str = "DELETE FROM repairs WHERE id <> $1
    AND app_id = $2 AND given_up IS NULL AND cursor IS NULL AND since <= $4 AND until >= $3";
/// `$1`: whether apps without a connection belong to the static key.
const CONNECTED: &str = "SELECT apps.id FROM apps
    LEFT JOIN dialpad_connections ON dialpad_connections.app_id = apps.id
    WHERE (dialpad_connections.app_id IS NOT NULL OR $1)
    AND apps.id NOT IN (SELECT app_id FROM removed_apps) ORDER BY apps.id";
/// The clock has two hands: the gap must have ended before `$1`, and its turn come by `$2`.
const DUE: &str =
    "SELECT repairs.id, repairs.app_id, since, until, reason, cursor, list_from, turn, failures,
    COALESCE(dialpad_connections.connected_at, apps.created_at) AS connected_at
    FROM repairs JOIN apps ON apps.id = repairs.app_id
    LEFT JOIN dialpad_connections ON dialpad_connections.app_id = repairs.app_id
    WHERE given_up IS NULL AND apps.is_active AND until <= $1 AND not_before <= $2
    ORDER BY not_before, repairs.id LIMIT 1";
const TAKE: &str = "UPDATE repairs SET turn = turn + 1, not_before = $3 WHERE id = $1 AND turn = $2";
const GO_ON: &str = "UPDATE repairs SET cursor = $3, list_from = $4, failures = 0, not_before = $5
    WHERE id = $1 AND turn = $2";
const PUT_OFF: &str =
    "UPDATE repairs SET failures = failures + $4, not_before = $3 WHERE id = $1 AND turn = $2";
const BEGIN_ANEW: &str = "UPDATE repairs SET cursor = NULL, list_from = NULL WHERE id = $1 AND turn = $2";
const FINISH: &str = "DELETE FROM repairs WHERE id = $1 AND turn = $2";
/// What heals one gap of an app would have healed the others, too.
const FORGIVE: &str = "DELETE FROM repairs WHERE app_id = $1 AND given_up IS NOT NULL";
/// One row says it for all that an app has given up.
const GIVE_UP: &str = "UPDATE repairs SET given_up = $3, since = (SELECT MIN(since) FROM repairs
    WHERE app_id = $4 AND (given_up IS NOT NULL OR id = $1)) WHERE id = $1 AND turn = $2";
const SAID_BEFORE: &str = "DELETE FROM repairs WHERE app_id = $1 AND given_up IS NOT NULL AND id <> $2
    AND EXISTS (SELECT 1 FROM repairs AS newer WHERE newer.id = $2 AND newer.given_up IS NOT NULL)";
const DROP_OLD: &str = "DELETE FROM repairs WHERE until < $1 RETURNING app_id, since, until, given_up";
const PENDING_COUNT: &str = "SELECT COUNT(*) FROM repairs WHERE given_up IS NULL";
const GIVEN_UP: &str =
    "SELECT since, until, given_up FROM repairs WHERE app_id = $1 AND given_up IS NOT NULL ORDER BY since";

/// Why webhooks may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The server, or its database, was not there to take them.
    Away,
    /// None came, although there had been some all the time.
    Silence,
    /// Dialpad had not been told to send them.
    SubscriptionMissing,
}

impl GapReason {
    /// The word in the database and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Silence => "silence",
            Self::SubscriptionMissing => "subscription_missing",
        }
    }

    /// Reads the word back; another program's one is the most general reason.
    fn of(word: &str) -> Self {
        let known = [Self::Away, Self::Silence, Self::SubscriptionMissing];
        known.into_iter().find(|reason| reason.as_str() == word).unwrap_or(Self::Away)
    }
}

/// A turn at a gap.
#[derive(Clone, Debug)]
pub struct Repair {
    id: Id,
    turn: i64,
    /// Whose webhooks may be missing.
    pub app: AppId,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Why.
    pub reason: GapReason,
    /// Since when the app has been connected; an app with the static key, since it was made.
    pub connected_at: DateTime<Utc>,
    /// Where the list at Dialpad goes on.
    pub cursor: Option<String>,
    /// Since when its calls began; none at the beginning.
    pub list_from: Option<DateTime<Utc>>,
    /// Turns that failed since the last one that did not.
    pub failures: u32,
}

/// A gap that nobody looks into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostGap {
    /// Whose it is.
    pub app: AppId,
    /// Since when webhooks may be missing.
    pub since: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Why it was given up, where it was not simply too old.
    pub given_up: Option<String>,
}

#[derive(sqlx::FromRow)]
struct RepairRow {
    id: Id,
    app_id: Id,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    reason: String,
    cursor: Option<String>,
    list_from: Option<DateTime<Utc>>,
    turn: i64,
    failures: i64,
    connected_at: DateTime<Utc>,
}

type LostRow = (Id, DateTime<Utc>, DateTime<Utc>, Option<String>);

impl Gaps<'_> {
    /// Writes down that webhooks of an app may be missing for this time. It is looked into in the background.
    ///
    /// # Errors
    /// The database could not be asked, or there is no such app.
    pub async fn record(
        self,
        app: AppId,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        reason: GapReason,
    ) -> Result<(), StoreError> {
        let (id, app) = (Id(Uuid::now_v7()), Id::from(app));
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            sqlx::query(NOTE).bind(id).bind(app).bind(since).bind(until).bind(reason.as_str()).execute(&mut *db).await?;
            sqlx::query(WIDEN).bind(id).bind(app).bind(since).bind(until).execute(&mut *db).await?;
            sqlx::query(ABSORB).bind(id).bind(app).bind(since).bind(until).execute(&mut *db).await?;
            transaction.commit().await
        })
    }

    /// The apps that Dialpad sends webhooks for: those with a connection, and with the static key all others.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn connected_apps(self, by_static_key: bool) -> Result<Vec<AppId>, StoreError> {
        let rows: Vec<(Id,)> =
            on_db!(self.store, read db => sqlx::query_as(CONNECTED).bind(by_static_key).fetch_all(db).await)?;
        Ok(rows.into_iter().map(|(id,)| id.into()).collect())
    }

    /// Takes a turn at a gap that ended before `ended_before`, if there is one whose turn it is. Nobody else takes it
    /// up until `held_until`.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn claim(
        self,
        ended_before: DateTime<Utc>,
        held_until: DateTime<Utc>,
    ) -> Result<Option<Repair>, StoreError> {
        let now = self.store.now();
        let row: Option<RepairRow> = on_db!(self.store, read db => {
            sqlx::query_as(DUE).bind(ended_before).bind(now).fetch_optional(db).await
        })?;
        let Some(row) = row else { return Ok(None) };
        let taken = on_db!(self.store, write db => {
            sqlx::query(TAKE).bind(row.id).bind(row.turn).bind(held_until).execute(db).await
                .map(|done| done.rows_affected())
        })?;
        Ok((taken > 0).then(|| Repair {
            id: row.id,
            turn: row.turn + 1,
            app: row.app_id.into(),
            since: row.since,
            until: row.until,
            reason: GapReason::of(&row.reason),
            connected_at: row.connected_at,
            cursor: row.cursor,
            list_from: row.list_from,
            failures: u32::try_from(row.failures).unwrap_or(u32::MAX),
        }))
    }

    /// The next turn goes on behind this cursor, in the list of calls that began since `list_from`.
    ///
    /// # Errors
    /// The database could not be asked; the turn is repeated then.
    pub async fn advance(
        self,
        repair: &Repair,
        cursor: &str,
        list_from: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let now = self.store.now();
        on_db!(self.store, write db => {
            sqlx::query(GO_ON).bind(repair.id).bind(repair.turn).bind(cursor).bind(list_from).bind(now).execute(db)
                .await.map(|_| ())
        })
    }

    /// The turn is repeated, not before this instant.
    ///
    /// # Errors
    /// The database could not be asked; the turn is repeated a little later then.
    pub async fn postpone(
        self,
        repair: &Repair,
        until: DateTime<Utc>,
        is_failure: bool,
    ) -> Result<(), StoreError> {
        on_db!(self.store, write db => {
            sqlx::query(PUT_OFF).bind(repair.id).bind(repair.turn).bind(until).bind(i64::from(is_failure)).execute(db)
                .await.map(|_| ())
        })
    }

    /// The list begins anew with the next turn: its cursor may be what Dialpad does not take.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn restart(self, repair: &Repair) -> Result<(), StoreError> {
        on_db!(self.store, write db => {
            sqlx::query(BEGIN_ANEW).bind(repair.id).bind(repair.turn).execute(db).await.map(|_| ())
        })
    }

    /// The gap has been looked into.
    ///
    /// # Errors
    /// The database could not be asked; the last turn is repeated then.
    pub async fn finish(self, repair: &Repair) -> Result<(), StoreError> {
        let app = Id::from(repair.app);
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            sqlx::query(FINISH).bind(repair.id).bind(repair.turn).execute(&mut *db).await?;
            sqlx::query(FORGIVE).bind(app).execute(&mut *db).await?;
            transaction.commit().await
        })
    }

    /// Nobody will look into the gap. It is kept for a while with the reason, together with what the app has given up
    /// before.
    ///
    /// # Errors
    /// The database could not be asked; the turn is repeated then.
    pub async fn give_up(self, repair: &Repair, reason: &str) -> Result<(), StoreError> {
        let app = Id::from(repair.app);
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            sqlx::query(GIVE_UP).bind(repair.id).bind(repair.turn).bind(reason).bind(app).execute(&mut *db).await?;
            sqlx::query(SAID_BEFORE).bind(app).bind(repair.id).execute(&mut *db).await?;
            transaction.commit().await
        })
    }

    /// Removes the gaps that ended before this instant, and says which.
    ///
    /// # Errors
    /// The database could not be asked; they go the next time.
    pub async fn drop_older_than(self, before: DateTime<Utc>) -> Result<Vec<LostGap>, StoreError> {
        let rows: Vec<LostRow> =
            on_db!(self.store, write db => sqlx::query_as(DROP_OLD).bind(before).fetch_all(db).await)?;
        let lost = rows.into_iter().map(|(app, since, until, given_up)| LostGap {
            app: app.into(),
            since,
            until,
            given_up,
        });
        Ok(lost.collect())
    }

    /// How many gaps wait to be looked into.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn pending(self) -> Result<i64, StoreError> {
        let (count,): (i64,) =
            on_db!(self.store, read db => sqlx::query_as(PENDING_COUNT).fetch_one(db).await)?;
        Ok(count)
    }

    /// What an app has given up.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn given_up(self, app: AppId) -> Result<Vec<LostGap>, StoreError> {
        let rows: Vec<(DateTime<Utc>, DateTime<Utc>, Option<String>)> =
            on_db!(self.store, read db => sqlx::query_as(GIVEN_UP).bind(Id::from(app)).fetch_all(db).await)?;
        Ok(rows.into_iter().map(|(since, until, given_up)| LostGap { app, since, until, given_up }).collect())
    }
}
