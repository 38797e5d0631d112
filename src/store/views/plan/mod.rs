//! The statement of a list, written so that both databases read few more rows than they return, also when nothing matches.
//!
//! A list has two orders, and filters that may be combined. For the newest first, each filter has an index that begins
//! with the app, the filter's column and the direction, and ends with `created_at` and `id`: a branch for each direction
//! reads the first rows of one range of it. With `since`, the order is that of the changes. Then either few rows have
//! changed since then, or few have the filter's value: two counts, which end at [`MAX_SCANNED`], say which, and the rows
//! are read that way. Where both are many, a page is full soon.
//!
//! Calls that have ended are indexed; the others are few, and all of them are looked at. So a call is entered into these
//! indexes once, when it is over: also into that of changes, on `ended_updated_at`, which a live call does not have. On
//! PostgreSQL a webhook of a live call therefore changes no column of any index, and writes no index entry at all.
//!
//! SQLite has no statistics to choose an index by. A column that must not choose one is hidden in a `CASE`, which
//! PostgreSQL, which has statistics, sees through.

mod branches;
mod conditions;
mod sql;

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId};
use sqlx::{Database, Encode, QueryBuilder, Type};

pub(super) use self::conditions::key;
use self::{
    conditions::hidden,
    sql::{Sql, Value},
};
use super::listing::{Cursor, Filter};
use crate::store::{
    Store,
    db::{pool::Pools, types::Id},
    on_db,
};

const MAPPED_USERS: &str =
    "SELECT dialpad_user_id FROM dialpad_user_mappings WHERE app_id = $1 AND crm_user_id = $2";

/// How many rows are read that a list with `since` may not return.
const MAX_SCANNED: i64 = 5000;
/// How many users have a branch each.
const MAX_USER_BRANCHES: usize = 16;

/// A table that is listed.
pub(crate) struct Listed {
    pub(crate) table: &'static str,
    /// Its name in the statement that is completed.
    pub(crate) alias: &'static str,
    /// What is listed of it.
    pub(crate) parts: Vec<Part>,
    /// Whether the list is narrowed to these parts by a filter.
    pub(crate) is_narrowed: bool,
    /// Whether `to_number` may be several numbers with commas between them.
    pub(crate) has_recipients: bool,
    /// A column and the value that it must have. The parts with an index for each filter have one for this column.
    pub(crate) also: Option<(&'static str, String)>,
}

/// A part of a table.
pub(crate) struct Part {
    /// Its condition, which is also that of its indexes; empty: all rows.
    pub(crate) condition: String,
    /// Whether it has an index for each filter. The others are small.
    pub(crate) is_indexed: bool,
    /// The column that says when a row has changed, as the index of changes has it.
    pub(crate) changed: &'static str,
}

/// The filter whose index a branch reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Driver {
    From,
    To,
    /// Rows with several numbers in `to_number`.
    Recipients,
    User,
    /// The listed table's own filter.
    Also,
    Direction,
    /// None, with `since`: the branch reads changes in their order.
    Changes,
    /// None: the branch reads a small part as a whole.
    Nothing,
}

impl Driver {
    /// Returns the order of the index, where the branch reads all of a small one.
    fn order_of_few(self) -> Option<&'static str> {
        match self {
            Self::Nothing => Some("id"),
            Self::Recipients => Some("created_at, id"),
            Self::From | Self::To | Self::User | Self::Also | Self::Direction | Self::Changes => None,
        }
    }
}

/// How the rows of a list are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// In the order of the list, looking at each row.
    InOrder,
    /// By the filters' indexes.
    ByFilter,
}

/// A page of a list: which rows, and how many.
pub(crate) struct PageQuery<'f> {
    pub(crate) app: AppId,
    pub(crate) filter: &'f Filter,
    /// The Dialpad users of the filter.
    pub(crate) users: Option<Vec<i64>>,
    pub(crate) listed: Listed,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) limit: usize,
}

