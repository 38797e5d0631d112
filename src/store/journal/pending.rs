//! Pending webhooks, as the engine reads them: directly when they become durable, else from the journal.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    error::StoreError,
    id::AppId,
    ports::{Journal, PendingEvent},
};
use tokio::sync::mpsc;

use super::append::JournalRow;
use crate::{
    store::{
        JournalStore, Store,
        db::{
            bulk::{Column, Rows},
            types::{Id, first_id_at},
        },
        lookups::Lookup,
        on_db,
    },
    webhook::{payload, routing::Disposition},
};

const PENDING: &str = "SELECT id, attempts, payload, received_at FROM webhook_events
    WHERE app_id = $1 AND status = 'pending' ORDER BY id LIMIT $2";
/// Which apps have any.
const PENDING_OF_HEAD: &str = "WITH named (app_id) AS (";
const PENDING_OF_TAIL: &str = ") SELECT named.app_id FROM named WHERE EXISTS (SELECT 1 FROM webhook_events
    WHERE webhook_events.app_id = named.app_id AND webhook_events.status = 'pending')";
/// With those that came in the future (`$2`): they were stored while the clock was ahead.
const BACKLOG: &str = "SELECT DISTINCT app_id FROM webhook_events
    WHERE status = 'pending' AND (received_at < $1 OR received_at > $2) AND app_id IS NOT NULL";
const PENDING_APPS: &str = "SELECT DISTINCT app_id FROM webhook_events WHERE status = 'pending'
    AND app_id IS NOT NULL";
const PENDING_COUNT: &str = "SELECT COUNT(*) FROM webhook_events WHERE status = 'pending'";
/// Findings are the server's own.
const NEWEST_WEBHOOK: &str = "SELECT received_at FROM webhook_events
    WHERE app_id = $1 AND id >= $2 AND received_at > $3 AND event_type NOT LIKE 'finding.%' ORDER BY id DESC LIMIT 1";
/// How far the clocks of processes may differ.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// Webhooks of one app that have just become durable, in the order of the journal.
#[derive(Debug)]
pub struct DurableBatch {
    /// The app.
    pub app: AppId,
    /// The webhooks.
    pub events: Vec<PendingEvent>,
}

/// The receiving end of everything pending that becomes durable from now on. Dropping it loses nothing: the journal
/// has it all. The channel has no bound, because its receiver only passes batches on; what the engine keeps is bounded
/// there.
pub type DurableWebhooks = mpsc::UnboundedReceiver<DurableBatch>;

/// The sending end.
#[derive(Clone)]
pub(crate) struct DurableSender(mpsc::UnboundedSender<DurableBatch>);

impl DurableSender {
    pub(crate) fn channel() -> (Self, DurableWebhooks) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Sends what is pending among these rows.
    pub(crate) fn send(&self, durable: Vec<JournalRow>) {
        let mut by_app: HashMap<AppId, Vec<PendingEvent>> = HashMap::new();
        for JournalRow { id, webhook } in durable {
            if let (Some(app), Disposition::Pending(inbound)) = (webhook.app_id, webhook.disposition) {
                let event = PendingEvent { id, attempts: 0, content: Ok(*inbound), incoming: None };
                by_app.entry(app).or_default().push(event);
            }
        }
        for (app, events) in by_app {
            // Without a receiver there is no engine yet, or none any more; the next one reads the journal.
            let _ = self.0.send(DurableBatch { app, events });
        }
    }
}

impl JournalStore<'_> {
    /// Returns the apps with webhooks that wait to be processed.
    pub async fn pending_apps(self) -> Result<Vec<AppId>, StoreError> {
        let apps: Vec<(Id,)> =
            on_db!(self.store, read db => sqlx::query_as(PENDING_APPS).fetch_all(db).await)?;
        Ok(apps.into_iter().map(|(app,)| app.into()).collect())
    }

    /// Returns when the newest webhook of an app came, if that was after this instant.
    pub(crate) async fn newest_webhook(
        self,
        app: AppId,
        after: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (app, first) = (Id::from(app), first_id_at(after));
        on_db!(self.store, read db => {
            sqlx::query_scalar(NEWEST_WEBHOOK).bind(app).bind(first).bind(after).fetch_optional(db).await
        })
    }

    /// Counts the webhooks that wait to be processed.
    pub async fn pending_count(self) -> Result<i64, StoreError> {
        on_db!(self.store, read db => sqlx::query_scalar(PENDING_COUNT).fetch_one(db).await)
    }
}

#[derive(sqlx::FromRow)]
struct PendingRow {
    id: Id,
    attempts: i32,
    payload: Vec<u8>,
    received_at: DateTime<Utc>,
}

static LOOKUP: Lookup<AppId, ()> = Lookup {
    lookups: |shared| &shared.apps_with_pending,
    read: |store, apps| {
        Box::pin(async move {
            let apps = Column::Id(apps.into_iter().map(Id::from).collect());
            let found: Vec<(Id,)> =
                store.fetch_listed(PENDING_OF_HEAD, PENDING_OF_TAIL, Rows::of(vec![apps])).await?;
            Ok(found.into_iter().map(|(app,)| (app.into(), ())).collect())
        })
    },
};

#[async_trait]
impl Journal for Store {
    async fn pending(&self, app: AppId, limit: usize) -> Result<Vec<PendingEvent>, StoreError> {
        // Most apps have none. After a start, that is asked for many apps at once.
        if self.look_up(&LOOKUP, vec![app]).await?.is_empty() {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<PendingRow> = on_db!(self, read db => {
            sqlx::query_as(PENDING).bind(Id::from(app)).bind(limit).fetch_all(db).await
        })?;
        let events = rows.into_iter().map(|row| PendingEvent {
            id: row.id.into(),
            attempts: u16::try_from(row.attempts).unwrap_or(u16::MAX),
            content: payload::read(&row.payload, row.received_at).content,
            incoming: None,
        });
        Ok(events.collect())
    }

    async fn backlog(&self, since: DateTime<Utc>) -> Result<Vec<AppId>, StoreError> {
        let in_future = self.now() + CLOCK_TOLERANCE;
        let rows: Vec<(Id,)> = on_db!(self, read db => {
            sqlx::query_as(BACKLOG).bind(since).bind(in_future).fetch_all(db).await
        })?;
        Ok(rows.into_iter().map(|(id,)| id.into()).collect())
    }
}
