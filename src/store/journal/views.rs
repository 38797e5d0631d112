//! The journal, as administrators read it.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{error::StoreError, id::AppId, id::JournalId};
use sqlx::{Database, Encode, QueryBuilder, Type};

use crate::store::{
    JournalStore,
    db::{
        bulk::{Column, Rows},
        pool::Pools,
        types::{Id, OptId, first_id_at},
    },
    on_db,
    views::listing::{Cursor, Page},
};

const SELECT: &str = "SELECT id, app_id, organization_id, event_type, status, reason, attempts, received_at,
    processed_at, LENGTH(payload) AS size FROM webhook_events WHERE ";
const PAYLOADS_HEAD: &str = "SELECT id, payload FROM webhook_events WHERE id IN (";
const PAYLOADS_TAIL: &str = ")";

/// Each status has an index of its own.
const BACKLOG: &str = "SELECT app_id, status, COUNT(*) AS count FROM webhook_events
    WHERE status = 'pending' GROUP BY app_id, status
    UNION ALL SELECT app_id, status, COUNT(*) FROM webhook_events WHERE status = 'failed' GROUP BY app_id, status
    UNION ALL SELECT app_id, status, COUNT(*) FROM webhook_events WHERE status = 'unrouted' GROUP BY app_id, status";

/// A page ends before its payloads have more bytes together, whatever its limit of rows.
const MAX_PAGE_BYTES: i64 = 4 << 20;

/// How far the time in an id may be from that of its webhook: it waited, or the clock was set.
const MAX_ID_DELAY: TimeDelta = TimeDelta::minutes(1);

/// Narrows the list of the journal.
#[derive(Clone, Debug, Default)]
pub struct JournalFilter {
    /// `pending`, `processed`, `failed` or `unrouted`.
    pub status: Option<String>,
    /// Only of this app.
    pub app: Option<AppId>,
    /// Only of this event type or state, in the sender's words.
    pub event_type: Option<String>,
    /// Only what was received at this instant or later.
    pub since: Option<DateTime<Utc>>,
    /// Only what was received before this instant.
    pub until: Option<DateTime<Utc>>,
    /// Only payloads with one of these texts of digits. Every payload that the other fields leave is read: limit the
    /// times.
    pub digits: Vec<String>,
}

/// How many webhooks of an app wait or failed.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Backlog {
    /// The app; `None` for those of which no app is known.
    #[sqlx(rename = "app_id", try_from = "OptId")]
    pub app: Option<AppId>,
    /// `pending`, `failed` or `unrouted`.
    pub status: String,
    /// How many have it.
    pub count: i64,
}

/// A webhook in the journal.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct JournalEntry {
    /// The id, which its acknowledgement carried.
    #[sqlx(try_from = "Id")]
    pub id: JournalId,
    /// The app; `None` while no app is known for it.
    #[sqlx(rename = "app_id", try_from = "OptId")]
    pub app: Option<AppId>,
    /// The organization that it names.
    pub organization_id: Option<i64>,
    /// Its event type or state, in the sender's words.
    pub event_type: String,
    /// `pending`, `processed`, `failed` or `unrouted`.
    pub status: String,
    /// Why it waits, or failed.
    pub reason: Option<String>,
    /// How many attempts have failed.
    pub attempts: i32,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// When it was processed, or failed.
    pub processed_at: Option<DateTime<Utc>>,
    /// The payload as it came; of a JWS, its claims.
    #[sqlx(skip)]
    pub payload: Vec<u8>,
}

/// An entry without its payload, which a second query reads.
#[derive(sqlx::FromRow)]
struct EntryRow {
    #[sqlx(flatten)]
    entry: JournalEntry,
    /// The length of the payload in bytes.
    size: i32,
}

