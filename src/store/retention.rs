//! Retention: what is too old is deleted, one page at a time, with rests in between: see [`pace`].

mod calls;
pub(crate) mod metrics;
mod pace;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::error::StoreError;
use tokio::time::Instant;
use uuid::Uuid;

use self::metrics::Kind;
pub use self::pace::Pace;
use super::{
    Retention,
    db::types::{Id, first_id_at},
    on_db,
};

/// How far the clocks of processes may differ.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(1);
/// How much later than the last news of a human call its end may be emitted.
const MAX_SETTLE: TimeDelta = TimeDelta::hours(2);
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
pub(super) const RAISE: &str = "UPDATE event_feeds SET oldest_seq = $2, newest_expired_at = $3
    WHERE app_id = $1 AND oldest_seq < $2";
const KEEP_TIME: &str = "INSERT INTO expired_event_times (app_id, seq, published_at) SELECT $1, $2, $3
    WHERE NOT EXISTS (SELECT 1 FROM expired_event_times WHERE app_id = $1 AND published_at > $4)
    ON CONFLICT DO NOTHING";
pub(super) const DELETE_EVENTS: &str = "DELETE FROM events WHERE app_id = $1 AND seq < $2";
/// Ids begin with the time: the old ones are at the beginning of the primary key.
const OLD_WEBHOOKS: &str = "SELECT id, received_at FROM webhook_events
    WHERE id > $1 AND id < $2 AND status IN ('processed', 'failed') ORDER BY id LIMIT $3";
const DELETE_WEBHOOKS: &str = "DELETE FROM webhook_events
    WHERE id > $1 AND id <= $2 AND status IN ('processed', 'failed')";
const OLD_UNROUTED: &str = "SELECT id, received_at FROM webhook_events
    WHERE id > $1 AND id < $2 AND status = 'unrouted' ORDER BY id LIMIT $3";
const DELETE_UNROUTED: &str = "DELETE FROM webhook_events
    WHERE id > $1 AND id <= $2 AND status = 'unrouted'";
/// What is from before this instant may be missing: its absence is no damage.
const KEEP_SINCE: &str = "INSERT INTO server_state (name, at) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET at = EXCLUDED.at WHERE server_state.at < EXCLUDED.at";

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

/// How many calls and messages were deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrunedCalls {
    /// Calls, each one leg.
    pub calls: u64,
    /// Human calls.
    pub interactions: u64,
    /// Voicemails.
    pub voicemails: u64,
    /// Text messages.
    pub messages: u64,
}

impl Retention<'_> {
    /// Deletes the events that were published before the first instant, and the processed and failed webhooks that came
    /// before the second. When it fails, the next call continues.
    pub async fn prune(
        self,
        events_before: DateTime<Utc>,
        webhooks_before: DateTime<Utc>,
        pace: &Pace,
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
                    sqlx::query_as(OLD).bind(app).bind(events_before).bind(pace.rows()).fetch_one(db).await
                })?;
                let (Some(first), Some(first_at), Some(last), Some(last_at)) = old else { break };
                Kind::Events.is_behind(events_before, first_at);
                let (deleted, took) = on_db!(self.store, write db => {
                    let mut transaction = db.begin().await?;
                    let began_at = Instant::now();
                    sqlx::query(RAISE).bind(app).bind(last + 1).bind(last_at).execute(&mut *transaction).await?;
                    let deleted = sqlx::query(DELETE_EVENTS).bind(app).bind(last + 1).execute(&mut *transaction).await?;
                    sqlx::query(KEEP_TIME).bind(app).bind(first).bind(first_at).bind(first_at - TIMES_KEPT_EVERY)
                        .execute(&mut *transaction).await?;
                    transaction.commit().await?;
                    Ok((deleted.rows_affected(), began_at.elapsed()))
                })?;
                Kind::Events.deleted(deleted);
                pruned.events += deleted;
                pace.rest(self.store, took).await;
            }
        }
        Kind::Events.is_done();
        self.keep_since("webhooks_kept_since", webhooks_before).await?;
        pruned.webhooks = self
            .delete_webhooks(Kind::Webhooks, [OLD_WEBHOOKS, DELETE_WEBHOOKS], webhooks_before, pace)
            .await?;
        Ok(pruned)
    }

    /// Deletes the unrouted webhooks that came before this instant. Returns how many there were.
    pub async fn prune_unrouted(self, before: DateTime<Utc>, pace: &Pace) -> Result<u64, StoreError> {
        self.delete_webhooks(Kind::Unrouted, [OLD_UNROUTED, DELETE_UNROUTED], before, pace).await
    }

    /// Deletes the human calls that are over, with their legs and voicemails, and the messages, that had no news since
    /// this instant. When it fails, the next call continues.
    pub async fn prune_calls(self, before: DateTime<Utc>, pace: &Pace) -> Result<PrunedCalls, StoreError> {
        // First the instant, then the rows: it says of which events the rows may be missing.
        self.keep_since("calls_kept_since", before + MAX_SETTLE).await?;
        calls::prune(self.store, before, pace).await
    }

    /// Records that all that was too old was deleted.
    pub(crate) fn completed(self) {
        metrics::completed(self.store.now());
    }

    async fn keep_since(self, name: &'static str, at: DateTime<Utc>) -> Result<(), StoreError> {
        on_db!(self.store, write db => sqlx::query(KEEP_SINCE).bind(name).bind(at).execute(db).await.map(|_| ()))
    }

    async fn delete_webhooks(
        self,
        kind: Kind,
        [old, delete]: [&'static str; 2],
        before: DateTime<Utc>,
        pace: &Pace,
    ) -> Result<u64, StoreError> {
        let first_kept = first_id_at(before);
        let mut pruned = 0;
        let mut last = Id(Uuid::nil());
        loop {
            let page: Vec<(Id, DateTime<Utc>)> = on_db!(self.store, read db => {
                sqlx::query_as(old).bind(last).bind(first_kept).bind(pace.rows()).fetch_all(db).await
            })?;
            let (Some((_, oldest)), Some((end, _))) = (page.first(), page.last()) else {
                kind.is_done();
                return Ok(pruned);
            };
            kind.is_behind(before, *oldest);
            let (deleted, took) = on_db!(self.store, write db => {
                let mut transaction = db.begin().await?;
                let began_at = Instant::now();
                let deleted = sqlx::query(delete).bind(last).bind(*end).execute(&mut *transaction).await?;
                transaction.commit().await?;
                Ok((deleted.rows_affected(), began_at.elapsed()))
            })?;
            kind.deleted(deleted);
            pruned += deleted;
            last = *end;
            pace.rest(self.store, took).await;
        }
    }
}
