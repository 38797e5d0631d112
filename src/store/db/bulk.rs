//! Many rows in one statement: arrays through `UNNEST` on PostgreSQL, repeated `VALUES` on SQLite. Units of work are written
//! on SQLite by a statement for each row, see [`super::sqlite_writer`].
//!
//! A [`Rows`] holds columns and writes the table expression for them; the rest of the statement is the same text for
//! both databases, and only this file joins text into SQL. SQLite gets the rows in chunks of few different sizes, so
//! that few distinct statements have to be prepared.

use std::ops::Range;

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::Statement;
use sqlx::{
    AssertSqlSafe, PgConnection, SqliteConnection,
    postgres::PgArguments,
    query::{Query, QueryAs},
    sqlite::SqliteArguments,
};

use super::types::{AnyRow, Id};

/// How many rows one statement has on SQLite; with 40 columns still far below its limit of 32,766 parameters. Two of these
/// add up to most numbers of rows.
const CHUNKS: [usize; 13] = [96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1];

/// Rows, column by column.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// The statement's `$1`, where that is a single value.
    first: Option<FirstParam>,
    columns: Vec<Column>,
    count: usize,
}

/// A single value that a statement takes before the rows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FirstParam {
    Id(Id),
    Time(DateTime<Utc>),
}

macro_rules! columns {
    ($($variant:ident($element:ty, $pg_type:literal)),* $(,)?) => {
        /// One column of values.
        #[derive(Debug)]
        pub(crate) enum Column { $(#[allow(missing_docs)] $variant(Vec<$element>)),* }

        impl Column {
            fn len(&self) -> usize {
                match self { $(Self::$variant(values) => values.len()),* }
            }

            fn pg_type(&self) -> &'static str {
                match self { $(Self::$variant(_) => $pg_type),* }
            }

            /// Binds a whole column.
            fn bind_array<'q, Q: Bind<'q, sqlx::Postgres>>(&'q self, query: Q) -> Q {
                match self { $(Self::$variant(values) => query.with(values)),* }
            }

            /// Binds one cell to a parameter of SQLite.
            fn bind_to(&self, statement: &mut Statement<'_>, number: usize, row: usize) -> rusqlite::Result<()> {
                match self { $(Self::$variant(values) => bind(statement, number, &values[row])),* }
            }

            /// Binds one cell.
            fn bind_cell<'q, Q: Bind<'q, sqlx::Sqlite>>(&'q self, row: usize, query: Q) -> Q {
                match self { $(Self::$variant(values) => query.with(&values[row])),* }
            }
        }
    };
}

columns! {
    Id(Id, "uuid"),
    OptId(Option<Id>, "uuid"),
    Text(String, "text"),
    OptText(Option<String>, "text"),
    Int(i64, "bigint"),
    OptInt(Option<i64>, "bigint"),
    Bool(bool, "boolean"),
    OptBool(Option<bool>, "boolean"),
    Bytes(Vec<u8>, "bytea"),
    Time(DateTime<Utc>, "timestamptz"),
    OptTime(Option<DateTime<Utc>>, "timestamptz"),
    Json(String, "json"),
    OptJson(Option<String>, "json"),
}

/// A value as SQLite stores it, the same as sqlx writes.
pub(crate) trait Cell {
    fn bind_to(&self, statement: &mut Statement<'_>, number: usize) -> rusqlite::Result<()>;
}

/// Binds a value to the parameter with this number.
pub(crate) fn bind(statement: &mut Statement<'_>, number: usize, cell: &impl Cell) -> rusqlite::Result<()> {
    cell.bind_to(statement, number)
}

impl Cell for Id {
    fn bind_to(&self, statement: &mut Statement<'_>, number: usize) -> rusqlite::Result<()> {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        statement.raw_bind_parameter(number, &*self.0.hyphenated().encode_lower(&mut text))
    }
}

impl Cell for DateTime<Utc> {
    fn bind_to(&self, statement: &mut Statement<'_>, number: usize) -> rusqlite::Result<()> {
        statement.raw_bind_parameter(number, self.to_rfc3339_opts(SecondsFormat::AutoSi, false))
    }
}

impl<T: Cell> Cell for Option<T> {
    fn bind_to(&self, statement: &mut Statement<'_>, number: usize) -> rusqlite::Result<()> {
        match self {
            Some(value) => value.bind_to(statement, number),
            None => statement.raw_bind_parameter(number, rusqlite::types::Null),
        }
    }
}

macro_rules! plain_cells {
    ($($type:ty),*) => {$(
        impl Cell for $type {
            fn bind_to(&self, statement: &mut Statement<'_>, number: usize) -> rusqlite::Result<()> {
                statement.raw_bind_parameter(number, self)
            }
        }
    )*};
}

plain_cells!(String, i64, bool, Vec<u8>);

/// The two kinds of sqlx query that take arguments.
pub(crate) trait Bind<'q, DB: sqlx::Database>: Sized {
    fn with<T: 'q + sqlx::Encode<'q, DB> + sqlx::Type<DB>>(self, value: T) -> Self;
}

impl<'q> Bind<'q, sqlx::Postgres> for Query<'q, sqlx::Postgres, PgArguments> {
    fn with<T: 'q + sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>>(self, value: T) -> Self {
        self.bind(value)
    }
}

