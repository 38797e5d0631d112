//! The journal as administrators look through it.

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId, id::JournalId};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::store::{
    JournalStore,
    db::{
        bulk::{Column, Rows},
        types::{Id, first_id_at},
    },
    on_db,
    views::listing::{Cursor, Page},
};

const SELECT: &str = "SELECT id, app_id, organization_id, event_type, status, reason, attempts, received_at,
    processed_at, LENGTH(payload) AS size FROM webhook_events WHERE ";
const PAYLOADS_HEAD: &str = "SELECT id, payload FROM webhook_events WHERE id IN (";
const PAYLOADS_TAIL: &str = ")";

/// A page ends before its payloads have more bytes together, however many rows were asked for.
const LARGEST_PAGE: i64 = 4 << 20;

/// Which webhooks.
#[derive(Clone, Debug, Default)]
pub struct JournalFilter {
    /// `pending`, `processed`, `failed` or `unrouted`.
    pub status: Option<String>,
    /// Whose they are.
    pub app: Option<AppId>,
    /// Their type or state, in the sender's words.
    pub event_type: Option<String>,
    /// Only what was received since then.
    pub since: Option<DateTime<Utc>>,
    /// Only what was received before then.
    pub until: Option<DateTime<Utc>>,
}

/// A webhook in the journal.
#[derive(Clone, Debug)]
pub struct JournalEntry {
    /// Its id, which its acknowledgement gave.
    pub id: JournalId,
    /// Whose it is; `None` while nobody is known.
    pub app: Option<AppId>,
    /// The organisation that it names.
    pub organization_id: Option<i64>,
    /// Its type or state, in the sender's words.
    pub event_type: String,
    /// `pending`, `processed`, `failed` or `unrouted`.
    pub status: String,
    /// Why it waits, or failed.
    pub reason: Option<String>,
    /// How often it was tried in vain.
    pub attempts: i32,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// When it was dealt with.
    pub processed_at: Option<DateTime<Utc>>,
    /// As it came (of a JWS: its claims).
    pub payload: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct EntryRow {
    id: Id,
    app_id: Option<Id>,
    organization_id: Option<i64>,
    event_type: String,
    status: String,
    reason: Option<String>,
    attempts: i32,
    received_at: DateTime<Utc>,
    processed_at: Option<DateTime<Utc>>,
    size: i32,
}

impl EntryRow {
    fn with(self, payload: Vec<u8>) -> JournalEntry {
        JournalEntry {
            id: self.id.into(),
            app: self.app_id.map(Into::into),
            organization_id: self.organization_id,
            event_type: self.event_type,
            status: self.status,
            reason: self.reason,
            attempts: self.attempts,
            received_at: self.received_at,
            processed_at: self.processed_at,
            payload,
        }
    }
}

impl JournalStore<'_> {
    /// A page of the journal, the newest first.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn list(
        self,
        filter: &JournalFilter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<JournalEntry>, StoreError> {
        let before = Id(cursor.map_or(Uuid::max(), |cursor| cursor.id));
        let rows: Vec<EntryRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push("id < ").push_bind(before);
            if let Some(status) = &filter.status {
                query.push(" AND status = ").push_bind(status);
            }
            if let Some(app) = filter.app {
                query.push(" AND app_id = ").push_bind(Id::from(app));
            }
            if let Some(kind) = &filter.event_type {
                query.push(" AND event_type = ").push_bind(kind);
            }
            if let Some(since) = filter.since {
                // Ids begin with the time at which they were written, which is never before they were received.
                query.push(" AND id >= ").push_bind(first_id_at(since));
                query.push(" AND received_at >= ").push_bind(since);
            }
            if let Some(until) = filter.until {
                query.push(" AND received_at < ").push_bind(until);
            }
            query.push(" ORDER BY id DESC LIMIT ").push_bind(i64::try_from(limit + 1).unwrap_or(i64::MAX));
            query.build_query_as().fetch_all(db).await
        })?;
        let limit = limit.min(rows_within(&rows, LARGEST_PAGE));
        let page = Page::of(rows, limit, |row| Cursor { at: row.received_at, id: row.id.0 });
        Ok(Page { items: self.with_payloads(page.items).await?, next: page.next })
    }

    /// One webhook.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn entry(self, id: JournalId) -> Result<Option<JournalEntry>, StoreError> {
        let row: Option<EntryRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push("id = ").push_bind(Id::from(id));
            query.build_query_as().fetch_optional(db).await
        })?;
        Ok(self.with_payloads(row.into_iter().collect()).await?.pop())
    }

    async fn with_payloads(self, rows: Vec<EntryRow>) -> Result<Vec<JournalEntry>, StoreError> {
        let ids = Rows::of(vec![Column::Id(rows.iter().map(|row| row.id).collect())]);
        let payloads: Vec<(Id, Vec<u8>)> = self.store.fetch_listed(PAYLOADS_HEAD, PAYLOADS_TAIL, ids).await?;
        let mut payloads: std::collections::HashMap<Id, Vec<u8>> = payloads.into_iter().collect();
        // What was removed between the two looks is not shown any more.
        Ok(rows.into_iter().filter_map(|row| payloads.remove(&row.id).map(|it| row.with(it))).collect())
    }
}

/// How many rows have so many bytes together; at least one.
fn rows_within(rows: &[EntryRow], most: i64) -> usize {
    let mut size = 0;
    let fitting = rows.iter().take_while(|row| {
        size += i64::from(row.size);
        size <= most
    });
    fitting.count().max(1)
}
