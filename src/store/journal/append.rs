//! Appending: every authentic webhook is written as it came, before it is acknowledged.

use std::{collections::HashSet, sync::Arc};

use cti_actors::{
    error::StoreError,
    id::{AppId, JournalId},
};
use sqlx::{PgConnection, SqliteConnection};

use crate::{
    store::{
        JournalStore,
        db::{
            bulk::{Column, Rows},
            types::Id,
        },
        on_db,
    },
    webhook::{
        dedup_key::DedupKey,
        new_webhook::NewWebhook,
        payload::{self, Finding},
        routing::{self, Addressee, Route},
    },
};

const APPEND_HEAD: &str = "INSERT INTO webhook_events
    (id, app_id, organization_id, dedup_key, event_type, payload, status, reason, received_at)";
const APPEND_TAIL: &str = "ON CONFLICT DO NOTHING RETURNING id";
const FIND: &str = "SELECT id FROM webhook_events WHERE app_id = $1 AND dedup_key = $2";
const FIND_UNROUTED: &str = "SELECT id FROM webhook_events WHERE app_id IS NULL AND dedup_key = $1";

/// The outcome of appending one webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is durable under this id.
    New(JournalId),
    /// The journal had it already.
    Duplicate,
}

/// A webhook with its id. The id is assigned when the transaction begins, so that ids sort by commit.
pub(crate) struct JournalRow {
    pub(crate) id: JournalId,
    pub(crate) webhook: NewWebhook,
}

impl JournalRow {
    pub(crate) fn assign_id(webhook: NewWebhook) -> Self {
        Self { id: JournalId::generate(), webhook }
    }
}

/// The ids of a batch that were new.
pub(crate) struct Inserted(HashSet<JournalId>);

impl Inserted {
    pub(crate) fn contains(&self, row: &JournalRow) -> bool {
        self.0.contains(&row.id)
    }

    pub(crate) fn outcome(&self, row: &JournalRow) -> Appended {
        if self.contains(row) { Appended::New(row.id) } else { Appended::Duplicate }
    }
}

impl From<Vec<(Id,)>> for Inserted {
    fn from(ids: Vec<(Id,)>) -> Self {
        Self(ids.into_iter().map(|(id,)| id.into()).collect())
    }
}

pub(crate) async fn append_postgres(
    db: &mut PgConnection,
    rows: Vec<&JournalRow>,
) -> Result<Inserted, sqlx::Error> {
    let ids: Vec<(Id,)> = columns(&rows).fetch_postgres(db, APPEND_HEAD, APPEND_TAIL).await?;
    Ok(ids.into())
}

pub(crate) async fn append_sqlite(
    db: &mut SqliteConnection,
    rows: Vec<&JournalRow>,
) -> Result<Inserted, sqlx::Error> {
    let ids: Vec<(Id,)> = columns(&rows).fetch_sqlite(db, APPEND_HEAD, APPEND_TAIL).await?;
    Ok(ids.into())
}

fn columns(rows: &[&JournalRow]) -> Rows {
    let webhooks = || rows.iter().map(|row| &row.webhook);
    Rows::of(vec![
        Column::Id(rows.iter().map(|row| row.id.into()).collect()),
        Column::OptId(webhooks().map(|webhook| webhook.app_id.map(Id::from)).collect()),
        Column::OptInt(webhooks().map(|webhook| webhook.organization_id).collect()),
        Column::Bytes(webhooks().map(|webhook| webhook.dedup_key.as_bytes().to_vec()).collect()),
        Column::Text(webhooks().map(|webhook| webhook.event_type.clone()).collect()),
        Column::Bytes(webhooks().map(|webhook| webhook.payload.to_vec()).collect()),
        Column::Text(webhooks().map(|webhook| webhook.disposition.status().to_owned()).collect()),
        Column::OptText(webhooks().map(|webhook| webhook.reason().map(str::to_owned)).collect()),
        Column::Time(webhooks().map(|webhook| webhook.received_at).collect()),
    ])
}

impl JournalStore<'_> {
    /// Writes the webhooks of one request, all or none. When this returns, they are durable.
    ///
    /// # Errors
    /// There is no durable place for them now.
    pub async fn append(self, webhooks: Vec<NewWebhook>) -> Result<Vec<Appended>, StoreError> {
        self.store.shared.lanes.append(webhooks).await
    }

    /// Writes a finding about one of the app's calls; it is processed like a webhook. A finding that repeats an earlier
    /// one is a duplicate.
    ///
    /// # Errors
    /// There is no durable place for it now.
    pub async fn append_finding(self, app: AppId, finding: &Finding) -> Result<Appended, StoreError> {
        let payload = finding.payload().to_string().into_bytes();
        let now = self.store.now();
        let reading = payload::read(&payload, now);
        // A finding is processed even while its app is inactive: it completes what the app had before.
        let route = Route { app_id: app, is_active: true };
        let destinations = routing::route(&reading, &Addressee::App { route, organization: None });
        let payload: Arc<[u8]> = payload.into();
        let rows = destinations
            .into_iter()
            .map(|destination| NewWebhook::new(&reading, destination, Arc::clone(&payload), now));
        let appended = self.append(rows.collect()).await?;
        Ok(appended.first().copied().unwrap_or(Appended::Duplicate))
    }

    /// Finds the row of an app with this key, which is the first of all duplicates.
    pub async fn find_duplicate(
        self,
        app: Option<AppId>,
        dedup_key: DedupKey,
    ) -> Result<Option<JournalId>, StoreError> {
        let key = dedup_key.as_bytes();
        let found: Option<(Id,)> = match app {
            Some(app) => on_db!(self.store, read db => {
                sqlx::query_as(FIND).bind(Id::from(app)).bind(key).fetch_optional(db).await
            })?,
            None => {
                on_db!(self.store, read db => sqlx::query_as(FIND_UNROUTED).bind(key).fetch_optional(db).await)?
            }
        };
        Ok(found.map(|(id,)| id.into()))
    }
}