impl JournalFilter {
    /// Appends conditions, order and limit to a statement that ends in `WHERE `. Each filter has an index in the order of
    /// the list.
    fn write<DB>(&self, query: &mut QueryBuilder<DB>, cursor: Option<Cursor>, limit: usize)
    where
        DB: Database,
        Id: for<'q> Encode<'q, DB> + Type<DB>,
        i64: for<'q> Encode<'q, DB> + Type<DB>,
        String: for<'q> Encode<'q, DB> + Type<DB>,
        Vec<u8>: for<'q> Encode<'q, DB> + Type<DB>,
        DateTime<Utc>: for<'q> Encode<'q, DB> + Type<DB>,
    {
        query.push("1 = 1");
        match self.status.as_deref() {
            // Written out so that the index of this status can be used.
            Some(status @ ("failed" | "unrouted")) => {
                _ = query.push(format_args!(" AND status = '{status}'"))
            }
            Some("pending") => {
                query.push(" AND id IN (SELECT id FROM webhook_events WHERE status = 'pending')");
            }
            Some(status) => _ = query.push(" AND status = ").push_bind(status.to_owned()),
            None => {}
        }
        if let Some(app) = self.app {
            query.push(" AND app_id = ").push_bind(Id::from(app));
        }
        if let Some(kind) = &self.event_type {
            query.push(" AND event_type = ").push_bind(kind.clone());
        }
        // Ids begin with the time: they choose the rows, by the primary key.
        if let Some(since) = self.since {
            query.push(" AND received_at >= ").push_bind(since);
            query.push(" AND id >= ").push_bind(first_id_at(since - MAX_ID_DELAY));
        }
        if let Some(until) = self.until {
            query.push(" AND received_at < ").push_bind(until);
            query.push(" AND id < ").push_bind(first_id_at(until + MAX_ID_DELAY));
        }
        for (index, digits) in self.digits.iter().enumerate() {
            // Without wildcards of the caller: the databases escape them differently.
            let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
            query.push(if index == 0 { " AND (payload LIKE " } else { " OR payload LIKE " });
            query.push_bind(format!("%{digits}%").into_bytes());
        }
        if !self.digits.is_empty() {
            query.push(")");
        }
        if let Some(cursor) = cursor {
            query.push(" AND id < ").push_bind(Id(cursor.id));
        }
        query.push(" ORDER BY id DESC LIMIT ");
        query.push_bind(i64::try_from(limit + 1).unwrap_or(i64::MAX));
    }
}

impl JournalStore<'_> {
    /// Returns how the database finds a page of the journal, in its own words.
    pub async fn explain(
        self,
        filter: &JournalFilter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let database = &self.store.shared.database;
        match database.pools() {
            Pools::Postgres(pools) => {
                let mut query = QueryBuilder::new(format!("EXPLAIN {SELECT}"));
                filter.write(&mut query, cursor, limit);
                database.in_time(Box::pin(query.build_query_scalar().fetch_all(&pools.read))).await
            }
            Pools::Sqlite(pools) => {
                let mut query = QueryBuilder::new(format!("EXPLAIN QUERY PLAN {SELECT}"));
                filter.write(&mut query, cursor, limit);
                let rows: Vec<(i64, i64, i64, String)> =
                    database.in_time(Box::pin(query.build_query_as().fetch_all(&pools.read))).await?;
                Ok(rows.into_iter().map(|(.., detail)| detail).collect())
            }
        }
    }

    /// Returns a page of the journal, newest first.
    pub async fn list(
        self,
        filter: &JournalFilter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<JournalEntry>, StoreError> {
        let rows: Vec<EntryRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            filter.write(&mut query, cursor, limit);
            query.build_query_as().fetch_all(db).await
        })?;
        let limit = limit.min(rows_within(&rows, MAX_PAGE_BYTES));
        let page = Page::of(rows, limit, |row| Cursor { at: row.entry.received_at, id: row.entry.id.0 });
        Ok(Page { items: self.with_payloads(page.items).await?, next: page.next })
    }

    /// Counts the webhooks of each app that wait or failed.
    pub async fn backlog(self) -> Result<Vec<Backlog>, StoreError> {
        on_db!(self.store, read db => sqlx::query_as(BACKLOG).fetch_all(db).await)
    }

    /// Returns one webhook.
    pub async fn entry(self, id: JournalId) -> Result<Option<JournalEntry>, StoreError> {
        let row: Option<EntryRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push("id = ").push_bind(Id::from(id));
            query.build_query_as().fetch_optional(db).await
        })?;
        Ok(self.with_payloads(row.into_iter().collect()).await?.pop())
    }

    async fn with_payloads(self, rows: Vec<EntryRow>) -> Result<Vec<JournalEntry>, StoreError> {
        let ids = Rows::of(vec![Column::Id(rows.iter().map(|row| row.entry.id.into()).collect())]);
        let payloads: Vec<(Id, Vec<u8>)> = self.store.fetch_listed(PAYLOADS_HEAD, PAYLOADS_TAIL, ids).await?;
        let mut payloads: HashMap<Id, Vec<u8>> = payloads.into_iter().collect();
        // A webhook that was deleted between the two queries is left out.
        let entries = rows.into_iter().filter_map(|EntryRow { entry, .. }| {
            let payload = payloads.remove(&entry.id.into())?;
            Some(JournalEntry { payload, ..entry })
        });
        Ok(entries.collect())
    }
}

/// Counts the first rows that have at most `max` bytes together; at least one.
fn rows_within(rows: &[EntryRow], max: i64) -> usize {
    let mut size = 0;
    let fitting = rows.iter().take_while(|row| {
        size += i64::from(row.size);
        size <= max
    });
    fitting.count().max(1)
}
