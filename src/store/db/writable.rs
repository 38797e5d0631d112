//! Whether the database can be written now.

use std::time::{Duration, Instant};

use cti_actors::error::StoreError;
use tokio::sync::Mutex;

use crate::store::{Store, on_db};

/// How long an answer is good for.
const MAX_AGE: Duration = Duration::from_secs(1);

const WRITE: &str = "INSERT INTO server_state (name, at) VALUES ('writable', $1)
    ON CONFLICT (name) DO UPDATE SET at = EXCLUDED.at";

/// The last answer, and when it was found out.
#[derive(Default)]
pub(crate) struct Writable(Mutex<Option<(Instant, Result<(), StoreError>)>>);

impl Store {
    /// Writes a row, at most once a second; meanwhile the last answer is returned. Unlike [`Store::ping`] it fails
    /// while the disk is full, the database is read-only or locked, or its file is gone.
    ///
    /// # Errors
    /// Why a webhook could not be kept now.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        self.check_written(|at| at.elapsed() < MAX_AGE).await
    }

    /// Does the same, but only an answer counts that was found out after this instant.
    ///
    /// # Errors
    /// Why a webhook could not be kept now.
    pub async fn check_writable_since(&self, since: Instant) -> Result<(), StoreError> {
        self.check_written(|at| at >= since).await
    }

    async fn check_written(&self, is_recent: impl Fn(Instant) -> bool) -> Result<(), StoreError> {
        let mut last = self.shared.database.writable.0.lock().await;
        if let Some((at, answer)) = &*last
            && is_recent(*at)
        {
            return answer.clone();
        }
        let now = self.now();
        let answer = on_db!(self, write db => sqlx::query(WRITE).bind(now).execute(db).await.map(|_| ()));
        if answer.is_ok() && matches!(&*last, Some((_, Err(_)))) {
            // Those that were opened while the server was read-only stay so, and the next webhook would be refused by one.
            self.shared.database.replace_connections();
        }
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}
