//! The rows of the canary: a hidden app, of which nothing is kept but its feed's numbers.
//!
//! The app is listed nowhere and has no key, because it counts as deleted. A run removes its rows at its end; what a run
//! left that failed is removed by a later one.

use chrono::TimeDelta;
use cti_actors::{error::StoreError, id::AppId};

use super::{
    Canary,
    cluster::leases,
    db::types::{Id, first_id_at},
    on_db,
    retention::{DELETE_EVENTS, RAISE},
    tenants::apps,
};

const INSERT_APP: &str = "INSERT INTO apps (id, name, is_active, created_at, updated_at, e164_region)
    VALUES ($1, 'canary', $2, $3, $3, 'US') ON CONFLICT DO NOTHING";
const HIDE: &str = "INSERT INTO deleted_apps (app_id, deleted_at, purged_at) VALUES ($1, $2, $2)
    ON CONFLICT DO NOTHING";
/// Those of one call, and those of runs that are over (`$3`).
const DELETE_INTERACTIONS: &str = "DELETE FROM interactions WHERE app_id = $1 AND (updated_at < $3
    OR id IN (SELECT COALESCE(interaction_id, id) FROM calls WHERE app_id = $1 AND dialpad_call_id = $2))";
const DELETE_CALLS: &str =
    "DELETE FROM calls WHERE app_id = $1 AND (updated_at < $3 OR dialpad_call_id = $2)";
/// The webhook of this run (`$2`), and those of runs that are over.
const DELETE_WEBHOOKS: &str = "DELETE FROM webhook_events WHERE app_id = $1 AND (id < $3 OR id = $2)";

/// After how long a run is over, in whichever process.
const MAX_RUN: TimeDelta = TimeDelta::minutes(1);

/// What a run has stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CanaryRun {
    pub(crate) webhook: Id,
    pub(crate) call: i64,
    /// The event of the call.
    pub(crate) seq: i64,
}

impl Canary<'_> {
    /// Creates the hidden app, which this process then owns, unless it is there. Returns whether it was not.
    pub(crate) async fn prepare(self) -> Result<bool, StoreError> {
        let (id, now) = (Id::from(AppId::CANARY), self.store.now());
        let (creator, fence) = (self.store.incarnation(), leases::FIRST_FENCE.0);
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            let inserted = sqlx::query(INSERT_APP).bind(id).bind(false).bind(now).execute(&mut *db).await?;
            let is_new = inserted.rows_affected() > 0;
            if is_new {
                sqlx::query(HIDE).bind(id).bind(now).execute(&mut *db).await?;
                sqlx::query(apps::INSERT_FEED).bind(id).bind(fence).execute(&mut *db).await?;
                sqlx::query(leases::INSERT).bind(id).bind(creator).bind(fence).execute(&mut *db).await?;
            }
            transaction.commit().await?;
            Ok(is_new)
        })
    }

    /// Removes what a run has stored, and what earlier ones have left.
    pub(crate) async fn clear(self, run: CanaryRun) -> Result<(), StoreError> {
        let (id, now) = (Id::from(AppId::CANARY), self.store.now());
        let (over, next) = (now - MAX_RUN, run.seq + 1);
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            sqlx::query(RAISE).bind(id).bind(next).bind(now).execute(&mut *db).await?;
            sqlx::query(DELETE_EVENTS).bind(id).bind(next).execute(&mut *db).await?;
            sqlx::query(DELETE_INTERACTIONS).bind(id).bind(run.call).bind(over).execute(&mut *db).await?;
            sqlx::query(DELETE_CALLS).bind(id).bind(run.call).bind(over).execute(&mut *db).await?;
            sqlx::query(DELETE_WEBHOOKS).bind(id).bind(run.webhook).bind(first_id_at(over))
                .execute(&mut *db).await?;
            transaction.commit().await
        })
    }
}
