//! Apps: the tenants. How one is deleted, with everything it has, is in [`super::deletion`].

use chrono::{DateTime, Utc};
use cti_actors::{clock::new_uuid, error::StoreError, id::AppId, model::number::Region};
use uuid::Uuid;

use super::api_keys::{self, NewKey};
use crate::{
    store::{
        Apps,
        cluster::leases,
        db::types::Id,
        on_db,
        views::listing::{Cursor, Page},
    },
    webhook::routing::UnroutedReason,
};

const INSERT: &str = "INSERT INTO apps (id, name, is_active, created_at, updated_at, e164_region)
    VALUES ($1, $2, $3, $4, $4, 'US')";
pub(in crate::store) const INSERT_FEED: &str = "INSERT INTO event_feeds (app_id, fence) VALUES ($1, $2)";
const GET: &str = "SELECT id, name, is_active, region, created_at, updated_at FROM apps
    WHERE id = $1 AND id NOT IN (SELECT app_id FROM deleted_apps)";
/// `$1`: the last app of the page before, or the largest id.
const LIST: &str = "SELECT id, name, is_active, region, created_at, updated_at FROM apps
    WHERE id < $1 AND id NOT IN (SELECT app_id FROM deleted_apps) ORDER BY id DESC LIMIT $2";
/// The active apps that Dialpad may send nothing to: not connected any more (an app that never was is not among them), or
/// with a webhook that the last check could not confirm.
const CUT_OFF: &str = "SELECT id, name, is_active, region, created_at, updated_at FROM apps
    WHERE is_active AND id NOT IN (SELECT app_id FROM deleted_apps) AND (
        id IN (SELECT app_id FROM dialpad_connections
            WHERE status <> 'connected' OR degraded_since IS NOT NULL OR environment <> $1)
        OR id IN (SELECT app_id FROM dialpad_webhooks
            WHERE removed_at IS NULL AND checked_at IS NOT NULL
                AND (verified_at IS NULL OR verified_at < checked_at)))
    ORDER BY id DESC LIMIT $2";
const RENAME: &str = "UPDATE apps SET name = $2, updated_at = $3
    WHERE id = $1 AND id NOT IN (SELECT app_id FROM deleted_apps)";
const SET_ACTIVE: &str = "UPDATE apps SET is_active = $2, updated_at = $3
    WHERE id = $1 AND id NOT IN (SELECT app_id FROM deleted_apps)";
/// A page of the webhooks that wait for activation, in the order of the journal, after `$2`.
const RELEASE: &str = "UPDATE webhook_events SET status = 'pending', reason = NULL WHERE id IN (
    SELECT id FROM webhook_events
    WHERE app_id = $1 AND status = 'unrouted' AND reason = $4 AND id > $2 ORDER BY id LIMIT $3)
    RETURNING id";
const ACTIVE_WITH_UNROUTED: &str =
    "SELECT id FROM apps WHERE is_active AND EXISTS (SELECT 1 FROM webhook_events
    WHERE app_id = apps.id AND status = 'unrouted' AND reason = $1)";
/// A feed has no holes, so its ends say how many events it has.
const COUNTS: &str = "SELECT
    (SELECT COUNT(*) FROM calls WHERE app_id = $1) AS calls,
    (SELECT COUNT(*) FROM calls WHERE app_id = $1 AND ended_updated_at IS NULL) AS active_calls,
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
    /// The id.
    #[sqlx(try_from = "Id")]
    pub id: AppId,
    /// The name, for people.
    pub name: String,
    /// Whether its keys are accepted and its webhooks processed.
    pub is_active: bool,
    /// How its numbers are read that have no country code.
    #[sqlx(try_from = "String")]
    pub region: Region,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// How much an app has.
#[derive(Clone, Debug, serde::Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct AppCounts {
    /// Calls.
    pub calls: i64,
    /// Calls that have not ended.
    pub active_calls: i64,
    /// Voicemails.
    pub voicemails: i64,
    /// Text messages.
    pub messages: i64,
    /// Events that are kept.
    pub events: Option<i64>,
    /// Webhooks that wait to be processed.
    pub pending_webhooks: i64,
    /// Webhooks that are kept without being processed.
    pub unrouted_webhooks: i64,
    /// Mapped Dialpad users.
    pub user_mappings: i64,
    /// Valid API keys.
    pub api_keys: i64,
}

