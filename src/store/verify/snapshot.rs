//! A transaction that sees one snapshot, of either database.

use sqlx::{PgConnection, SqliteConnection};
use uuid::Uuid;

use crate::store::db::{
    bulk::Rows,
    types::{AnyRow, Id},
};

/// An argument of a statement.
#[derive(Clone, Copy)]
pub(in crate::store) enum Argument {
    Id(Id),
    Int(i64),
}

/// Queries of the snapshot. They have no time limit: nobody waits for them.
pub(in crate::store) trait Snapshot {
    /// Returns the rows of a statement.
    async fn rows<T: AnyRow>(
        &mut self,
        statement: &'static str,
        arguments: &[Argument],
    ) -> Result<Vec<T>, sqlx::Error>;

    /// Returns the rows of a statement about a list of values.
    async fn listed<T: AnyRow>(
        &mut self,
        head: &'static str,
        tail: &'static str,
        listed: Rows,
    ) -> Result<Vec<T>, sqlx::Error>;
}

/// Reads rows of an app page by page, in the order of their ids. The statement takes the app, the last id and the size.
pub(in crate::store) struct Pages {
    statement: &'static str,
    app: Id,
    last: Id,
    size: i64,
}

impl Pages {
    pub(in crate::store) fn of(app: Id, statement: &'static str, size: i64) -> Self {
        Self { statement, app, last: Id(Uuid::nil()), size }
    }

    /// Returns the next page, which is empty after the last row.
    pub(in crate::store) async fn next<T: AnyRow>(
        &mut self,
        snapshot: &mut impl Snapshot,
        id: impl Fn(&T) -> Id,
    ) -> Result<Vec<T>, sqlx::Error> {
        let page = [Argument::Id(self.app), Argument::Id(self.last), Argument::Int(self.size)];
        let rows = snapshot.rows(self.statement, &page).await?;
        if let Some(last) = rows.last() {
            self.last = id(last);
        }
        Ok(rows)
    }
}

macro_rules! snapshot_of {
    ($connection:ty, $fetch:ident) => {
        impl Snapshot for $connection {
            async fn rows<T: AnyRow>(
                &mut self,
                statement: &'static str,
                arguments: &[Argument],
            ) -> Result<Vec<T>, sqlx::Error> {
                let query =
                    arguments.iter().fold(sqlx::query_as(statement), |query, argument| match argument {
                        Argument::Id(id) => query.bind(*id),
                        Argument::Int(number) => query.bind(*number),
                    });
                query.fetch_all(self).await
            }

            async fn listed<T: AnyRow>(
                &mut self,
                head: &'static str,
                tail: &'static str,
                listed: Rows,
            ) -> Result<Vec<T>, sqlx::Error> {
                listed.$fetch(self, head, tail).await
            }
        }
    };
}

snapshot_of!(PgConnection, fetch_postgres);
snapshot_of!(SqliteConnection, fetch_sqlite);
