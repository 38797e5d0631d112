//! What is known of calls, for those who look after them: which ones have been live for too long, and which ones of
//! Dialpad's list are news.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId},
};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::store::{Calls, db::types::Id, on_db};

/// The index of live calls has this order.
const OVERDUE: &str = "SELECT calls.app_id, calls.id, dialpad_call_id, status, calls.updated_at
    FROM calls JOIN apps ON apps.id = calls.app_id
    WHERE status <> 'ended' AND apps.is_active AND (calls.app_id, calls.id) > ($1, $2)
    AND calls.updated_at < CASE status WHEN 'ringing' THEN $3 ELSE $4 END
    ORDER BY calls.app_id, calls.id LIMIT $5";
const OLDEST_LIVE: &str = "SELECT MIN(created_at) FROM calls WHERE app_id = $1 AND status <> 'ended'";
const KNOWN: &str = "SELECT dialpad_call_id, status, voicemail_id IS NOT NULL FROM calls WHERE app_id = ";

/// How many are read at a time.
const PAGE: i64 = 500;

/// A call of which nothing was heard for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverdueCall {
    id: Uuid,
    /// Whose it is.
    pub app: AppId,
    /// Dialpad's name of it.
    pub call: DialpadCallId,
    /// Whether it has only rung so far.
    pub is_ringing: bool,
    /// When anything that is shown last changed, by our clock.
    pub changed_at: DateTime<Utc>,
}

/// What is known of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownCall {
    /// Whether it is known to be over.
    pub is_over: bool,
    /// Whether a voicemail is known.
    pub has_voicemail: bool,
}

type OverdueRow = (Id, Id, i64, String, DateTime<Utc>);

impl Calls<'_> {
    /// A page of the live calls that last changed before these instants, behind the last one of the page before.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn overdue(
        self,
        ringing_since: DateTime<Utc>,
        live_since: DateTime<Utc>,
        behind: Option<&OverdueCall>,
    ) -> Result<Vec<OverdueCall>, StoreError> {
        let nil = Id(Uuid::nil());
        let (app, id) = behind.map_or((nil, nil), |last| (last.app.into(), Id(last.id)));
        let rows: Vec<OverdueRow> = on_db!(self.store, read db => {
            sqlx::query_as(OVERDUE).bind(app).bind(id).bind(ringing_since).bind(live_since).bind(PAGE).fetch_all(db)
                .await
        })?;
        let calls = rows.into_iter().map(|(app, id, call, status, changed_at)| OverdueCall {
            id: id.0,
            app: app.into(),
            call: DialpadCallId(call),
            is_ringing: status == "ringing",
            changed_at,
        });
        Ok(calls.collect())
    }

    /// When the app's oldest live call was first seen.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn oldest_live(self, app: AppId) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (oldest,): (Option<DateTime<Utc>>,) = on_db!(self.store, read db => {
            sqlx::query_as(OLDEST_LIVE).bind(Id::from(app)).fetch_one(db).await
        })?;
        Ok(oldest)
    }

    /// What is known of these calls; those that are not there are not known.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn known(
        self,
        app: AppId,
        calls: &[DialpadCallId],
    ) -> Result<HashMap<DialpadCallId, KnownCall>, StoreError> {
        if calls.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<(i64, String, bool)> = on_db!(self.store, read db => {
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
            (DialpadCallId(call), KnownCall { is_over: status == "ended", has_voicemail })
        });
        Ok(known.collect())
    }
}
