//! The journal: every authentic webhook as it came, written before it is acknowledged.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock, Weak},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use cti_actors::{
    Engine,
    error::StoreError,
    id::{AppId, JournalId},
    ports::{Inbound, Journal, PendingEvent},
};
use sqlx::{PgConnection, SqliteConnection};

use crate::store::{
    Store,
    db::{
        bulk::{Column, Rows},
        types::Id,
    },
    on_db,
};
use crate::webhook::payload::{self, DedupKey};

const APPEND_HEAD: &str = "INSERT INTO webhook_events
    (id, app_id, organization_id, dedup_key, event_type, payload, status, reason, received_at)";
const APPEND_TAIL: &str = "ON CONFLICT DO NOTHING RETURNING id";
const FIND: &str = "SELECT id FROM webhook_events WHERE app_id = $1 AND dedup_key = $2";
const FIND_UNROUTED: &str = "SELECT id FROM webhook_events WHERE app_id IS NULL AND dedup_key = $1";
const PENDING: &str = "SELECT id, attempts, payload, received_at FROM webhook_events
    WHERE app_id = $1 AND status = 'pending' ORDER BY id LIMIT $2";
const BACKLOG: &str = "SELECT DISTINCT app_id FROM webhook_events WHERE status = 'pending' AND received_at < $1 AND app_id IS NOT NULL";
const PENDING_COUNT: &str = "SELECT COUNT(*) FROM webhook_events WHERE status = 'pending'";

/// A webhook on its way into the journal, for one app.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Given when it is written, so that ids sort by commit.
    id: JournalId,
    /// Whose it is; `None` while nobody is known.
    pub app_id: Option<AppId>,
    /// The organisation that the payload names.
    pub organization_id: Option<i64>,
    /// What makes two webhooks the same one.
    pub dedup_key: DedupKey,
    /// Its type or state, in the sender's words.
    pub event_type: String,
    /// The payload as it came (of a JWS: its claims).
    pub payload: Arc<[u8]>,
    /// What is to become of it.
    pub disposition: Disposition,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

/// Why a webhook waits, in the journal's words.
pub mod waiting_for {
    /// An app that is connected to its organisation.
    pub const AN_APP: &str = "no_app_for_organization";
    /// Somebody who says whose it is.
    pub const AN_ORGANIZATION: &str = "organization_missing";
    /// Its app, to be switched on.
    pub const ACTIVATION: &str = "app_inactive";
    /// Somebody who looks into it: it names another organisation than that of the app to which it was sent.
    pub const ANOTHER_ORGANIZATION: &str = "organization_mismatch";
}

/// What is to become of a webhook.
#[derive(Clone, Debug)]
pub enum Disposition {
    /// It will be processed.
    Pending(Box<Inbound>),
    /// It waits until somebody is responsible for it.
    Unrouted(&'static str),
    /// It can't be understood.
    Failed(String),
}

impl Disposition {
    /// The word in the journal.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self {
            Self::Pending(_) => "pending",
            Self::Unrouted(_) => "unrouted",
            Self::Failed(_) => "failed",
        }
    }

    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Self::Pending(_) => None,
            Self::Unrouted(reason) => Some((*reason).to_owned()),
            Self::Failed(reason) => Some(reason.clone()),
        }
    }
}

/// What became of a webhook that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is durable under this id.
    New(JournalId),
    /// It had been before.
    Duplicate,
}

impl NewWebhook {
    /// A webhook that is not in the journal yet.
    #[must_use]
    pub fn new(
        app_id: Option<AppId>,
        organization_id: Option<i64>,
        dedup_key: DedupKey,
        event_type: String,
        payload: Arc<[u8]>,
        disposition: Disposition,
        received_at: DateTime<Utc>,
    ) -> Self {
        let id = JournalId(uuid::Uuid::nil());
        Self { id, app_id, organization_id, dedup_key, event_type, payload, disposition, received_at }
    }

    pub(crate) fn enter(&mut self) {
        self.id = JournalId::generate();
    }
}

/// The ids of a batch that were new.
pub(crate) struct Fresh(HashSet<JournalId>);

impl Fresh {
    pub(crate) fn contains(&self, webhook: &NewWebhook) -> bool {
        self.0.contains(&webhook.id)
    }

    pub(crate) fn verdict(&self, webhook: &NewWebhook) -> Appended {
        if self.contains(webhook) { Appended::New(webhook.id) } else { Appended::Duplicate }
    }
}

pub(crate) async fn append_postgres(
    db: &mut PgConnection,
    rows: Vec<&NewWebhook>,
) -> Result<Fresh, sqlx::Error> {
    let fresh: Vec<(Id,)> = columns(&rows).fetch_postgres(db, APPEND_HEAD, APPEND_TAIL).await?;
    Ok(Fresh(fresh.into_iter().map(|(id,)| id.into()).collect()))
}

