//! Calls, as a CRM reads them. The engine writes them ([`crate::store::ledger`]).

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    event::schema::DialpadId,
    id::{AppId, DialpadCallId},
    model::call::{Direction, Leg, Outcome, Status},
};
use serde::Serialize;
use serde_json::Value;
use sqlx::QueryBuilder;
use utoipa::ToSchema;
use uuid::Uuid;

use super::listing::{Audit, Cursor, Filter, Page, Paged};
use crate::store::{
    Calls,
    db::types::{Id, NumberOrText, OptWord, Word},
    on_db,
};

pub(crate) const SELECT: &str =
    "SELECT c.id, c.app_id, c.dialpad_call_id, c.direction, c.from_number, c.to_number, c.status,
    c.dialpad_state, c.outcome, c.dialpad_user_id, m.crm_user_id, c.ringing_at, c.answered_at, c.ended_at, c.duration_seconds,
    c.talk_seconds, c.hold_seconds, c.recording_url, c.is_voicemail, c.leg,
    COALESCE(c.interaction_id, c.id) AS interaction_id, c.answered_elsewhere, c.created_at, c.updated_at,
    v.id AS voicemail_id, v.dialpad_voicemail_id, v.recording_url AS voicemail_url, v.transcript,
    v.duration_seconds AS voicemail_seconds, v.received_at, v.deleted_at IS NOT NULL AS voicemail_was_deleted
    FROM calls c
    LEFT JOIN voicemails v ON v.id = c.voicemail_id
    LEFT JOIN dialpad_user_mappings m ON m.app_id = c.app_id AND m.dialpad_user_id = c.dialpad_user_id
    WHERE c.app_id = ";

/// Narrows the list of calls.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    /// Only calls with one of these statuses; empty: all calls.
    pub statuses: Vec<Status>,
    /// Only the legs of this interaction.
    pub interaction_id: Option<Uuid>,
    /// What every list can be narrowed by.
    pub common: Filter,
}

/// A call.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
#[schema(as = Call)]
pub struct CallView {
    /// The server's id.
    #[sqlx(try_from = "Id")]
    pub id: Uuid,
    /// The app.
    #[sqlx(try_from = "Id")]
    pub app_id: Uuid,
    /// Dialpad's id.
    #[schema(value_type = DialpadId)]
    pub dialpad_call_id: i64,
    /// The same id, under the name that events use.
    #[sqlx(rename = "dialpad_call_id")]
    #[schema(value_type = DialpadId)]
    pub call_id: i64,
    /// The interaction: the human call of which this is one leg.
    #[sqlx(try_from = "Id")]
    pub interaction_id: Uuid,
    /// `user`, `group` or `direct`; null where Dialpad did not say.
    #[sqlx(try_from = "OptWord<Leg>")]
    pub leg: Option<Leg>,
    /// `inbound` or `outbound`; null where no webhook said.
    #[sqlx(try_from = "OptWord<Direction>")]
    pub direction: Option<Direction>,
    /// The calling number.
    pub from_number: Option<String>,
    /// The called number.
    pub to_number: Option<String>,
    /// `ringing`, `active`, `held` or `ended`.
    #[sqlx(try_from = "Word<Status>")]
    pub status: Status,
    /// The newest live state in Dialpad's own words (`ringing`, `queued`, `parked` …), by the time of the webhooks. Null in
    /// the workflow format.
    pub dialpad_state: Option<String>,
    /// `answered`, `missed`, `voicemail`, `rejected` or `abandoned`; null until the call has ended.
    #[sqlx(try_from = "OptWord<Outcome>")]
    pub outcome: Option<Outcome>,
    /// The Dialpad user whose leg it is.
    #[schema(value_type = Option<DialpadId>)]
    pub dialpad_user_id: Option<i64>,
    /// The CRM's id of that user.
    pub crm_user_id: Option<String>,
    /// When it began to ring.
    pub ringing_at: Option<DateTime<Utc>>,
    /// When a person answered.
    pub answered_at: Option<DateTime<Utc>>,
    /// The same instant, under the name that events use.
    #[sqlx(rename = "answered_at")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended. If only a recording is known of the call: when that arrived.
    pub ended_at: Option<DateTime<Utc>>,
    /// Its whole length.
    pub duration_seconds: Option<i64>,
    /// The answered time without holds. Null before the end, and if only a recording is known of the call.
    pub talk_seconds: Option<i64>,
    /// All holds together.
    pub hold_seconds: Option<i64>,
    /// Where the recording is.
    pub recording_url: Option<String>,
    /// Whether it ended unanswered because the call was answered on another leg.
    pub answered_elsewhere: bool,
    /// Whether the caller was sent to voicemail.
    pub is_voicemail: bool,
    /// The voicemail that the caller left.
    #[sqlx(skip)]
    pub voicemail: Option<VoicemailOfCall>,
    /// Whether there was a voicemail that was deleted.
    #[serde(skip)]
    pub voicemail_was_deleted: bool,
    /// When the server first heard of it.
    pub created_at: DateTime<Utc>,
    /// When anything here last changed.
    pub updated_at: DateTime<Utc>,
}

