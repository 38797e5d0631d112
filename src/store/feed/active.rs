//! The snapshot of an app's active calls, with the last event that it includes: both read in one transaction that sees
//! one snapshot of the database.

use cti_actors::{
    error::StoreError,
    event::ActiveCall,
    event::ActiveCalls,
    id::{AppId, Epoch, Seq},
};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::store::{
    Calls,
    db::{
        pool::{in_time, read_snapshot},
        types::Id,
    },
    on_db,
    views::{
        calls::{CallRow, CallView, SELECT},
        listing::{Cursor, Filter, Page},
    },
};

const HEAD: &str = "SELECT epoch, last_seq FROM feed_epoch LEFT JOIN event_feeds ON app_id = $1";
/// Written so that the index of live calls is used.
const NOT_ENDED: &str = " AND c.ended_updated_at IS NULL";
const COUNT: &str = "SELECT COUNT(*) FROM calls c WHERE c.app_id = ";
/// How many calls are read at a time.
const PAGE: i64 = 500;

impl Calls<'_> {
    /// Returns a page of an app's active calls, newest first, and the epoch and the last event that it includes.
    pub async fn list_active(
        self,
        app: AppId,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<(Page<CallView>, Epoch, Seq), StoreError> {
        let filter = Filter::default();
        let before = Id(cursor.map_or(Uuid::max(), |cursor| cursor.id));
        let count = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let (rows, (epoch, head)): (Vec<CallRow>, (Id, Option<i64>)) = on_db!(self.store, read db => {
            let mut snapshot = read_snapshot(db).await?;
            let head = sqlx::query_as(HEAD).bind(Id::from(app)).fetch_one(&mut *snapshot).await?;
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(Id::from(app)).push(NOT_ENDED);
            query.push(" AND c.id < ").push_bind(before).push(" ORDER BY c.id DESC LIMIT ").push_bind(count);
            let rows = query.build_query_as().fetch_all(&mut *snapshot).await?;
            snapshot.commit().await?;
            Ok((rows, head))
        })?;
        let page = filter.page(rows.into_iter().map(CallView::from).collect(), limit);
        Ok((page, epoch.into(), Seq(head.unwrap_or_default())))
    }

    /// Counts an app's active calls.
    pub async fn count_active(self, app: AppId) -> Result<i64, StoreError> {
        on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(COUNT);
            query.push_bind(Id::from(app)).push(NOT_ENDED);
            query.build_query_scalar().fetch_one(db).await
        })
    }

    /// Returns all active calls of an app as JSON, and the last event that they include.
    pub(crate) async fn all_active(self, app: AppId) -> Result<ActiveCalls, StoreError> {
        // There may be many calls: each query has its own time limit.
        on_db!(self.store, read db in steps => {
            let mut snapshot = in_time(read_snapshot(db)).await?;
            let head = sqlx::query_as(HEAD).bind(Id::from(app)).fetch_one(&mut *snapshot);
            let (epoch, head): (Id, Option<i64>) = in_time(head).await?;
            let mut calls = Vec::new();
            let mut last = Uuid::nil();
            loop {
                let mut query = QueryBuilder::new(SELECT);
                query.push_bind(Id::from(app)).push(NOT_ENDED);
                query.push(" AND c.id > ").push_bind(Id(last)).push(" ORDER BY c.id LIMIT ").push_bind(PAGE);
                let rows: Vec<CallRow> = in_time(query.build_query_as().fetch_all(&mut *snapshot)).await?;
                let count = rows.len();
                for call in rows.into_iter().map(CallView::from) {
                    last = call.id;
                    let text = serde_json::to_string(&call).map_err(|error| sqlx::Error::Encode(error.into()))?;
                    calls.push(ActiveCall::new(call.dialpad_user_id, text));
                }
                if i64::try_from(count).is_ok_and(|count| count < PAGE) {
                    break;
                }
            }
            snapshot.commit().await?;
            Ok(ActiveCalls { epoch: epoch.into(), as_of: Seq(head.unwrap_or_default()), calls })
        })
    }
}
