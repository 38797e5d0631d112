//! Fills the scratch database.

use chrono::{DateTime, Utc};
use cti_actors::error::StoreError;
use sqlx::FromRow;
use uuid::Uuid;

use super::Complete;
use crate::store::{
    Store,
    db::{pool::store_error, types::Id},
    on_db,
    verify::{
        AppRow,
        snapshot::{Argument, Snapshot},
    },
};

const KEPT_SINCE: &str = "SELECT MAX(at) FROM server_state
    WHERE name IN ('calls_kept_since', 'webhooks_kept_since')";
const FIRST_WEBHOOK: &str = "SELECT received_at FROM webhook_events WHERE status = 'processed'
    ORDER BY id LIMIT 1";
const APPS: &str = "SELECT id, region, COALESCE(e164_region, '') AS e164_region FROM apps ORDER BY id";
const INSERT_APP: &str = "INSERT INTO apps (id, name, is_active, region, e164_region, created_at, updated_at)
    VALUES ($1, 'scratch', TRUE, $2, $2, $3, $3)";
const INSERT_FEED: &str = "INSERT INTO event_feeds (app_id) VALUES ($1)";
const WEBHOOKS: &str = "SELECT id, app_id, organization_id, dedup_key, event_type, payload, received_at
    FROM webhook_events WHERE status = 'processed' AND app_id IS NOT NULL
    AND app_id IN (SELECT id FROM apps) AND id > $1 ORDER BY id LIMIT $2";
const INSERT_WEBHOOK: &str = "INSERT INTO webhook_events
    (id, app_id, organization_id, dedup_key, event_type, payload, status, received_at)
    VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7) ON CONFLICT DO NOTHING";
const FAILED: &str =
    "SELECT id, COALESCE(reason, '') FROM webhook_events WHERE status = 'failed' ORDER BY id";

/// A payload has up to 256 KiB.
const PAGE: i64 = 200;

#[derive(FromRow)]
struct WebhookRow {
    id: Id,
    app_id: Id,
    organization_id: Option<i64>,
    dedup_key: Vec<u8>,
    event_type: String,
    payload: Vec<u8>,
    received_at: DateTime<Utc>,
}

/// Returns from when on the journal has every webhook.
pub(super) async fn complete<S: Snapshot>(snapshot: &mut S) -> Result<Complete, sqlx::Error> {
    let kept: Option<(Option<DateTime<Utc>>,)> = snapshot.rows(KEPT_SINCE, &[]).await?.pop();
    let first: Option<(DateTime<Utc>,)> = snapshot.rows(FIRST_WEBHOOK, &[]).await?.pop();
    Ok(Complete {
        since: kept.and_then(|(at,)| at).unwrap_or(DateTime::<Utc>::MIN_UTC),
        first: first.map_or(DateTime::<Utc>::MAX_UTC, |(at,)| at),
    })
}

/// Copies the apps and returns them.
pub(super) async fn apps<S: Snapshot>(snapshot: &mut S, scratch: &Store) -> Result<Vec<AppRow>, StoreError> {
    let apps: Vec<AppRow> = snapshot.rows(APPS, &[]).await.map_err(store_error)?;
    let now = scratch.now();
    for app in &apps {
        on_db!(scratch, write db => {
            let mut transaction = db.begin().await?;
            let insert = sqlx::query(INSERT_APP).bind(app.id).bind(&app.region).bind(now);
            insert.execute(&mut *transaction).await?;
            sqlx::query(INSERT_FEED).bind(app.id).execute(&mut *transaction).await?;
            transaction.commit().await
        })?;
    }
    Ok(apps)
}

/// Copies the processed webhooks that have a payload, to be processed again.
pub(super) async fn webhooks<S: Snapshot>(
    snapshot: &mut S,
    scratch: &Store,
    complete: Complete,
) -> Result<(), StoreError> {
    let mut last = Id(Uuid::nil());
    loop {
        let page = [Argument::Id(last), Argument::Int(PAGE)];
        let rows: Vec<WebhookRow> = snapshot.rows(WEBHOOKS, &page).await.map_err(store_error)?;
        let Some(end) = rows.last() else { return Ok(()) };
        last = end.id;
        let is_copied = |row: &&WebhookRow| !row.payload.is_empty() && row.received_at >= complete.since;
        on_db!(scratch, write db => {
            let mut transaction = db.begin().await?;
            for row in rows.iter().filter(is_copied) {
                let WebhookRow { id, app_id, organization_id, dedup_key, event_type, payload, received_at } = row;
                let insert = sqlx::query(INSERT_WEBHOOK).bind(*id).bind(*app_id).bind(*organization_id);
                let insert = insert.bind(dedup_key).bind(event_type).bind(payload).bind(*received_at);
                insert.execute(&mut *transaction).await?;
            }
            transaction.commit().await
        })?;
    }
}

/// Returns the webhooks that could not be processed, each with the reason.
pub(super) async fn failed(scratch: &Store) -> Result<Vec<(Uuid, String)>, StoreError> {
    let rows: Vec<(Id, String)> = on_db!(scratch, read db => sqlx::query_as(FAILED).fetch_all(db).await)?;
    Ok(rows.into_iter().map(|(id, reason)| (id.0, reason)).collect())
}
