//! What an app's lists (calls, voicemails, messages) have in common: the same filters, the same two orders, and pages
//! that begin behind a cursor, which is the sort key of the last row before it.
//!
//! To list one more thing: a table with `app_id`, `id` (made in the order of time), `created_at`, `updated_at` and the
//! columns that [`Filter`] names; a `SELECT … WHERE x.app_id = ` for [`Filter::write`]; and [`Listed`] for its view.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use sqlx::{Database, Encode, QueryBuilder, Type};
use uuid::Uuid;

use crate::store::db::types::Id;

/// By what every list of an app can be narrowed. Without `since` the newest comes first, with it the oldest change.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `inbound` or `outbound`.
    pub direction: Option<String>,
    /// The number that calls or writes.
    pub from: Option<String>,
    /// The number that is called or written to.
    pub to: Option<String>,
    /// The Dialpad user.
    pub dialpad_user_id: Option<i64>,
    /// What the CRM calls the Dialpad user now.
    pub crm_user_id: Option<String>,
    /// Only what changed since then.
    pub since: Option<DateTime<Utc>>,
    /// Only what was first seen before then; with `since`, last changed before then.
    pub until: Option<DateTime<Utc>>,
}

/// Something that comes in lists.
pub trait Listed {
    /// Our id of it.
    fn id(&self) -> Uuid;
    /// When it was first seen.
    fn created_at(&self) -> DateTime<Utc>;
    /// When it last changed.
    fn updated_at(&self) -> DateTime<Utc>;
}

impl Filter {
    /// Whether the order is that of changes.
    fn by_change(&self) -> bool {
        self.since.is_some()
    }

    /// Goes on with a statement that ends in `WHERE <table>.app_id = …`: narrows, orders and cuts it.
    pub(crate) fn write<DB>(
        &self,
        query: &mut QueryBuilder<DB>,
        table: &str,
        cursor: Option<Cursor>,
        limit: usize,
    ) where
        DB: Database,
        Id: for<'q> Encode<'q, DB> + Type<DB>,
        i64: for<'q> Encode<'q, DB> + Type<DB>,
        String: for<'q> Encode<'q, DB> + Type<DB>,
        DateTime<Utc>: for<'q> Encode<'q, DB> + Type<DB>,
    {
        let column = |name: &str| format!("{table}.{name}");
        if let Some(direction) = &self.direction {
            query.push(format_args!(" AND {} = ", column("direction"))).push_bind(direction.clone());
        }
        if let Some(from) = &self.from {
            query.push(format_args!(" AND {} = ", column("from_number"))).push_bind(from.clone());
        }
        if let Some(to) = &self.to {
            // A message may go to several numbers, which are kept with commas between: one of them is this number if
            // taking it out leaves something else.
            let numbers = format!("(',' || {} || ',')", column("to_number"));
            query.push(format_args!(" AND REPLACE({numbers}, ")).push_bind(format!(",{to},"));
            query.push(format_args!(", '') <> {numbers}"));
        }
        if let Some(user) = self.dialpad_user_id {
            query.push(format_args!(" AND {} = ", column("dialpad_user_id"))).push_bind(user);
        }
        if let Some(user) = &self.crm_user_id {
            let (mapped, app) = (column("dialpad_user_id"), column("app_id"));
            query.push(format_args!(
                " AND {mapped} IN (SELECT dialpad_user_id FROM dialpad_user_mappings
                WHERE app_id = {app} AND crm_user_id = "
            ));
            query.push_bind(user.clone()).push(")");
        }
        if let Some(since) = self.since {
            query.push(format_args!(" AND {} >= ", column("updated_at"))).push_bind(since);
        }
        if let Some(until) = self.until {
            let compared = if self.by_change() { "updated_at" } else { "created_at" };
            query.push(format_args!(" AND {} < ", column(compared))).push_bind(until);
        }
        let (id, changed) = (column("id"), column("updated_at"));
        match cursor {
            Some(cursor) if self.by_change() => {
                query.push(format_args!(" AND ({changed}, {id}) > (")).push_bind(cursor.at);
                query.push(", ").push_bind(Id(cursor.id)).push(")");
            }
            Some(cursor) => {
                query.push(format_args!(" AND {id} < ")).push_bind(Id(cursor.id));
            }
            None => {}
        }
        let order = if self.by_change() { format!("{changed}, {id}") } else { format!("{id} DESC") };
        query.push(format_args!(" ORDER BY {order} LIMIT "));
        // One more than asked for tells whether there is a next page.
        query.push_bind(i64::try_from(limit + 1).unwrap_or(i64::MAX));
    }

    /// The page of what such a statement found.
    pub(crate) fn page<T: Listed>(&self, found: Vec<T>, limit: usize) -> Page<T> {
        Page::of(found, limit, |item| Cursor {
            at: if self.by_change() { item.updated_at() } else { item.created_at() },
            id: item.id(),
        })
    }
}

/// A text as it may be looked for: PostgreSQL can't look for a NUL, and nothing has one.
#[must_use]
pub fn findable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// How something is named in a URL: by our id, or by Dialpad's.
#[derive(Clone, Debug)]
pub struct ItemName {
    ours: Option<Uuid>,
    theirs: String,
}

impl ItemName {
    /// What this text may mean.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self { ours: text.parse().ok(), theirs: findable(text) }
    }

    /// Goes on with a statement's conditions.
    pub(crate) fn write<DB>(&self, query: &mut QueryBuilder<DB>, ours: &str, theirs: &str)
    where
        DB: Database,
        Id: for<'q> Encode<'q, DB> + Type<DB>,
        String: for<'q> Encode<'q, DB> + Type<DB>,
    {
        query.push(format_args!(" AND ({theirs} = ")).push_bind(self.theirs.clone());
        if let Some(id) = self.ours {
            query.push(format_args!(" OR {ours} = ")).push_bind(Id(id));
        }
        query.push(")");
    }
}

/// A place in a list that is ordered by an instant and then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The instant of the last row.
    pub at: DateTime<Utc>,
    /// The id of the last row.
    pub id: Uuid,
}

impl Cursor {
    /// As text for a URL. What it looks like is nobody's business.
    #[must_use]
    pub fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(format!("{}.{}", self.at.timestamp_micros(), self.id.simple()))
    }

    /// Reads what [`Cursor::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (micros, id) = text.split_once('.')?;
        Some(Self { at: DateTime::from_timestamp_micros(micros.parse().ok()?)?, id: id.parse().ok()? })
    }
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Makes a page of rows that were read with a limit of one more than asked for.
    pub fn of(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> Cursor) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_journey_through_a_url() {
        let at = DateTime::from_timestamp_micros(1_704_067_200_123_456).expect("a valid instant");
        let cursor = Cursor { at, id: Uuid::from_u128(7) };
        assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        assert_eq!(Cursor::decode("garbage"), None);
    }
}
