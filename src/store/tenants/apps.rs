//! Apps: the tenants. How one goes, with everything it has, is in [`super::deletion`].

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId};
use uuid::Uuid;

use super::api_keys::{self, NewKey};
use crate::store::{
    Apps,
    db::types::Id,
    on_db,
    views::listing::{Cursor, Page},
};

const INSERT: &str =
    "INSERT INTO apps (id, name, is_active, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)";
const INSERT_FEED: &str = "INSERT INTO event_feeds (app_id) VALUES ($1)";
const GET: &str = "SELECT id, name, is_active, created_at, updated_at FROM apps
    WHERE id = $1 AND id NOT IN (SELECT app_id FROM removed_apps)";
/// `$1`: the app that the page before ended with, or the largest id.
const LIST: &str = "SELECT id, name, is_active, created_at, updated_at FROM apps
    WHERE id < $1 AND id NOT IN (SELECT app_id FROM removed_apps) ORDER BY id DESC LIMIT $2";
const RENAME: &str = "UPDATE apps SET name = $2, updated_at = $3
    WHERE id = $1 AND id NOT IN (SELECT app_id FROM removed_apps)";
const SWITCH: &str = "UPDATE apps SET is_active = $2, updated_at = $3
    WHERE id = $1 AND id NOT IN (SELECT app_id FROM removed_apps)";
/// A page of what waited, in its order, behind `$2`.
const RELEASE: &str = "UPDATE webhook_events SET status = 'pending', reason = NULL WHERE id IN (
    SELECT id FROM webhook_events
    WHERE app_id = $1 AND status = 'unrouted' AND reason = 'app_inactive' AND id > $2 ORDER BY id LIMIT $3)
    RETURNING id";
const FORGOTTEN: &str = "SELECT id FROM apps WHERE is_active AND EXISTS (SELECT 1 FROM webhook_events
    WHERE app_id = apps.id AND status = 'unrouted' AND reason = 'app_inactive')";
/// A feed has no holes, so its ends say how much is in it.
const COUNTS: &str = "SELECT
    (SELECT COUNT(*) FROM calls WHERE app_id = $1) AS calls,
    (SELECT COUNT(*) FROM calls WHERE app_id = $1 AND status <> 'ended') AS active_calls,
    (SELECT COUNT(*) FROM voicemails WHERE app_id = $1 AND deleted_at IS NULL) AS voicemails,
    (SELECT COUNT(*) FROM messages WHERE app_id = $1) AS messages,
    (SELECT last_seq - oldest_seq + 1 FROM event_feeds WHERE app_id = $1) AS events,
    (SELECT COUNT(*) FROM webhook_events WHERE app_id = $1 AND status = 'pending') AS pending_webhooks,
    (SELECT COUNT(*) FROM webhook_events WHERE app_id = $1 AND status = 'unrouted') AS unrouted_webhooks,
    (SELECT COUNT(*) FROM dialpad_user_mappings WHERE app_id = $1) AS user_mappings,
    (SELECT COUNT(*) FROM api_keys WHERE app_id = $1 AND (expires_at IS NULL OR expires_at > $2)) AS api_keys";

/// How many webhooks are released in one transaction.
const PAGE: i64 = 500;

/// A tenant.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct App {
    #[sqlx(rename = "id")]
    app_id: Id,
    /// Its name, for people.
    pub name: String,
    /// Whether it may use the server.
    pub is_active: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl App {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> AppId {
        self.app_id.into()
    }
}

/// What an app has.
#[derive(Clone, Debug, serde::Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct AppCounts {
    /// Calls.
    pub calls: i64,
    /// Those that are not over.
    pub active_calls: i64,
    /// Voicemails.
    pub voicemails: i64,
    /// Text messages.
    pub messages: i64,
    /// Events that are kept.
    pub events: Option<i64>,
    /// Webhooks that are to be processed.
    pub pending_webhooks: i64,
    /// Webhooks that wait for something.
    pub unrouted_webhooks: i64,
    /// Dialpad users whose name in the CRM is known.
    pub user_mappings: i64,
    /// Keys that are valid.
    pub api_keys: i64,
}