impl<'q> Bind<'q, sqlx::Sqlite> for Query<'q, sqlx::Sqlite, SqliteArguments> {
    fn with<T: 'q + sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(self, value: T) -> Self {
        self.bind(value)
    }
}

impl<'q, O> Bind<'q, sqlx::Postgres> for QueryAs<'q, sqlx::Postgres, O, PgArguments> {
    fn with<T: 'q + sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>>(self, value: T) -> Self {
        self.bind(value)
    }
}

impl<'q, O> Bind<'q, sqlx::Sqlite> for QueryAs<'q, sqlx::Sqlite, O, SqliteArguments> {
    fn with<T: 'q + sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(self, value: T) -> Self {
        self.bind(value)
    }
}

impl Rows {
    /// Makes rows of these columns, which must have the same length.
    pub(crate) fn of(columns: Vec<Column>) -> Self {
        let count = columns.first().map_or(0, Column::len);
        debug_assert!(columns.iter().all(|column| column.len() == count), "columns of unequal length");
        Self { first: None, columns, count }
    }

    /// Puts a single value before the rows: it is `$1`.
    pub(crate) fn after(self, first: FirstParam) -> Self {
        Self { first: Some(first), ..self }
    }

    /// Runs a statement over all rows and returns how many it changed. `head` and `tail` enclose the rows.
    pub(crate) async fn write_postgres(
        &self,
        db: &mut PgConnection,
        head: &'static str,
        tail: &'static str,
    ) -> Result<u64, sqlx::Error> {
        if self.count == 0 {
            return Ok(0);
        }
        let query = self.bind_arrays(sqlx::query(self.arrays(head, tail)));
        query.execute(db).await.map(|done| done.rows_affected())
    }

    /// Runs a statement that returns rows.
    pub(crate) async fn fetch_postgres<O: AnyRow>(
        &self,
        db: &mut PgConnection,
        head: &'static str,
        tail: &'static str,
    ) -> Result<Vec<O>, sqlx::Error> {
        if self.count == 0 {
            return Ok(Vec::new());
        }
        self.bind_arrays(sqlx::query_as(self.arrays(head, tail))).fetch_all(db).await
    }

    /// Does what [`Rows::fetch_postgres`] does, on SQLite.
    pub(crate) async fn fetch_sqlite<O: AnyRow>(
        &self,
        db: &mut SqliteConnection,
        head: &'static str,
        tail: &'static str,
    ) -> Result<Vec<O>, sqlx::Error> {
        let mut rows = Vec::new();
        for (start, count) in chunks(self.count) {
            let query = self.bind_cells(start..start + count, sqlx::query_as(self.values(head, count, tail)));
            rows.extend(query.fetch_all(&mut *db).await?);
        }
        Ok(rows)
    }

    /// Binds the rows' parameters, in the order in which they are numbered.
    pub(crate) fn bind_arrays<'q, Q: Bind<'q, sqlx::Postgres>>(&'q self, query: Q) -> Q {
        let query = match self.first {
            Some(FirstParam::Id(id)) => query.with(id),
            Some(FirstParam::Time(time)) => query.with(time),
            None => query,
        };
        self.columns.iter().fold(query, |query, column| column.bind_array(query))
    }

