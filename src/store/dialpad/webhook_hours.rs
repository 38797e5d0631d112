//! How many webhooks each app received in each hour.

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId};

use crate::store::{WebhookHours, db::types::Id, on_db};

/// Adds up: several processes receive webhooks. An app that was deleted meanwhile has no row.
const ADD: &str = "INSERT INTO webhook_hours (app_id, hour, webhooks, last_at)
    SELECT id, $2, $3, $4 FROM apps WHERE id = $1
    ON CONFLICT (app_id, hour) DO UPDATE SET webhooks = webhook_hours.webhooks + EXCLUDED.webhooks,
    last_at = CASE WHEN EXCLUDED.last_at > webhook_hours.last_at THEN EXCLUDED.last_at ELSE webhook_hours.last_at END";
/// The last webhook came in the newest hour: two look-ups in the primary key for each app.
const RANGES: &str = "SELECT app_id, first_hour, last_at FROM (SELECT id AS app_id,
        (SELECT MIN(hour) FROM webhook_hours WHERE app_id = apps.id) AS first_hour,
        (SELECT last_at FROM webhook_hours WHERE app_id = apps.id ORDER BY hour DESC LIMIT 1) AS last_at
    FROM apps WHERE is_active AND id NOT IN (SELECT app_id FROM deleted_apps)) AS of_apps
    WHERE first_hour IS NOT NULL";
const OF_APP: &str = "SELECT hour, webhooks FROM webhook_hours WHERE app_id = $1 AND hour >= $2";
const DELETE_OLD: &str = "DELETE FROM webhook_hours WHERE hour < $1";

/// What is known of the webhooks of an active app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct WebhookRange {
    /// The app.
    #[sqlx(rename = "app_id", try_from = "Id")]
    pub app: AppId,
    /// The first hour of which anything is known.
    pub first_hour: i64,
    /// When the last webhook came.
    pub last_at: DateTime<Utc>,
}

impl WebhookHours<'_> {
    /// Adds webhooks of an app. The last of them came at this instant, which decides the hour.
    pub async fn add(self, app: AppId, webhooks: u64, last_at: DateTime<Utc>) -> Result<(), StoreError> {
        let webhooks = i64::try_from(webhooks).unwrap_or(i64::MAX);
        on_db!(self.store, write db => {
            sqlx::query(ADD).bind(Id::from(app)).bind(hour_of(last_at)).bind(webhooks).bind(last_at)
                .execute(db).await.map(|_| ())
        })
    }

    /// Returns what is known of each active app that has received any.
    pub async fn ranges(self) -> Result<Vec<WebhookRange>, StoreError> {
        on_db!(self.store, read db => sqlx::query_as(RANGES).fetch_all(db).await)
    }

    /// Returns the hours of an app in which it received any, from this one on, with how many.
    pub async fn of_app(self, app: AppId, since_hour: i64) -> Result<Vec<(i64, i64)>, StoreError> {
        on_db!(self.store, read db => {
            sqlx::query_as(OF_APP).bind(Id::from(app)).bind(since_hour).fetch_all(db).await
        })
    }

    /// Removes the hours before this one.
    pub async fn prune(self, before_hour: i64) -> Result<(), StoreError> {
        on_db!(self.store, write db => sqlx::query(DELETE_OLD).bind(before_hour).execute(db).await.map(|_| ()))
    }
}

/// Returns the hour of an instant, in hours since 1970.
#[must_use]
pub fn hour_of(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(3600)
}
