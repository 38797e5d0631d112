//! What the server knows of itself: when it was last alive.

use chrono::{DateTime, Utc};
use cti_actors::error::StoreError;

use super::{ServerState, on_db};

const GET: &str = "SELECT at FROM server_state WHERE name = 'alive'";
const SET: &str = "INSERT INTO server_state (name, at) VALUES ('alive', $1)
    ON CONFLICT (name) DO UPDATE SET at = EXCLUDED.at";

impl ServerState<'_> {
    /// When a server on this database last said that it was alive; none before the first time.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn last_alive(self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let row: Option<(DateTime<Utc>,)> =
            on_db!(self.store, read db => sqlx::query_as(GET).fetch_optional(db).await)?;
        Ok(row.map(|(at,)| at))
    }

    /// Says that a server on this database is alive.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn record_alive(self, at: DateTime<Utc>) -> Result<(), StoreError> {
        on_db!(self.store, write db => sqlx::query(SET).bind(at).execute(db).await.map(|_| ()))
    }
}
