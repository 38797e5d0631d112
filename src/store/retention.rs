//! What is old is removed: events that no cursor may reach back to, and webhooks that are dealt with. A page at a
//! time, so that nobody waits behind it.

use chrono::{DateTime, Utc};
use cti_actors::error::StoreError;

use super::{
    Retention,
    db::types::{Id, first_id_at},
    on_db,
};

/// How many rows go in one transaction.
const PAGE: i64 = 1000;

const FEEDS: &str = "SELECT app_id FROM event_feeds WHERE last_seq >= oldest_seq";
/// The newest event that is too old, among the oldest ones.
const LAST_OLD: &str = "SELECT MAX(seq) FROM (
    SELECT seq, told_at FROM events WHERE app_id = $1 ORDER BY seq LIMIT $3) AS page WHERE told_at < $2";
/// First the bound, then the rows: a reader never finds a hole that the bound does not announce.
const RAISE: &str = "UPDATE event_feeds SET oldest_seq = $2 WHERE app_id = $1 AND oldest_seq < $2";
const DELETE_EVENTS: &str = "DELETE FROM events WHERE app_id = $1 AND seq < $2";
/// Ids begin with the time, so the old ones are at the beginning of the primary key.
const DELETE_WEBHOOKS: &str = "DELETE FROM webhook_events WHERE id IN (
    SELECT id FROM webhook_events WHERE id < $1 AND status IN ('processed', 'failed') ORDER BY id LIMIT $2)";

const DELETE_UNCLAIMED: &str = "DELETE FROM webhook_events WHERE id IN (
    SELECT id FROM webhook_events WHERE id < $1 AND status = 'unrouted' ORDER BY id LIMIT $2)";

/// How much was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Events of all feeds.
    pub events: u64,
    /// Webhooks.
    pub webhooks: u64,
}

impl Retention<'_> {
    /// Removes the events that were told before the first instant, and the webhooks that are dealt with and came
    /// before the second.
    ///
    /// # Errors
    /// The database could not be asked; what is left goes the next time.
    pub async fn prune(
        self,
        events_before: DateTime<Utc>,
        webhooks_before: DateTime<Utc>,
    ) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        let feeds: Vec<(Id,)> = on_db!(self.store, read db => sqlx::query_as(FEEDS).fetch_all(db).await)?;
        for (app,) in feeds {
            loop {
                let (last,): (Option<i64>,) = on_db!(self.store, read db => {
                    sqlx::query_as(LAST_OLD).bind(app).bind(events_before).bind(PAGE).fetch_one(db).await
                })?;
                let Some(last) = last else { break };
                removed.events += on_db!(self.store, write db => {
                    let mut transaction = db.begin().await?;
                    sqlx::query(RAISE).bind(app).bind(last + 1).execute(&mut *transaction).await?;
                    let deleted = sqlx::query(DELETE_EVENTS).bind(app).bind(last + 1).execute(&mut *transaction).await?;
                    transaction.commit().await?;
                    Ok(deleted.rows_affected())
                })?;
            }
        }
        removed.webhooks = self.delete_webhooks(DELETE_WEBHOOKS, webhooks_before).await?;
        Ok(removed)
    }

    /// Removes the webhooks that came before this instant and that nobody turned up for. Says how many there were.
    ///
    /// # Errors
    /// The database could not be asked; what is left goes the next time.
    pub async fn prune_unrouted(self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        self.delete_webhooks(DELETE_UNCLAIMED, before).await
    }

    async fn delete_webhooks(
        self,
        statement: &'static str,
        before: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let (first_kept, mut removed) = (first_id_at(before), 0);
        loop {
            let deleted = on_db!(self.store, write db => {
                let deleted = sqlx::query(statement).bind(first_kept).bind(PAGE).execute(db).await;
                deleted.map(|done| done.rows_affected())
            })?;
            removed += deleted;
            if deleted == 0 {
                return Ok(removed);
            }
        }
    }
}