impl Apps<'_> {
    /// Creates an app with its first key.
    pub async fn create(self, name: &str, key: &NewKey) -> Result<App, StoreError> {
        self.create_with_id(AppId::generate(), name, key).await
    }

    /// Creates an app under an id that the caller knows before: it can look the app up if the outcome is unknown.
    pub async fn create_with_id(self, id: AppId, name: &str, key: &NewKey) -> Result<App, StoreError> {
        let now = self.store.now();
        let app_id = Id::from(id);
        let key_id = Id::from(key.id);
        let audit_id = Id(new_uuid());
        let (creator, fence) = (self.store.incarnation(), leases::FIRST_FENCE);
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            sqlx::query(INSERT).bind(app_id).bind(name).bind(true).bind(now).execute(&mut *db).await?;
            sqlx::query(INSERT_FEED).bind(app_id).bind(fence.0).execute(&mut *db).await?;
            sqlx::query(leases::INSERT).bind(app_id).bind(creator).bind(fence.0).execute(&mut *db).await?;
            sqlx::query(api_keys::INSERT).bind(key_id).bind(app_id).bind(key.hash()).bind(key.hint()).bind(now)
                .execute(&mut *db).await?;
            sqlx::query(api_keys::AUDIT).bind(audit_id).bind(app_id).bind("created").bind(None::<String>)
                .bind(key.hint()).bind(now).execute(&mut *db).await?;
            transaction.commit().await
        })?;
        // With a static key, a new app belongs to its organization at once.
        self.store.shared.routes.clear();
        self.store.routes().changed(id).await;
        Ok(App {
            id,
            name: name.to_owned(),
            is_active: true,
            region: Region::default(),
            created_at: now,
            updated_at: now,
        })
    }

    /// Returns an app.
    pub async fn find(self, id: AppId) -> Result<Option<App>, StoreError> {
        on_db!(self.store, read db => sqlx::query_as(GET).bind(Id::from(id)).fetch_optional(db).await)
    }

    /// Returns a page of all apps, newest first.
    pub async fn list(self, cursor: Option<Cursor>, limit: usize) -> Result<Page<App>, StoreError> {
        let before = Id(cursor.map_or(Uuid::max(), |cursor| cursor.id));
        let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let apps: Vec<App> = on_db!(self.store, read db => {
            sqlx::query_as(LIST).bind(before).bind(one_more).fetch_all(db).await
        })?;
        Ok(Page::of(apps, limit, |app| Cursor { at: app.created_at, id: app.id.0 }))
    }

    /// Returns the active apps whose connection or webhook has a problem, newest first, at most `limit`.
    pub async fn cut_off(self, environment: &str, limit: usize) -> Result<Vec<App>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        on_db!(self.store, read db => {
            sqlx::query_as(CUT_OFF).bind(environment).bind(limit).fetch_all(db).await
        })
    }

    /// Counts what an app has.
    pub async fn counts(self, app: AppId) -> Result<AppCounts, StoreError> {
        let now = self.store.now();
        on_db!(self.store, read db => sqlx::query_as(COUNTS).bind(Id::from(app)).bind(now).fetch_one(db).await)
    }

    /// Renames an app. Returns whether there is such an app.
    pub async fn rename(self, app: AppId, name: &str) -> Result<bool, StoreError> {
        let now = self.store.now();
        on_db!(self.store, write db => {
            let renamed = sqlx::query(RENAME).bind(Id::from(app)).bind(name).bind(now).execute(db).await;
            renamed.map(|done| done.rows_affected() > 0)
        })
    }

    /// Deactivates an app: its keys are refused and its webhooks wait. Returns whether there is such an app.
    pub async fn deactivate(self, app: AppId) -> Result<bool, StoreError> {
        let now = self.store.now();
        let changed = on_db!(self.store, write db => {
            let changed = sqlx::query(SET_ACTIVE).bind(Id::from(app)).bind(false).bind(now).execute(db).await;
            changed.map(|done| done.rows_affected() > 0)
        });
        self.store.forget_access();
        changed
    }

    /// Activates an app. Its waiting webhooks become pending first, so that nothing newer is processed before them.
    /// When it fails, the app may still be inactive; calling it again continues. Returns whether there is such an app.
    pub async fn activate(self, app: AppId) -> Result<bool, StoreError> {
        while self.release_page(app, Uuid::nil()).await?.is_some() {}
        let id = Id::from(app);
        let now = self.store.now();
        let reason: &str = UnroutedReason::AppInactive.into();
        let changed = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let changed =
                sqlx::query(SET_ACTIVE).bind(id).bind(true).bind(now).execute(&mut *transaction).await?.rows_affected();
            sqlx::query(RELEASE).bind(id).bind(Id(Uuid::nil())).bind(i64::MAX).bind(reason)
                .execute(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(changed > 0)
        });
        self.store.forget_access();
        changed
    }

    /// Makes the waiting webhooks of an active app pending: a request that looked the app up just before its activation
    /// may leave one. Returns whether there were any.
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

    /// Releases a page of the webhooks after this one. Returns the last one, or `None` when there are no more.
    async fn release_page(self, app: AppId, after: Uuid) -> Result<Option<Uuid>, StoreError> {
        let reason: &str = UnroutedReason::AppInactive.into();
        let released: Vec<(Id,)> = on_db!(self.store, write db => {
            sqlx::query_as(RELEASE).bind(Id::from(app)).bind(Id(after)).bind(PAGE).bind(reason).fetch_all(db).await
        })?;
        Ok(released.into_iter().map(|(id,)| id.0).max())
    }

    /// Finds the active apps that have webhooks waiting for activation all the same.
    pub async fn active_with_unrouted(self) -> Result<Vec<AppId>, StoreError> {
        let reason: &str = UnroutedReason::AppInactive.into();
        let rows: Vec<(Id,)> = on_db!(self.store, read db => {
            sqlx::query_as(ACTIVE_WITH_UNROUTED).bind(reason).fetch_all(db).await
        })?;
        Ok(rows.into_iter().map(|(id,)| id.into()).collect())
    }
}