    fn bind_cells<'q, Q: Bind<'q, sqlx::Sqlite>>(&'q self, rows: Range<usize>, query: Q) -> Q {
        let mut query = match self.first {
            Some(FirstParam::Id(id)) => query.with(id),
            Some(FirstParam::Time(time)) => query.with(time),
            None => query,
        };
        for row in rows {
            query = self.columns.iter().fold(query, |query, column| column.bind_cell(row, query));
        }
        query
    }

    /// Writes a statement for PostgreSQL: `SELECT * FROM UNNEST($1::uuid[], …)`.
    fn arrays(&self, head: &str, tail: &str) -> AssertSqlSafe<String> {
        let first = if self.first.is_some() { 2 } else { 1 };
        AssertSqlSafe(format!("{head} SELECT * FROM {} {tail}", self.unnest(first)))
    }

    /// Writes the rows as a table of a larger statement for PostgreSQL, with parameters from the number `first` on.
    pub(crate) fn unnest(&self, first: usize) -> String {
        let arrays: Vec<String> = (first..)
            .zip(&self.columns)
            .map(|(number, column)| format!("${number}::{}[]", column.pg_type()))
            .collect();
        format!("UNNEST({})", arrays.join(", "))
    }

    /// Returns how many parameters the rows take on PostgreSQL.
    pub(crate) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Adds a column.
    pub(crate) fn with(mut self, column: Column) -> Self {
        debug_assert!(column.len() == self.count, "columns of unequal length");
        self.columns.push(column);
        self
    }

    /// Runs a statement on SQLite once for each row.
    pub(crate) fn write_sqlite(
        &self,
        db: &rusqlite::Connection,
        head: &str,
        tail: &str,
    ) -> rusqlite::Result<()> {
        self.write_sqlite_or(db, head, [tail])
    }

    /// Runs the first of several statements on SQLite that changes something, once for each row.
    pub(crate) fn write_sqlite_or<const N: usize>(
        &self,
        db: &rusqlite::Connection,
        head: &str,
        tails: [&str; N],
    ) -> rusqlite::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let mut statements = Vec::with_capacity(N);
        for tail in tails {
            statements.push(db.prepare_cached(&self.values(head, 1, tail).0)?);
        }
        for row in 0..self.count {
            for statement in &mut statements {
                self.bind_row(statement, row)?;
                if statement.raw_execute()? > 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    fn bind_row(&self, statement: &mut Statement<'_>, row: usize) -> rusqlite::Result<()> {
        let mut number = 1;
        match &self.first {
            Some(FirstParam::Id(id)) => bind(statement, number, id)?,
            Some(FirstParam::Time(time)) => bind(statement, number, time)?,
            None => number = 0,
        }
        for column in &self.columns {
            number += 1;
            column.bind_to(statement, number, row)?;
        }
        Ok(())
    }

    /// Writes a statement for SQLite: `VALUES (?, …), (…)`. The parameters have no numbers, because SQLite looks
    /// numbered ones up in a list, one after the other: with a thousand of them that took half of the writer's time.
    fn values(&self, head: &str, rows: usize, tail: &str) -> AssertSqlSafe<String> {
        let head = head.replacen("$1", "?", 1);
        let row = format!("({})", vec!["?"; self.columns.len()].join(", "));
        AssertSqlSafe(format!("{head} VALUES {} {tail}", vec![row; rows].join(", ")))
    }
}

/// Splits `count` rows into chunks, the largest first, each given by its start and length.
fn chunks(count: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= count - start)?;
        let chunk = (start, size);
        start += size;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_row_once_in_few_sizes() {
        assert_eq!(chunks(0).count(), 0);
        assert_eq!(
            chunks(96 + 96 + 29).collect::<Vec<_>>(),
            [(0, 96), (96, 96), (192, 24), (216, 4), (220, 1)]
        );
        assert!((1..=96).all(|count| chunks(count).count() <= 4));
    }
}
