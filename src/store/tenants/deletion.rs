//! The deletion of an app with everything it has.
//!
//! [`Apps::begin_deletion`] is one transaction, after which the app no longer exists for clients. Its rows are deleted
//! in pages then ([`Apps::delete_rows`]), so that nothing waits behind them, and its own row last. Only its id is kept:
//! a request for it is answered that it is gone, and a deletion that a crash interrupted is continued.

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId};

use crate::store::{Apps, db::types::Id, on_db};

/// Does nothing where the deletion began before.
const BEGIN: &str = "INSERT INTO deleted_apps (app_id, deleted_at) SELECT id, $2 FROM apps WHERE id = $1
    ON CONFLICT DO NOTHING";
const DEACTIVATE: &str = "UPDATE apps SET is_active = $2 WHERE id = $1";
const DELETE_KEYS: &str = "DELETE FROM api_keys WHERE app_id = $1";
const DELETE_OAUTH_SESSIONS: &str = "DELETE FROM oauth_sessions WHERE app_id = $1";
const FIND: &str = "SELECT deleted_at FROM deleted_apps WHERE app_id = $1";
const UNFINISHED: &str = "SELECT app_id FROM deleted_apps WHERE purged_at IS NULL ORDER BY deleted_at";
const DELETE_APP: &str = "DELETE FROM apps WHERE id = $1";
const FINISH: &str = "UPDATE deleted_apps SET purged_at = $2 WHERE app_id = $1 AND deleted_at < $3";
/// One page of each busy table. The other tables' rows are deleted with the app's own.
const PAGES: [&str; 6] = [
    "DELETE FROM webhook_events WHERE id IN (SELECT id FROM webhook_events WHERE app_id = $1 LIMIT $2)",
    "DELETE FROM events WHERE app_id = $1
        AND seq IN (SELECT seq FROM events WHERE app_id = $1 ORDER BY seq LIMIT $2)",
    "DELETE FROM calls WHERE app_id = $1 AND id IN (SELECT id FROM calls WHERE app_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM interactions WHERE app_id = $1
     AND id IN (SELECT id FROM interactions WHERE app_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM voicemails WHERE id IN (SELECT id FROM voicemails WHERE app_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE app_id = $1 ORDER BY id LIMIT $2)",
];
const DELETE_ANSWERS: &str = "DELETE FROM idempotency_keys WHERE scope = $1";

/// How many rows are deleted in one transaction.
const PAGE: i64 = 500;
/// How long a request that looked the app up before its deletion may still write something for it.
const LATE_WRITES: chrono::TimeDelta = chrono::TimeDelta::seconds(60);

/// The outcome of beginning a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionBegun {
    /// The app existed until now.
    Now,
    /// The app was deleted before.
    Before,
    /// There has never been such an app.
    NoSuchApp,
}

impl Apps<'_> {
    /// Deletes an app for everybody who asks from now on. Its connection stays until it is revoked at Dialpad.
    pub async fn begin_deletion(self, app: AppId) -> Result<DeletionBegun, StoreError> {
        let id = Id::from(app);
        let now = self.store.now();
        let begun = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            let new = sqlx::query(BEGIN).bind(id).bind(now).execute(&mut *db).await?.rows_affected() > 0;
            if new {
                sqlx::query(DEACTIVATE).bind(id).bind(false).execute(&mut *db).await?;
                sqlx::query(DELETE_KEYS).bind(id).execute(&mut *db).await?;
                sqlx::query(DELETE_OAUTH_SESSIONS).bind(id).execute(&mut *db).await?;
            }
            let known: Option<(DateTime<Utc>,)> = sqlx::query_as(FIND).bind(id).fetch_optional(&mut *db).await?;
            transaction.commit().await?;
            Ok(match known {
                Some(_) if new => DeletionBegun::Now,
                Some(_) => DeletionBegun::Before,
                None => DeletionBegun::NoSuchApp,
            })
        });
        self.store.forget_access();
        self.store.routes().changed(app).await;
        begun
    }

    /// Deletes everything that a deleted app has, page by page, then the app. When it fails, calling it again
    /// continues.
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
            sqlx::query(FINISH).bind(id).bind(now).bind(now - LATE_WRITES).execute(db).await.map(|_| ())
        })
    }

    /// Returns the apps whose deletion is not finished.
    pub async fn unfinished_deletions(self) -> Result<Vec<AppId>, StoreError> {
        let rows: Vec<(Id,)> = on_db!(self.store, read db => sqlx::query_as(UNFINISHED).fetch_all(db).await)?;
        Ok(rows.into_iter().map(|(id,)| id.into()).collect())
    }
}