impl Filter {
    /// Returns the Dialpad users that the filter names, itself or by a CRM user; `None`: all.
    pub(crate) async fn users(&self, store: &Store, app: AppId) -> Result<Option<Vec<i64>>, StoreError> {
        let Some(crm_user) = &self.crm_user_id else {
            return Ok(self.dialpad_user_id.map(|user| vec![user]));
        };
        let mapped: Vec<(i64,)> = on_db!(store, read db => {
            sqlx::query_as(MAPPED_USERS).bind(Id::from(app)).bind(crm_user).fetch_all(db).await
        })?;
        let wanted = |user: &i64| self.dialpad_user_id.is_none_or(|other| other == *user);
        Ok(Some(mapped.into_iter().map(|(user,)| user).filter(wanted).collect()))
    }
}

impl<'f> PageQuery<'f> {
    /// Returns the query of a page; `None` where the filter names a user that nobody is.
    pub(crate) async fn new(
        store: &Store,
        app: AppId,
        filter: &'f Filter,
        listed: Listed,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Option<Self>, StoreError> {
        let users = filter.users(store, app).await?;
        let names_nobody = users.as_ref().is_some_and(Vec::is_empty);
        Ok((!names_nobody).then_some(Self { app, filter, users, listed, cursor, limit }))
    }

    /// Returns how the database finds the page: the lines of its `EXPLAIN`, for the counts that chose the plan and for the
    /// statement.
    pub(crate) async fn explain(&self, store: &Store, select: &str) -> Result<Vec<String>, StoreError> {
        let plan = self.plan(store).await?;
        let is_indexed = self.listed.parts.iter().any(|part| part.is_indexed);
        let counts = is_indexed && self.filter.by_change() && self.has_filter();
        let mut lines = Vec::new();
        for statement in 0..3 {
            if statement < 2 && !counts {
                continue;
            }
            let part: Vec<String> = match store.shared.database.pools() {
                Pools::Postgres(pools) => {
                    let mut query = QueryBuilder::new("EXPLAIN ");
                    self.write_statement(statement, plan, select, &mut query);
                    let rows = query.build_query_scalar().fetch_all(&pools.read);
                    store.shared.database.in_time(Box::pin(rows)).await?
                }
                Pools::Sqlite(pools) => {
                    let mut query = QueryBuilder::new("EXPLAIN QUERY PLAN ");
                    self.write_statement(statement, plan, select, &mut query);
                    let rows = query.build_query_as().fetch_all(&pools.read);
                    let rows: Vec<(i64, i64, i64, String)> =
                        store.shared.database.in_time(Box::pin(rows)).await?;
                    rows.into_iter().map(|(.., detail)| detail).collect()
                }
            };
            lines.extend(part);
        }
        Ok(lines)
    }

    fn write_statement<DB>(&self, statement: usize, plan: Plan, select: &str, query: &mut QueryBuilder<DB>)
    where
        DB: Database,
        Id: for<'v> Encode<'v, DB> + Type<DB>,
        i64: for<'v> Encode<'v, DB> + Type<DB>,
        String: for<'v> Encode<'v, DB> + Type<DB>,
        DateTime<Utc>: for<'v> Encode<'v, DB> + Type<DB>,
    {
        match statement {
            0 => self.changed().append_to(query),
            1 => self.matching().append_to(query),
            _ => {
                query.push(select);
                self.write(plan, query);
            }
        }
    }

    /// Chooses how the rows are found. Counts rows where that depends on them.
    pub(crate) async fn plan(&self, store: &Store) -> Result<Plan, StoreError> {
        if !self.listed.parts.iter().any(|part| part.is_indexed) {
            return Ok(Plan::ByFilter);
        }
        if !self.filter.by_change() {
            let is_in_order = !self.has_filter() && self.filter.until.is_none() && !self.listed.is_narrowed;
            return Ok(if is_in_order { Plan::InOrder } else { Plan::ByFilter });
        }
        if !self.has_filter() || self.count(store, self.changed()).await? < MAX_SCANNED {
            return Ok(Plan::InOrder);
        }
        let matching = self.count(store, self.matching()).await?;
        Ok(if matching < MAX_SCANNED { Plan::ByFilter } else { Plan::InOrder })
    }

    fn has_filter(&self) -> bool {
        let Filter { direction, number, from, to, .. } = self.filter;
        let has_number = number.is_some() || from.is_some() || to.is_some();
        direction.is_some() || has_number || self.users.is_some() || self.listed.also.is_some()
    }

    async fn count(&self, store: &Store, counted: Sql) -> Result<i64, StoreError> {
        on_db!(store, read db => {
            let mut query = QueryBuilder::new("");
            counted.append_to(&mut query);
            query.build_query_scalar().fetch_one(db).await
        })
    }

    /// Counts what has changed since the list begins, of the parts that have an index for it.
    fn changed(&self) -> Sql {
        let column =
            self.listed.parts.iter().find(|part| part.is_indexed).map_or("updated_at", |it| it.changed);
        let mut sql = Sql::default();
        sql.push("SELECT COUNT(*) FROM (SELECT 1 AS one FROM ").push(self.listed.table);
        sql.bind(" WHERE app_id = ", Value::App(self.app));
        self.push_times(&mut sql, "", Some(column));
        // In the order of the index: PostgreSQL would look through the whole table for them.
        sql.push(format!(" ORDER BY {column}, id"));
        sql.bind(" LIMIT ", Value::Int(MAX_SCANNED)).push(") AS changed");
        sql
    }

    /// Whether the changes of the parts are in the order of different columns.
    fn has_parts_by_change(&self) -> bool {
        self.filter.by_change() && self.listed.parts.iter().any(|part| part.changed != "updated_at")
    }

    /// Counts what has the values of the filters that choose an index, of the parts that have one.
    fn matching(&self) -> Sql {
        let mut sql = Sql::default();
        sql.push("SELECT COUNT(*) FROM (");
        let mut is_first = true;
        for part in self.listed.parts.iter().filter(|part| part.is_indexed) {
            for (driver, direction, user) in self.branches(part, Plan::ByFilter) {
                sql.push(if is_first {
                    "SELECT one FROM (SELECT 1 AS one FROM "
                } else {
                    " UNION ALL SELECT one FROM (SELECT 1 AS one FROM "
                });
                is_first = false;
                sql.push(self.listed.table);
                self.push_driver(&mut sql, part, driver, direction, user);
                sql.bind(" ORDER BY created_at, id LIMIT ", Value::Int(MAX_SCANNED)).push(") AS branch");
            }
        }
        sql.push(") AS matching");
        sql
    }

    /// Appends conditions, order and limit to a statement that ends in `WHERE <alias>.app_id = `.
    pub(crate) fn write<DB>(&self, plan: Plan, query: &mut QueryBuilder<DB>)
    where
        DB: Database,
        Id: for<'q> Encode<'q, DB> + Type<DB>,
        i64: for<'q> Encode<'q, DB> + Type<DB>,
        String: for<'q> Encode<'q, DB> + Type<DB>,
        DateTime<Utc>: for<'q> Encode<'q, DB> + Type<DB>,
    {
        let alias = format!("{}.", self.listed.alias);
        let mut sql = Sql::default();
        sql.bind("", Value::App(self.app));
        let is_in_order = plan == Plan::InOrder && !self.has_parts_by_change();
        if is_in_order {
            self.push_in_order(&mut sql, &alias);
        } else {
            self.push_branches(plan, &mut sql, &alias);
        }
        let (updated, created) = (format!("{alias}updated_at"), format!("{alias}created_at"));
        let order = match (is_in_order, self.filter.by_change()) {
            (true, true) => format!(" ORDER BY {updated}, {alias}id"),
            (true, false) => format!(" ORDER BY {alias}id DESC"),
            // The few rows of the branches are sorted: SQLite would look for them among all rows in this order.
            (false, true) => format!(" ORDER BY {}, {alias}id", hidden(&updated)),
            (false, false) => format!(" ORDER BY {} DESC, {alias}id DESC", hidden(&created)),
        };
        sql.push(order).bind(" LIMIT ", self.row_limit());
        sql.append_to(query);
    }

    /// One row more than requested shows whether there is a next page.
    fn row_limit(&self) -> Value {
        Value::Int(i64::try_from(self.limit + 1).unwrap_or(i64::MAX))
    }
}
