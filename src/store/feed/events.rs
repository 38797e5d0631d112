//! The events of an app, in the order of `seq`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    event::{ActiveCalls, Frame},
    id::{AppId, DialpadCallId, Epoch, Seq},
    model::number::Region,
    ports::{Bounds, EventLog, GapTimes},
};

use crate::store::{
    FeedStore, Store,
    db::{
        bulk::{Column, Rows},
        types::Id,
    },
    on_db,
};

const EPOCH: &str = "SELECT epoch FROM feed_epoch";
const RENEW_EPOCH: &str = "UPDATE feed_epoch SET epoch = $2 WHERE epoch = $1";
const BOUNDS: &str =
    "SELECT epoch, oldest_seq, last_seq FROM feed_epoch LEFT JOIN event_feeds ON app_id = $1";
/// The time of the newest event that is not after the gap's first one and still known, and that of the gap's last one.
const GAP_TIMES: &str = "SELECT (SELECT published_at FROM expired_event_times
    WHERE app_id = $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1), newest_expired_at FROM event_feeds WHERE app_id = $1";
/// A row is on the page while the rows before it have fewer than `$4` bytes together. The innermost limit comes first,
/// so that the whole feed is never summed up.
macro_rules! page {
    () => {
        "SELECT seq, type, dialpad_user_id, body, SUM(OCTET_LENGTH(body)) OVER (ORDER BY seq) AS bytes FROM (
        SELECT seq, type, dialpad_user_id, body FROM events
        WHERE app_id = $1 AND seq > $2 ORDER BY seq LIMIT $3) AS rows"
    };
}
const PAGE: &str = concat!(
    "SELECT seq, type, dialpad_user_id, body FROM (",
    page!(),
    ") AS page WHERE bytes - OCTET_LENGTH(body) < $4 ORDER BY seq"
);
/// The same and the epoch, in one statement. Without events it is one row.
const TAIL: &str = concat!(
    "SELECT epoch, page.seq, page.type, page.dialpad_user_id, page.body FROM feed_epoch LEFT JOIN (",
    page!(),
    ") AS page ON bytes - OCTET_LENGTH(body) < $4 ORDER BY page.seq"
);
const HEADS: &str = "SELECT app_id, epoch, last_seq FROM feed_epoch CROSS JOIN event_feeds WHERE app_id IN (";
const LIST_TAIL: &str = ")";
const OF_CALL: &str = "SELECT seq, type, dialpad_user_id, body FROM events
    WHERE app_id = $1 AND dialpad_call_id = $2 AND seq > $3 ORDER BY seq LIMIT $4";

#[derive(sqlx::FromRow)]
struct EventRow {
    seq: i64,
    r#type: String,
    dialpad_user_id: Option<i64>,
    body: String,
}

/// A row of a page with the epoch.
type TailRow = (Id, Option<i64>, Option<String>, Option<i64>, Option<String>);

impl TryFrom<EventRow> for Frame {
    type Error = StoreError;

    fn try_from(row: EventRow) -> Result<Self, StoreError> {
        Frame::stored(Seq(row.seq), &row.r#type, row.dialpad_user_id, &row.body)
    }
}

impl FeedStore<'_> {
    /// Returns the events of one call after a cursor, at most `limit`.
    pub async fn of_call(
        self,
        app: AppId,
        call: DialpadCallId,
        after: Seq,
        limit: i64,
    ) -> Result<Vec<Frame>, StoreError> {
        let rows: Vec<EventRow> = on_db!(self.store, read db => {
            sqlx::query_as(OF_CALL).bind(Id::from(app)).bind(call.0).bind(after.0).bind(limit).fetch_all(db).await
        })?;
        rows.into_iter().map(Frame::try_from).collect()
    }

    /// Returns the epoch of the feeds.
    pub async fn epoch(self) -> Result<Epoch, StoreError> {
        let epoch: Id = on_db!(self.store, read db => sqlx::query_scalar(EPOCH).fetch_one(db).await)?;
        Ok(epoch.into())
    }
}

#[async_trait]
impl EventLog for Store {
    async fn region(&self, app: AppId) -> Result<Region, StoreError> {
        self.apps().region(app).await
    }

    async fn bounds(&self, app: AppId) -> Result<Bounds, StoreError> {
        let row: (Id, Option<i64>, Option<i64>) =
            on_db!(self, read db => sqlx::query_as(BOUNDS).bind(Id::from(app)).fetch_one(db).await)?;
        let (epoch, oldest, head) = row;
        Ok(Bounds { epoch: epoch.into(), oldest: Seq(oldest.unwrap_or(1)), head: Seq(head.unwrap_or(0)) })
    }

    async fn gap_times(&self, app: AppId, first: Seq) -> Result<GapTimes, StoreError> {
        let row: Option<(Option<DateTime<Utc>>, Option<DateTime<Utc>>)> = on_db!(self, read db => {
            sqlx::query_as(GAP_TIMES).bind(Id::from(app)).bind(first.0).fetch_optional(db).await
        })?;
        let (from_at, until_at) = row.unwrap_or_default();
        Ok(GapTimes { from_at, until_at })
    }

    async fn heads(&self, apps: &[AppId]) -> Result<Vec<(AppId, Epoch, Seq)>, StoreError> {
        let apps = Column::Id(apps.iter().map(|app| Id::from(*app)).collect());
        let rows: Vec<(Id, Id, i64)> = self.fetch_listed(HEADS, LIST_TAIL, Rows::of(vec![apps])).await?;
        Ok(rows.into_iter().map(|(app, epoch, head)| (app.into(), epoch.into(), Seq(head))).collect())
    }

    async fn renew_epoch(&self, known: Epoch) -> Result<Epoch, StoreError> {
        let next = Epoch::generate();
        let epoch: Id = on_db!(self, write db => {
            sqlx::query(RENEW_EPOCH).bind(Id::from(known)).bind(Id::from(next)).execute(db).await?;
            sqlx::query_scalar(EPOCH).fetch_one(db).await
        })?;
        Ok(epoch.into())
    }

    async fn active_calls(&self, app: AppId) -> Result<ActiveCalls, StoreError> {
        self.calls().all_active(app).await
    }

    async fn page_within(
        &self,
        app: AppId,
        after: Seq,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Frame>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
        let rows: Vec<EventRow> = on_db!(self, read db => {
            sqlx::query_as(PAGE).bind(Id::from(app)).bind(after.0).bind(limit).bind(max_bytes).fetch_all(db).await
        })?;
        rows.into_iter().map(Frame::try_from).collect()
    }

    async fn tail(
        &self,
        app: AppId,
        after: Seq,
        limit: usize,
        max_bytes: usize,
    ) -> Result<(Epoch, Vec<Frame>), StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
        let rows: Vec<TailRow> = on_db!(self, read db => {
            sqlx::query_as(TAIL).bind(Id::from(app)).bind(after.0).bind(limit).bind(max_bytes).fetch_all(db).await
        })?;
        let epoch = rows.first().map(|row| row.0.into()).unwrap_or_default();
        let frames = rows.into_iter().filter_map(|(_, seq, event_type, dialpad_user_id, body)| {
            Some(EventRow { seq: seq?, r#type: event_type?, dialpad_user_id, body: body? }.try_into())
        });
        Ok((epoch, frames.collect::<Result<_, StoreError>>()?))
    }
}