impl Apps<'_> {
    /// Makes an app with its first key.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn create(self, name: &str, key: &NewKey) -> Result<App, StoreError> {
        self.create_with_id(AppId::generate(), name, key).await
    }

    /// The same under an id that is known before: whoever does not hear how it ended can look.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn create_with_id(self, app: AppId, name: &str, key: &NewKey) -> Result<App, StoreError> {
        let now = self.store.now();
        let id = Id::from(app);
        let (key_id, audit_id) = (Id::from(key.id), Id(Uuid::now_v7()));
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            sqlx::query(INSERT).bind(id).bind(name).bind(true).bind(now).execute(&mut *db).await?;
            sqlx::query(INSERT_FEED).bind(id).execute(&mut *db).await?;
            sqlx::query(api_keys::INSERT).bind(key_id).bind(id).bind(key.hash()).bind(key.hint()).bind(now)
                .execute(&mut *db).await?;
            sqlx::query(api_keys::AUDIT).bind(audit_id).bind(id).bind("created").bind(None::<String>).bind(key.hint())
                .bind(now).execute(&mut *db).await?;
            transaction.commit().await
        })?;
        // With a static key, a new app belongs to its organisation at once.
        self.store.shared.routes.forget_all();
        Ok(App { app_id: id, name: name.to_owned(), is_active: true, created_at: now, updated_at: now })
    }

    /// An app.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn find(self, id: AppId) -> Result<Option<App>, StoreError> {
        on_db!(self.store, read db => sqlx::query_as(GET).bind(Id::from(id)).fetch_optional(db).await)
    }

    /// A page of all apps, the newest first.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn list(self, cursor: Option<Cursor>, limit: usize) -> Result<Page<App>, StoreError> {
        let before = Id(cursor.map_or(Uuid::max(), |cursor| cursor.id));
        let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let found: Vec<App> = on_db!(self.store, read db => {
            sqlx::query_as(LIST).bind(before).bind(one_more).fetch_all(db).await
        })?;
        Ok(Page::of(found, limit, |app| Cursor { at: app.created_at, id: app.app_id.0 }))
    }

    /// What an app has.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn counts(self, app: AppId) -> Result<AppCounts, StoreError> {
        let now = self.store.now();
        on_db!(self.store, read db => sqlx::query_as(COUNTS).bind(Id::from(app)).bind(now).fetch_one(db).await)
    }

    /// Gives an app another name. Says whether there is such an app.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn rename(self, app: AppId, name: &str) -> Result<bool, StoreError> {
        let now = self.store.now();
        on_db!(self.store, write db => {
            let renamed = sqlx::query(RENAME).bind(Id::from(app)).bind(name).bind(now).execute(db).await;
            renamed.map(|done| done.rows_affected() > 0)
        })
    }

    /// Switches an app off: from now on its keys open nothing, and its webhooks wait.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn deactivate(self, app: AppId) -> Result<bool, StoreError> {
        let now = self.store.now();
        let switched = on_db!(self.store, write db => {
            let switched = sqlx::query(SWITCH).bind(Id::from(app)).bind(false).bind(now).execute(db).await;
            switched.map(|done| done.rows_affected() > 0)
        });
        self.clear_caches();
        switched
    }

    /// Switches an app on. What waited for that becomes pending first, so that nothing newer comes before it.
    ///
    /// # Errors
    /// The database could not be asked; the app may be off still, and asking again goes on.
    pub async fn activate(self, app: AppId) -> Result<bool, StoreError> {
        while self.release_page(app, Uuid::nil()).await?.is_some() {}
        let (id, now) = (Id::from(app), self.store.now());
        let switched = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let switched =
                sqlx::query(SWITCH).bind(id).bind(true).bind(now).execute(&mut *transaction).await?.rows_affected();
            sqlx::query(RELEASE).bind(id).bind(Id(Uuid::nil())).bind(i64::MAX).execute(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(switched > 0)
        });
        self.clear_caches();
        switched
    }

    /// Makes pending what waits for an app that is switched on: whoever had looked just before may have left it so.
    /// Says whether there was anything.
    ///
    /// # Errors
    /// The database could not be asked; what is left goes the next time.
    pub async fn release_unrouted(self, app: AppId) -> Result<bool, StoreError> {
        let mut last = None;
        while self.find(app).await?.is_some_and(|app| app.is_active) {
            match self.release_page(app, last.unwrap_or_default()).await? {
                Some(id) => last = Some(id),
                None => break,
            }
        }
        Ok(last.is_some())
    }

    /// Makes a page of what waits behind this webhook pending; `None` when nothing does, else the last one.
    async fn release_page(self, app: AppId, behind: Uuid) -> Result<Option<Uuid>, StoreError> {
        let released: Vec<(Id,)> = on_db!(self.store, write db => {
            sqlx::query_as(RELEASE).bind(Id::from(app)).bind(Id(behind)).bind(PAGE).fetch_all(db).await
        })?;
        Ok(released.into_iter().map(|(id,)| id.0).max())
    }

    /// The apps that are switched on and have webhooks that wait all the same.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn active_with_unrouted(self) -> Result<Vec<AppId>, StoreError> {
        let rows: Vec<(Id,)> = on_db!(self.store, read db => sqlx::query_as(FORGOTTEN).fetch_all(db).await)?;
        Ok(rows.into_iter().map(|(id,)| id.into()).collect())
    }

    /// After this, nothing that was known of keys and apps a moment ago counts any more.
    pub(crate) fn clear_caches(self) {
        self.store.shared.keys.forget_all();
        self.store.shared.routes.forget_all();
    }
}
