//! The calls that are not over, together with how far the feed had come when they were so: both read in one
//! transaction that sees one moment.

use cti_actors::{
    error::StoreError,
    event::ActiveCall,
    event::ActiveCalls,
    id::{AppId, Seq},
};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::store::{
    Calls,
    db::{
        pool::{at_one_moment, in_time},
        types::Id,
    },
    on_db,
    views::{
        calls::{CallRow, CallView, SELECT},
        listing::{Cursor, Filter, Page},
    },
};

const HEAD: &str = "SELECT last_seq FROM event_feeds WHERE app_id = $1";
/// Said so that the index of live calls is used.
const NOT_OVER: &str = " AND c.status <> 'ended'";
/// How many calls are read at a time.
const PAGE: i64 = 500;

impl Calls<'_> {
    /// A page of an app's calls that are not over, the newest first, and the newest event that is contained in it.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn list_active(
        self,
        app: AppId,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<(Page<CallView>, Seq), StoreError> {
        let filter = Filter::default();
        let (rows, head): (Vec<CallRow>, Option<i64>) = on_db!(self.store, read db => {
            let mut moment = at_one_moment(db).await?;
            let head = sqlx::query_scalar(HEAD).bind(Id::from(app)).fetch_optional(&mut *moment).await?;
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(Id::from(app)).push(NOT_OVER);
            filter.write(&mut query, "c", cursor, limit);
            let rows = query.build_query_as().fetch_all(&mut *moment).await?;
            moment.commit().await?;
            Ok((rows, head))
        })?;
        let page = filter.page(rows.into_iter().map(CallView::from).collect(), limit);
        Ok((page, Seq(head.unwrap_or_default())))
    }

    /// All of an app's calls that are not over, as they are shown, and the newest event that is contained in them.
    pub(crate) async fn all_active(self, app: AppId) -> Result<ActiveCalls, StoreError> {
        // However many there are, each question is answered in time.
        on_db!(self.store, read db in steps => {
            let mut moment = in_time(at_one_moment(db)).await?;
            let head = sqlx::query_scalar(HEAD).bind(Id::from(app)).fetch_optional(&mut *moment);
            let head: Option<i64> = in_time(head).await?;
            let (mut calls, mut last) = (Vec::new(), Uuid::nil());
            loop {
                let mut query = QueryBuilder::new(SELECT);
                query.push_bind(Id::from(app)).push(NOT_OVER);
                query.push(" AND c.id > ").push_bind(Id(last)).push(" ORDER BY c.id LIMIT ").push_bind(PAGE);
                let rows: Vec<CallRow> = in_time(query.build_query_as().fetch_all(&mut *moment)).await?;
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
            moment.commit().await?;
            Ok(ActiveCalls { as_of: Seq(head.unwrap_or_default()), calls })
        })
    }
}
