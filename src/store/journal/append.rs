//! Appending: every authentic webhook is written as it came, before it is acknowledged.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use cti_actors::{
    error::StoreError,
    id::{AppId, JournalId},
    unit::Unit,
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

/// The rows are the app and the key of webhooks. Both databases use the index in a join that goes from the few rows to
/// the many.
const KNOWN_HEAD: &str = "WITH named (app_id, dedup_key) AS (";
const KNOWN_TAIL: &str = ") SELECT webhook_events.app_id, webhook_events.dedup_key, webhook_events.id
    FROM named CROSS JOIN webhook_events
    WHERE webhook_events.app_id = named.app_id AND webhook_events.dedup_key = named.dedup_key";

type KnownRow = (Id, Vec<u8>, Id);

fn keys(units: &[Arc<Unit>]) -> Rows {
    let rows = || units.iter().flat_map(|unit| unit.incoming.iter().map(move |(row, _)| (unit.app_id, row)));
    Rows::of(vec![
        Column::Id(rows().map(|(app, _)| app.into()).collect()),
        Column::Bytes(rows().map(|(_, row)| row.dedup_key.to_vec()).collect()),
    ])
}

fn known(rows: Vec<KnownRow>) -> HashMap<(AppId, [u8; 36]), JournalId> {
    let keyed =
        rows.into_iter().filter_map(|(app, key, id)| Some(((app.into(), key.try_into().ok()?), id.into())));
    keyed.collect()
}

/// Returns those of the units' incoming webhooks that the journal has already, each with the id that it has there.
pub(crate) async fn known_postgres(
    db: &mut PgConnection,
    units: &[Arc<Unit>],
) -> Result<HashMap<(AppId, [u8; 36]), JournalId>, sqlx::Error> {
    keys(units).fetch_postgres(db, KNOWN_HEAD, KNOWN_TAIL).await.map(known)
}

/// Does what [`known_postgres`] does, on SQLite.
pub(crate) async fn known_sqlite(
    db: &mut SqliteConnection,
    units: &[Arc<Unit>],
) -> Result<HashMap<(AppId, [u8; 36]), JournalId>, sqlx::Error> {
    keys(units).fetch_sqlite(db, KNOWN_HEAD, KNOWN_TAIL).await.map(known)
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
