//! Calls, as recovery looks at them: which have been live for too long, and which of Dialpad's list are already known.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId},
    model::call::Status,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::store::{
    Calls,
    db::types::{Id, Word},
    on_db,
};

/// In the order of the index of live calls.
const OVERDUE: &str = "SELECT calls.app_id, calls.id, dialpad_call_id, status, calls.updated_at
    FROM calls JOIN apps ON apps.id = calls.app_id
    WHERE ended_updated_at IS NULL AND apps.is_active AND (calls.app_id, calls.id) > ($1, $2)
    AND (calls.updated_at < CASE status WHEN 'ringing' THEN $3 ELSE $4 END OR calls.updated_at > $6)
    ORDER BY calls.app_id, calls.id LIMIT $5";
const OLDEST_LIVE: &str = "SELECT MIN(created_at) FROM calls WHERE app_id = $1 AND ended_updated_at IS NULL";
const KNOWN: &str = "SELECT dialpad_call_id, status, voicemail_id IS NOT NULL FROM calls WHERE app_id = ";

/// How far the clocks of processes may differ.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(1);
/// How many calls are read at a time.
const PAGE: i64 = 500;

/// A live call that has not changed for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverdueCall {
    id: Uuid,
    /// The app.
    pub app: AppId,
    /// Dialpad's id of the call.
    pub call: DialpadCallId,
    /// Whether it has only rung so far.
    pub is_ringing: bool,
    /// When it last changed, by the server's clock.
    pub changed_at: DateTime<Utc>,
}

/// What the server knows of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownCall {
    /// Whether it has ended.
    pub is_over: bool,
    /// Whether it has a voicemail.
    pub has_voicemail: bool,
}

type OverdueRow = (Id, Id, i64, Word<Status>, DateTime<Utc>);

impl Calls<'_> {
    /// Returns a page of the live calls that last changed before these instants, after the last one of the page before.
    /// Those that changed in the future are among them: they were stored while the clock was ahead.
    pub async fn overdue(
        self,
        ringing_since: DateTime<Utc>,
        live_since: DateTime<Utc>,
        after: Option<&OverdueCall>,
    ) -> Result<Vec<OverdueCall>, StoreError> {
        let nil = Id(Uuid::nil());
        let in_future = self.store.now() + CLOCK_TOLERANCE;
        let (app, id) = after.map_or((nil, nil), |last| (last.app.into(), Id(last.id)));
        let rows: Vec<OverdueRow> = on_db!(self.store, read db => {
            sqlx::query_as(OVERDUE).bind(app).bind(id).bind(ringing_since).bind(live_since).bind(PAGE)
                .bind(in_future).fetch_all(db)
                .await
        })?;
        let calls = rows.into_iter().map(|(app, id, call, status, changed_at)| OverdueCall {
            id: id.0,
            app: app.into(),
            call: DialpadCallId(call),
            is_ringing: Status::from(status) == Status::Ringing,
            changed_at,
        });
        Ok(calls.collect())
    }

    /// Returns when the app's oldest live call was created.
    pub async fn oldest_live(self, app: AppId) -> Result<Option<DateTime<Utc>>, StoreError> {
        on_db!(self.store, read db => sqlx::query_scalar(OLDEST_LIVE).bind(Id::from(app)).fetch_one(db).await)
    }

    /// Returns what is known of these calls. Unknown ones are left out.
    pub async fn known(
        self,
        app: AppId,
        calls: &[DialpadCallId],
    ) -> Result<HashMap<DialpadCallId, KnownCall>, StoreError> {
        if calls.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<(i64, Word<Status>, bool)> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(KNOWN);
            query.push_bind(Id::from(app)).push(" AND dialpad_call_id IN (");
            let mut list = query.separated(", ");
            for call in calls {
                list.push_bind(call.0);
            }
            query.push(")");
            query.build_query_as().fetch_all(db).await
        })?;
        let known = rows.into_iter().map(|(call, status, has_voicemail)| {
            (DialpadCallId(call), KnownCall { is_over: Status::from(status) == Status::Ended, has_voicemail })
        });
        Ok(known.collect())
    }
}
