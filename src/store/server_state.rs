//! What the server remembers about itself: when it was last running, and how far its time has come.

use chrono::{DateTime, Utc};
use cti_actors::error::StoreError;

use super::{ServerState, on_db};

const GET: &str = "SELECT at FROM server_state WHERE name = 'alive'";
const SET: &str = "INSERT INTO server_state (name, at) VALUES ('alive', $1)
    ON CONFLICT (name) DO UPDATE SET at = EXCLUDED.at";

/// The newest event of each feed is found by its number.
const NEWEST_EVENT: &str = "SELECT MAX(published_at) FROM events
    JOIN event_feeds ON event_feeds.app_id = events.app_id AND event_feeds.last_seq = events.seq";
const NEWEST_WEBHOOK: &str = "SELECT received_at FROM webhook_events ORDER BY id DESC LIMIT 1";

impl ServerState<'_> {
    /// Returns the newest instants of all that is stored: of the heartbeat, the events and the webhooks.
    pub async fn newest_instants(self) -> Result<Vec<DateTime<Utc>>, StoreError> {
        let event: Option<DateTime<Utc>> =
            on_db!(self.store, read db => sqlx::query_scalar(NEWEST_EVENT).fetch_one(db).await)?;
        let webhook: Option<DateTime<Utc>> =
            on_db!(self.store, read db => sqlx::query_scalar(NEWEST_WEBHOOK).fetch_optional(db).await)?;
        Ok([self.last_alive().await?, event, webhook].into_iter().flatten().collect())
    }

    /// Returns when a server on this database last recorded that it was running; `None` before the first time.
    pub async fn last_alive(self) -> Result<Option<DateTime<Utc>>, StoreError> {
        on_db!(self.store, read db => sqlx::query_scalar(GET).fetch_optional(db).await)
    }

    /// Records that a server on this database is running.
    pub async fn record_alive(self, at: DateTime<Utc>) -> Result<(), StoreError> {
        on_db!(self.store, write db => sqlx::query(SET).bind(at).execute(db).await.map(|_| ()))
    }
}
