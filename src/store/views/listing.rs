//! What the lists of an app (calls, voicemails, messages) have in common: the same filters, the same two orders, and
//! pages that begin after a cursor, which is the sort key of the last row before it.
//!
//! To list one more thing: a table with `app_id`, `id` (generated in the order of time), `created_at`, `updated_at`, the
//! columns that [`Filter`] names, and an index for each of them as [`super::plan`] says; and [`Paged`] for its view.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use cti_actors::{event::NumberFilter, model::call::Direction};
use sqlx::{Database, Encode, QueryBuilder, Type};
use uuid::Uuid;

use crate::store::db::types::Id;

/// Narrows a list of an app. Without `since` the newest item comes first; with it, the oldest change.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this direction.
    pub direction: Option<Direction>,
    /// Only with this number on either side.
    pub number: Option<NumberFilter>,
    /// Only from this number.
    pub from: Option<NumberFilter>,
    /// Only to this number; of a message with several recipients, to one of them.
    pub to: Option<NumberFilter>,
    /// Only of this Dialpad user.
    pub dialpad_user_id: Option<i64>,
    /// Only of the Dialpad users who are mapped to this CRM user now.
    pub crm_user_id: Option<String>,
    /// Only what changed at this instant or later.
    pub since: Option<DateTime<Utc>>,
    /// Only what was created before this instant; with `since`, what last changed before it.
    pub until: Option<DateTime<Utc>>,
}

/// The columns that order a list.
#[derive(Clone, Copy, Debug)]
pub struct Audit {
    /// The server's id.
    pub id: Uuid,
    /// When the row was created.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// An item of a list that comes in pages.
pub trait Paged {
    /// Returns the columns that order the list.
    fn audit(&self) -> Audit;
}

impl Filter {
    /// Whether the list is ordered by change.
    pub(super) fn by_change(&self) -> bool {
        self.since.is_some()
    }

    /// Appends the direction, the times and the cursor to a statement that ends in conditions. `changed` is the column with
    /// the time of the last change. For tables with few rows for each value of a filter; see [`super::plan`] for the others.
    pub(crate) fn write<DB>(
        &self,
        query: &mut QueryBuilder<DB>,
        changed: &str,
        table: &str,
        cursor: Option<Cursor>,
    ) where
        DB: Database,
        Id: for<'q> Encode<'q, DB> + Type<DB>,
        i64: for<'q> Encode<'q, DB> + Type<DB>,
        String: for<'q> Encode<'q, DB> + Type<DB>,
        DateTime<Utc>: for<'q> Encode<'q, DB> + Type<DB>,
    {
        if let Some(direction) = self.direction {
            query.push(format_args!(" AND {table}.direction = ")).push_bind(direction.as_str().to_owned());
        }
        if let Some(since) = self.since {
            query.push(format_args!(" AND {changed} >= ")).push_bind(since);
        }
        if let Some(until) = self.until {
            let created = format!("{table}.created_at");
            let compared = if self.by_change() { changed } else { &created };
            query.push(format_args!(" AND {compared} < ")).push_bind(until);
        }
        match cursor {
            Some(cursor) if self.by_change() => {
                query.push(format_args!(" AND ({changed}, {table}.id) > (")).push_bind(cursor.at);
                query.push(", ").push_bind(Id(cursor.id)).push(")");
            }
            Some(cursor) => {
                query.push(format_args!(" AND {table}.id < ")).push_bind(Id(cursor.id));
            }
            None => {}
        }
    }

    /// Appends the order and the limit.
    pub(crate) fn write_order<DB>(
        &self,
        query: &mut QueryBuilder<DB>,
        changed: &str,
        table: &str,
        limit: usize,
    ) where
        DB: Database,
        i64: for<'q> Encode<'q, DB> + Type<DB>,
    {
        let order =
            if self.by_change() { format!("{changed}, {table}.id") } else { format!("{table}.id DESC") };
        query.push(format_args!(" ORDER BY {order} LIMIT "));
        // One row more than requested shows whether there is a next page.
        query.push_bind(i64::try_from(limit + 1).unwrap_or(i64::MAX));
    }

    /// Makes the page of the rows that such a statement returned.
    pub(crate) fn page<T: Paged>(&self, rows: Vec<T>, limit: usize) -> Page<T> {
        Page::of(rows, limit, |item| {
            let Audit { id, created_at, updated_at } = item.audit();
            Cursor { at: if self.by_change() { updated_at } else { created_at }, id }
        })
    }
}

/// Replaces NUL characters, which PostgreSQL refuses in a parameter. No stored text has one.
#[must_use]
pub fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// What a URL calls an item: the server's id, or Dialpad's.
#[derive(Clone, Debug)]
pub struct ItemRef {
    ours: Option<Uuid>,
    theirs: String,
}

impl ItemRef {
    /// Reads an id. A text that looks like one of the server's may also be one of Dialpad's.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self { ours: text.parse().ok(), theirs: without_nul(text) }
    }

    /// Appends the condition to a statement.
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

/// A position in a list that is ordered by an instant, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The instant of the last row.
    pub at: DateTime<Utc>,
    /// The id of the last row.
    pub id: Uuid,
}

impl Cursor {
    /// Returns it as text for a URL. Clients must not rely on what it contains.
    #[must_use]
    pub fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(format!("{}.{}", self.at.timestamp_micros(), self.id.simple()))
    }

    /// Reads what [`Cursor::encode`] wrote. Returns `None` for anything else.
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
    /// Returns a page without rows.
    pub(crate) fn empty() -> Self {
        Self { items: Vec::new(), next: None }
    }

    /// Makes a page of rows that were read with a limit one higher than requested.
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
    fn a_cursor_survives_a_url() {
        let at = DateTime::from_timestamp_micros(1_704_067_200_123_456).expect("a valid instant");
        let cursor = Cursor { at, id: Uuid::from_u128(7) };
        assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        assert_eq!(Cursor::decode("garbage"), None);
    }
}
