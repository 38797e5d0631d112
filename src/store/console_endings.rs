//! What ended before its time of what the console has signed: it is valid at every process, so its end must be known to
//! every process too.

use chrono::{DateTime, Utc};
use cti_actors::error::StoreError;
use uuid::Uuid;

use super::{ConsoleEndings, db::types::Id, on_db};

const INSERT: &str =
    "INSERT INTO console_endings (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
const FIND: &str = "SELECT COUNT(*) FROM console_endings WHERE id = $1";
const DELETE_OLD: &str = "DELETE FROM console_endings WHERE expires_at < $1";

impl ConsoleEndings<'_> {
    /// Ends what has this id. It must be remembered until it would have ended anyway. Returns whether it had not ended
    /// before: of two requests, one ends it.
    pub async fn end(self, id: Uuid, expires_at: DateTime<Utc>) -> Result<bool, StoreError> {
        on_db!(self.store, write db => {
            sqlx::query(INSERT).bind(Id(id)).bind(expires_at).execute(db).await.map(|done| done.rows_affected() > 0)
        })
    }

    /// Returns whether what has this id was ended.
    pub async fn includes(self, id: Uuid) -> Result<bool, StoreError> {
        let found: i64 =
            on_db!(self.store, read db => sqlx::query_scalar(FIND).bind(Id(id)).fetch_one(db).await)?;
        Ok(found > 0)
    }

    /// Deletes what would have ended by now anyway. Returns how much there was.
    pub async fn prune(self) -> Result<u64, StoreError> {
        let now = self.store.now();
        on_db!(self.store, write db => {
            sqlx::query(DELETE_OLD).bind(now).execute(db).await.map(|done| done.rows_affected())
        })
    }
}
