//! Retention: old events and old webhooks are deleted, one page at a time, so that nothing waits long behind it.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::error::StoreError;

use super::{
    Retention,
    db::types::{Id, first_id_at},
    on_db,
};

/// How many rows are deleted in one transaction.
const PAGE: i64 = 1000;
/// How far the clocks of processes may differ.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(1);
/// How far apart the events are whose time stays known after they are deleted.
const TIMES_KEPT_EVERY: TimeDelta = TimeDelta::days(1);

/// The feeds, each with whether its newest event is ahead of the clock (`$1`): then one of them is wrong, and nothing of
/// the feed is deleted.
const FEEDS: &str = "SELECT app_id, EXISTS (SELECT 1 FROM events WHERE events.app_id = event_feeds.app_id
    AND seq = last_seq AND published_at > $1) FROM event_feeds WHERE last_seq >= oldest_seq";
/// The first and the last event of the oldest page that are too old. An event that seems old and follows one that is not
/// was published while the clock was behind: it stays.
const OLD: &str =
    "WITH page AS (SELECT seq, published_at FROM events WHERE app_id = $1 ORDER BY seq LIMIT $3)
    SELECT MIN(seq), MIN(published_at), MAX(seq), MAX(published_at) FROM page
    WHERE seq < COALESCE((SELECT MIN(seq) FROM page WHERE published_at >= $2), 9223372036854775807)";
/// First the bound, then the rows: a reader never meets a hole that the bound does not announce.
const RAISE: &str = "UPDATE event_feeds SET oldest_seq = $2, newest_expired_at = $3
    WHERE app_id = $1 AND oldest_seq < $2";
const KEEP_TIME: &str = "INSERT INTO expired_event_times (app_id, seq, published_at) SELECT $1, $2, $3
    WHERE NOT EXISTS (SELECT 1 FROM expired_event_times WHERE app_id = $1 AND published_at > $4)
    ON CONFLICT DO NOTHING";
const DELETE_EVENTS: &str = "DELETE FROM events WHERE app_id = $1 AND seq < $2";
/// Ids begin with the time: the old ones are at the beginning of the primary key.
const DELETE_WEBHOOKS: &str = "DELETE FROM webhook_events WHERE id IN (
    SELECT id FROM webhook_events WHERE id < $1 AND status IN ('processed', 'failed') ORDER BY id LIMIT $2)";
const DELETE_UNROUTED: &str = "DELETE FROM webhook_events WHERE id IN (
    SELECT id FROM webhook_events WHERE id < $1 AND status = 'unrouted' ORDER BY id LIMIT $2)";

type OldPage = (Option<i64>, Option<DateTime<Utc>>, Option<i64>, Option<DateTime<Utc>>);

/// How much was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Events of all feeds.
    pub events: u64,
    /// Webhooks.
    pub webhooks: u64,
    /// Feeds of which nothing was deleted, because their newest event is ahead of the clock.
    pub feeds_ahead: u64,
}

impl Retention<'_> {
    /// Deletes the events that were published before the first instant, and the processed and failed webhooks that came
    /// before the second. When it fails, the next call continues.
    pub async fn prune(
        self,
        events_before: DateTime<Utc>,
        webhooks_before: DateTime<Utc>,
    ) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        let ahead_of = self.store.now() + CLOCK_TOLERANCE;
        let feeds: Vec<(Id, bool)> =
            on_db!(self.store, read db => sqlx::query_as(FEEDS).bind(ahead_of).fetch_all(db).await)?;
        for (app, is_ahead) in feeds {
            if is_ahead {
                pruned.feeds_ahead += 1;
                continue;
            }
            loop {
                let old: OldPage = on_db!(self.store, read db => {
                    sqlx::query_as(OLD).bind(app).bind(events_before).bind(PAGE).fetch_one(db).await
                })?;
                let (Some(first), Some(first_at), Some(last), Some(last_at)) = old else { break };
                pruned.events += on_db!(self.store, write db => {
                    let mut transaction = db.begin().await?;
                    sqlx::query(RAISE).bind(app).bind(last + 1).bind(last_at).execute(&mut *transaction).await?;
                    let deleted = sqlx::query(DELETE_EVENTS).bind(app).bind(last + 1).execute(&mut *transaction).await?;
                    sqlx::query(KEEP_TIME).bind(app).bind(first).bind(first_at).bind(first_at - TIMES_KEPT_EVERY)
                        .execute(&mut *transaction).await?;
                    transaction.commit().await?;
                    Ok(deleted.rows_affected())
                })?;
            }
        }
        pruned.webhooks = self.delete_webhooks(DELETE_WEBHOOKS, webhooks_before).await?;
        Ok(pruned)
    }

    /// Deletes the unrouted webhooks that came before this instant. Returns how many there were.
    pub async fn prune_unrouted(self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        self.delete_webhooks(DELETE_UNROUTED, before).await
    }

    async fn delete_webhooks(
        self,
        statement: &'static str,
        before: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let first_kept = first_id_at(before);
        let mut pruned = 0;
        loop {
            let deleted = on_db!(self.store, write db => {
                let deleted = sqlx::query(statement).bind(first_kept).bind(PAGE).execute(db).await;
                deleted.map(|done| done.rows_affected())
            })?;
            pruned += deleted;
            if deleted == 0 {
                return Ok(pruned);
            }
        }
    }
}
