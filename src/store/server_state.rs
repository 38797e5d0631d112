//! What the server remembers about itself: when it was last running.

use chrono::{DateTime, Utc};
use cti_actors::error::StoreError;

use super::{ServerState, on_db};

const GET: &str = "SELECT at FROM server_state WHERE name = 'alive'";
const SET: &str = "INSERT INTO server_state (name, at) VALUES ('alive', $1)
    ON CONFLICT (name) DO UPDATE SET at = EXCLUDED.at";
const PROBE: &str = "INSERT INTO server_state (name, at) VALUES ('probe', $1)
    ON CONFLICT (name) DO UPDATE SET at = EXCLUDED.at";

impl ServerState<'_> {
    /// Returns when a server on this database last recorded that it was running; `None` before the first time.
    pub async fn last_alive(self) -> Result<Option<DateTime<Utc>>, StoreError> {
        on_db!(self.store, read db => sqlx::query_scalar(GET).fetch_optional(db).await)
    }

    /// Records that a server on this database is running.
    pub async fn record_alive(self, at: DateTime<Utc>) -> Result<(), StoreError> {
        on_db!(self.store, write db => sqlx::query(SET).bind(at).execute(db).await.map(|_| ()))
    }

    /// Succeeds if the database can be written.
    pub async fn probe(self) -> Result<(), StoreError> {
        let now = self.store.now();
        on_db!(self.store, write db => sqlx::query(PROBE).bind(now).execute(db).await.map(|_| ()))
    }
}