pub(crate) async fn append_sqlite(
    db: &mut SqliteConnection,
    rows: Vec<&NewWebhook>,
) -> Result<Fresh, sqlx::Error> {
    let fresh: Vec<(Id,)> = columns(&rows).fetch_sqlite(db, APPEND_HEAD, APPEND_TAIL).await?;
    Ok(Fresh(fresh.into_iter().map(|(id,)| id.into()).collect()))
}

fn columns(rows: &[&NewWebhook]) -> Rows {
    Rows::of(vec![
        Column::Id(rows.iter().map(|row| row.id.into()).collect()),
        Column::OptId(rows.iter().map(|row| row.app_id.map(Id::from)).collect()),
        Column::OptInt(rows.iter().map(|row| row.organization_id).collect()),
        Column::Bytes(rows.iter().map(|row| row.dedup_key.to_vec()).collect()),
        Column::Text(rows.iter().map(|row| row.event_type.clone()).collect()),
        Column::Bytes(rows.iter().map(|row| row.payload.to_vec()).collect()),
        Column::Text(rows.iter().map(|row| row.disposition.status().to_owned()).collect()),
        Column::OptText(rows.iter().map(|row| row.disposition.reason()).collect()),
        Column::Time(rows.iter().map(|row| row.received_at).collect()),
    ])
}

/// Where webhooks go once they are durable: to the engine, when there is one.
#[derive(Default)]
pub(crate) struct Handover(OnceLock<Weak<Engine>>);

impl Handover {
    pub(crate) fn pass_on(&self, durable: Vec<NewWebhook>) {
        let Some(engine) = self.0.get().and_then(Weak::upgrade) else { return };
        let mut by_app: HashMap<AppId, Vec<PendingEvent>> = HashMap::new();
        for webhook in durable {
            if let (Some(app), Disposition::Pending(inbound)) = (webhook.app_id, webhook.disposition) {
                let event = PendingEvent { id: webhook.id, attempts: 0, content: Ok(*inbound) };
                by_app.entry(app).or_default().push(event);
            }
        }
        for (app, events) in by_app {
            engine.push(app, events);
        }
    }
}

impl Store {
    /// From now on, what becomes durable is handed over to this engine.
    pub fn hand_over_to(&self, engine: &Arc<Engine>) {
        // A second engine over one store would be a programming error; the first one stays.
        let _ = self.shared.handover.0.set(Arc::downgrade(engine));
    }

    /// Writes one request's webhooks, all or none. When this returns, they are durable.
    ///
    /// # Errors
    /// There is no durable place for them now.
    pub async fn append(&self, webhooks: Vec<NewWebhook>) -> Result<Vec<Appended>, StoreError> {
        self.shared.lanes.append(webhooks).await
    }

    /// The id under which a webhook was written the first time.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn find_webhook(
        &self,
        app: Option<AppId>,
        dedup_key: DedupKey,
    ) -> Result<Option<JournalId>, StoreError> {
        let key = dedup_key.to_vec();
        let found: Option<(Id,)> = match app {
            Some(app) => on_db!(self, read db => {
                sqlx::query_as(FIND).bind(Id::from(app)).bind(key).fetch_optional(db).await
            })?,
            None => {
                on_db!(self, read db => sqlx::query_as(FIND_UNROUTED).bind(key).fetch_optional(db).await)?
            }
        };
        Ok(found.map(|(id,)| id.into()))
    }

    /// How many webhooks wait to be processed.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn pending_count(&self) -> Result<i64, StoreError> {
        let (count,): (i64,) = on_db!(self, read db => sqlx::query_as(PENDING_COUNT).fetch_one(db).await)?;
        Ok(count)
    }
}

#[derive(sqlx::FromRow)]
struct PendingRow {
    id: Id,
    attempts: i32,
    payload: Vec<u8>,
    received_at: DateTime<Utc>,
}

#[async_trait]
impl Journal for Store {
    async fn pending(&self, app: AppId, limit: usize) -> Result<Vec<PendingEvent>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<PendingRow> = on_db!(self, read db => {
            sqlx::query_as(PENDING).bind(Id::from(app)).bind(limit).fetch_all(db).await
        })?;
        let events = rows.into_iter().map(|row| PendingEvent {
            id: row.id.into(),
            attempts: u16::try_from(row.attempts).unwrap_or(u16::MAX),
            content: payload::read(&row.payload, row.received_at).content,
        });
        Ok(events.collect())
    }

    async fn backlog(&self, since: DateTime<Utc>) -> Result<Vec<AppId>, StoreError> {
        let rows: Vec<(Id,)> =
            on_db!(self, read db => sqlx::query_as(BACKLOG).bind(since).fetch_all(db).await)?;
        Ok(rows.into_iter().map(|(id,)| id.into()).collect())
    }
}
