//! The end of an app, with everything it has.
//!
//! [`Apps::begin_deletion`] is one transaction, after which the app is gone for everybody who asks. Its rows go in pages
//! then ([`Apps::delete_rows`]), so that nobody waits behind them, and last its own. What is written down about it is
//! its id alone: whoever asks again is told that it is gone, and whoever died on the way is taken over.

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId};

use crate::store::{Apps, db::types::Id, on_db};

/// Nothing happens where it was done before.
const NOTE: &str = "INSERT INTO removed_apps (app_id, removed_at) SELECT id, $2 FROM apps WHERE id = $1
    ON CONFLICT DO NOTHING";
const SWITCH_OFF: &str = "UPDATE apps SET is_active = $2 WHERE id = $1";
const DELETE_KEYS: &str = "DELETE FROM api_keys WHERE app_id = $1";
const DELETE_AUTHORIZATIONS: &str = "DELETE FROM oauth_sessions WHERE app_id = $1";
const NOTED: &str = "SELECT removed_at FROM removed_apps WHERE app_id = $1";
const UNFINISHED: &str = "SELECT app_id FROM removed_apps WHERE emptied_at IS NULL ORDER BY removed_at";
const DELETE_APP: &str = "DELETE FROM apps WHERE id = $1";
const FINISH: &str = "UPDATE removed_apps SET emptied_at = $2 WHERE app_id = $1 AND removed_at < $3";
/// A page of each busy table. What is not here goes with the app's own row.
const PAGES: [&str; 5] = [
    "DELETE FROM webhook_events WHERE id IN (SELECT id FROM webhook_events WHERE app_id = $1 LIMIT $2)",
    "DELETE FROM events WHERE app_id = $1
        AND seq IN (SELECT seq FROM events WHERE app_id = $1 ORDER BY seq LIMIT $2)",
    "DELETE FROM calls WHERE app_id = $1 AND id IN (SELECT id FROM calls WHERE app_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM voicemails WHERE id IN (SELECT id FROM voicemails WHERE app_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE app_id = $1 ORDER BY id LIMIT $2)",
];
const DELETE_ANSWERS: &str = "DELETE FROM idempotency_keys WHERE scope = $1";

/// How many rows go in one transaction.
const PAGE: i64 = 500;
/// For so long, whoever had looked the app up before may still write something for it.
const STRAGGLERS: chrono::TimeDelta = chrono::TimeDelta::seconds(60);

/// What there was to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalBegun {
    /// The app, until now.
    Now,
    /// Nothing: it was removed before.
    Before,
    /// Nothing: there has never been such an app.
    NoSuchApp,
}

impl Apps<'_> {
    /// Removes an app for everybody who asks from now on. Its connection stays until Dialpad has been told.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn begin_deletion(self, app: AppId) -> Result<RemovalBegun, StoreError> {
        let (id, now) = (Id::from(app), self.store.now());
        let begun = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            let noted = sqlx::query(NOTE).bind(id).bind(now).execute(&mut *db).await?.rows_affected();
            if noted > 0 {
                sqlx::query(SWITCH_OFF).bind(id).bind(false).execute(&mut *db).await?;
                sqlx::query(DELETE_KEYS).bind(id).execute(&mut *db).await?;
                sqlx::query(DELETE_AUTHORIZATIONS).bind(id).execute(&mut *db).await?;
            }
            let known: Option<(DateTime<Utc>,)> = sqlx::query_as(NOTED).bind(id).fetch_optional(&mut *db).await?;
            transaction.commit().await?;
            Ok(match known {
                Some(_) if noted > 0 => RemovalBegun::Now,
                Some(_) => RemovalBegun::Before,
                None => RemovalBegun::NoSuchApp,
            })
        });
        self.clear_caches();
        begun
    }

    /// Deletes everything that a removed app has, page by page, and then the app.
    ///
    /// # Errors
    /// The database could not be asked; what is left goes the next time.
    pub async fn delete_rows(self, app: AppId) -> Result<(), StoreError> {
        let id = Id::from(app);
        for statement in PAGES {
            loop {
                let deleted = on_db!(self.store, write db => {
                    sqlx::query(statement).bind(id).bind(PAGE).execute(db).await.map(|done| done.rows_affected())
                })?;
                if deleted == 0 {
                    break;
                }
            }
        }
        let scope = app.to_string();
        on_db!(self.store, write db => sqlx::query(DELETE_ANSWERS).bind(&scope).execute(db).await.map(|_| ()))?;
        on_db!(self.store, write db => sqlx::query(DELETE_APP).bind(id).execute(db).await.map(|_| ()))?;
        let now = self.store.now();
        on_db!(self.store, write db => {
            sqlx::query(FINISH).bind(id).bind(now).bind(now - STRAGGLERS).execute(db).await.map(|_| ())
        })
    }

    /// The apps whose removal is not finished.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn unfinished_deletions(self) -> Result<Vec<AppId>, StoreError> {
        let rows: Vec<(Id,)> = on_db!(self.store, read db => sqlx::query_as(UNFINISHED).fetch_all(db).await)?;
        Ok(rows.into_iter().map(|(id,)| id.into()).collect())
    }
}