/// The voicemail of a call.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct VoicemailOfCall {
    /// The server's id.
    #[sqlx(rename = "voicemail_id", try_from = "Id")]
    pub id: Uuid,
    /// The same id, under the name that events use.
    #[sqlx(try_from = "Id")]
    pub voicemail_id: Uuid,
    /// Dialpad's id.
    #[sqlx(try_from = "NumberOrText")]
    #[schema(value_type = Option<DialpadId>)]
    pub dialpad_voicemail_id: Option<Value>,
    /// Where the audio is.
    #[sqlx(rename = "voicemail_url")]
    pub recording_url: Option<String>,
    /// The transcript of the audio.
    pub transcript: Option<String>,
    /// The length of the audio.
    #[sqlx(rename = "voicemail_seconds")]
    pub duration_seconds: Option<i64>,
    /// When it was left.
    pub received_at: Option<DateTime<Utc>>,
}

/// A call with the voicemail that was joined to it.
pub(crate) struct CallRow(CallView);

impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for CallRow
where
    CallView: sqlx::FromRow<'r, R>,
    VoicemailOfCall: sqlx::FromRow<'r, R>,
    Option<Id>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    &'static str: sqlx::ColumnIndex<R>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let mut call = CallView::from_row(row)?;
        let has_voicemail = row.try_get::<Option<Id>, _>("voicemail_id")?.is_some();
        if has_voicemail && !call.voicemail_was_deleted {
            call.voicemail = Some(VoicemailOfCall::from_row(row)?);
        }
        Ok(Self(call))
    }
}

impl From<CallRow> for CallView {
    fn from(row: CallRow) -> Self {
        row.0
    }
}

impl Paged for CallView {
    fn audit(&self) -> Audit {
        Audit { id: self.id, created_at: self.created_at, updated_at: self.updated_at }
    }
}

/// What a URL calls a call.
#[derive(Clone, Copy, Debug)]
pub enum CallRef {
    /// The server's id.
    Ours(Uuid),
    /// Dialpad's id.
    Dialpads(DialpadCallId),
}

impl Calls<'_> {
    /// Returns a page of an app's calls.
    pub async fn list(
        self,
        app: AppId,
        filter: &CallFilter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<CallView>, StoreError> {
        let rows: Vec<CallRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(Id::from(app));
            if !filter.statuses.is_empty() {
                query.push(" AND c.status IN (");
                let mut list = query.separated(", ");
                for status in &filter.statuses {
                    list.push_bind(status.as_str());
                }
                query.push(")");
                if !filter.statuses.contains(&Status::Ended) {
                    // Written out so that the index of live calls can be used.
                    query.push(" AND c.status <> 'ended'");
                }
            }
            if let Some(interaction) = filter.interaction_id {
                query.push(" AND ((c.interaction_id IS NULL AND c.id = ").push_bind(Id(interaction));
                query.push(") OR (c.interaction_id IS NOT NULL AND c.interaction_id = ");
                query.push_bind(Id(interaction)).push("))");
            }
            filter.common.write(&mut query, "c", cursor, limit);
            query.build_query_as().fetch_all(db).await
        })?;
        Ok(filter.common.page(rows.into_iter().map(CallView::from).collect(), limit))
    }

    /// Returns one call.
    pub async fn find(self, app: AppId, call: CallRef) -> Result<Option<CallView>, StoreError> {
        let row: Option<CallRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(Id::from(app));
            match call {
                CallRef::Ours(id) => query.push(" AND c.id = ").push_bind(Id(id)),
                CallRef::Dialpads(id) => query.push(" AND c.dialpad_call_id = ").push_bind(id.0),
            };
            query.build_query_as().fetch_optional(db).await
        })?;
        Ok(row.map(Into::into))
    }

    /// Returns all legs of these interactions, oldest first.
    pub async fn of_interactions(
        self,
        app: AppId,
        interactions: &[Uuid],
    ) -> Result<Vec<CallView>, StoreError> {
        if interactions.is_empty() {
            return Ok(Vec::new());
        }
        let mut rows: Vec<CallRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new("");
            // One statement for each way: the leg that is its own interaction, and those that were joined to it.
            for (number, way) in
                ["c.interaction_id IS NULL AND c.id IN (", "c.interaction_id IS NOT NULL AND c.interaction_id IN ("]
                    .into_iter()
                    .enumerate()
            {
                if number > 0 {
                    query.push(" UNION ALL ");
                }
                query.push(SELECT).push_bind(Id::from(app)).push(" AND ").push(way);
                let mut list = query.separated(", ");
                for interaction in interactions {
                    list.push_bind(Id(*interaction));
                }
                query.push(")");
            }
            query.build_query_as().fetch_all(db).await
        })?;
        rows.sort_by_key(|row| row.0.id);
        Ok(rows.into_iter().map(Into::into).collect())
    }
}
