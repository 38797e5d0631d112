//! The database that is imported: PostgreSQL, read in one transaction that sees a single moment and can write nothing.
//!
//! Every row is read as JSON, whatever the types of its columns: a missing or an additional column, or one of another
//! type, then needs no other statement. A cursor limits how many rows are in memory.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgConnectOptions, raw_sql};

/// Neither a slow statement nor a pause between two pages must end the transaction. Times without a zone are UTC.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL TimeZone = 'UTC'";
const COLUMNS: &str =
    "SELECT table_name::text, column_name::text, udt_name::text FROM information_schema.columns
    WHERE table_schema = CURRENT_SCHEMA()";
const CLOSE: &str = "CLOSE imported";

/// How many rows are read at a time.
const PAGE: usize = 500;

/// The open database.
pub struct Source {
    db: PgConnection,
    /// The columns of each table, with their types.
    tables: BTreeMap<String, BTreeMap<String, String>>,
}

/// A query of one table: its condition and its order use only columns that are there.
#[derive(Clone, Debug)]
pub struct Query<'q> {
    /// The table, which is called `t` in the condition.
    pub table: &'static str,
    /// Which rows are read; the empty text: all.
    pub condition: &'q str,
    /// Columns to order by; those that are missing are left out.
    pub order: &'static [&'static str],
}

impl Source {
    /// Connects, and begins the transaction.
    ///
    /// # Errors
    /// The database can't be reached.
    pub async fn open(options: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        let mut db =
            PgConnection::connect_with(&options.clone().application_name("cti-server import")).await?;
        raw_sql(BEGIN).execute(&mut db).await?;
        let mut tables: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for row in raw_sql(COLUMNS).fetch_all(&mut db).await? {
            tables.entry(row.try_get(0)?).or_default().insert(row.try_get(1)?, row.try_get(2)?);
        }
        Ok(Self { db, tables })
    }

    /// Returns what identifies its tables, as [`super::Imports::identity`] does.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn identity(&mut self) -> Result<String, sqlx::Error> {
        raw_sql(super::IDENTITY).fetch_one(&mut self.db).await?.try_get(0)
    }

    /// Returns the names of its tables.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// Whether it has a table.
    #[must_use]
    pub fn has_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    /// Whether a table has a column.
    #[must_use]
    pub fn has_column(&self, table: &str, column: &str) -> bool {
        self.type_of(table, column).is_some()
    }

    fn type_of(&self, table: &str, column: &str) -> Option<&str> {
        self.tables.get(table)?.get(column).map(String::as_str)
    }

    /// Begins to read a table. One is read at a time: [`Self::page`] returns its rows.
    ///
    /// # Errors
    /// The table can't be read.
    pub async fn begin(&mut self, query: &Query<'_>) -> Result<(), sqlx::Error> {
        let Query { table, condition, order } = query;
        let known: Vec<String> = order
            .iter()
            .filter(|column| self.has_column(table, column))
            .map(|it| format!("t.{it}"))
            .collect();
        let condition = if condition.is_empty() { String::new() } else { format!(" WHERE {condition}") };
        let order = if known.is_empty() { String::new() } else { format!(" ORDER BY {}", known.join(", ")) };
        // Names of tables and columns are constants of this program; nothing comes from outside.
        let declare = format!(
            "DECLARE imported NO SCROLL CURSOR FOR SELECT row_to_json(t)::text FROM {table} AS t{condition}{order}"
        );
        raw_sql(AssertSqlSafe(declare)).execute(&mut self.db).await.map(|_| ())
    }

    /// Returns the next rows, each as a JSON object. None are left after an empty page.
    ///
    /// # Errors
    /// The table can't be read any further.
    pub async fn page(&mut self) -> Result<Vec<String>, sqlx::Error> {
        let fetch = format!("FETCH FORWARD {PAGE} FROM imported");
        let rows = raw_sql(AssertSqlSafe(fetch)).fetch_all(&mut self.db).await?;
        if rows.is_empty() {
            raw_sql(CLOSE).execute(&mut self.db).await?;
        }
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    /// Counts the rows of a table that meet a condition.
    ///
    /// # Errors
    /// The table can't be read.
    pub async fn count(&mut self, table: &'static str, condition: &str) -> Result<i64, sqlx::Error> {
        let count = format!("SELECT COUNT(*) FROM {table} AS t WHERE {condition}");
        raw_sql(AssertSqlSafe(count)).fetch_one(&mut self.db).await?.try_get(0)
    }

    /// Returns the rows of a table with one of these ids in a column, in this order of time. An index on the column is
    /// used if there is one: the ids are converted to its type, not the column to theirs.
    ///
    /// # Errors
    /// The table can't be read.
    pub async fn rows_with(
        &mut self,
        table: &'static str,
        column: &'static str,
        ids: &BTreeSet<i64>,
        order: &'static str,
    ) -> Result<Vec<String>, sqlx::Error> {
        let Some(kind) = self.type_of(table, column) else { return Ok(Vec::new()) };
        let list: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
        if list.is_empty() {
            return Ok(Vec::new());
        }
        let of_column = match kind {
            "int8" | "numeric" => format!("t.{column} IN ({})", list.join(", ")),
            _ => format!("t.{column}::text IN ({})", list.join(", ")),
        };
        let order =
            if self.has_column(table, order) { format!(" ORDER BY t.{order}") } else { String::new() };
        let select = format!("SELECT row_to_json(t)::text FROM {table} AS t WHERE {of_column}{order}");
        let rows = raw_sql(AssertSqlSafe(select)).fetch_all(&mut self.db).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    /// Ends the transaction.
    pub async fn close(self) {
        // It has written nothing: whether the goodbye arrives makes no difference.
        let _ = self.db.close().await;
    }
}
