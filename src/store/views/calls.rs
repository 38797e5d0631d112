//! Calls, as a CRM reads them. The engine writes them ([`crate::store::ledger`]).

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    event::{RecordingBody, schema::DialpadId},
    id::{AppId, DialpadCallId},
    model::call::{Direction, Leg, Outcome, Status},
};
use serde::Serialize;
use serde_json::Value;
use sqlx::QueryBuilder;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    listing::{Audit, Cursor, Filter, Page, Paged},
    plan::{Listed, PageQuery, Part},
};
use crate::store::{
    Calls,
    db::types::{Id, JsonText, NumberOrText, OptWord, Word},
    on_db,
};

pub(crate) const SELECT: &str =
    "SELECT c.id, c.app_id, c.dialpad_call_id, c.direction, c.from_number, c.to_number, c.from_e164,
    c.to_e164, c.contact_name, c.target_id, c.target_name, c.is_internal, c.callback_requested,
    CAST(c.custom_data AS TEXT) AS custom_data, CAST(c.recordings AS TEXT) AS recordings, c.status,
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
    /// Only calls that ended like this.
    pub outcome: Option<Outcome>,
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
    /// The calling number in E.164 form; null if it is no phone number.
    pub from_e164: Option<String>,
    /// The called number in E.164 form; null if it is no phone number.
    pub to_e164: Option<String>,
    /// The name of the person on the other side.
    pub contact_name: Option<String>,
    /// The user or group of the leg: a line, a department, a queue.
    #[schema(value_type = Option<DialpadId>)]
    pub target_id: Option<i64>,
    /// The name of the user or group of the leg.
    pub target_name: Option<String>,
    /// Whether both sides are in the company; null where no webhook said.
    pub is_internal: Option<bool>,
    /// Whether the caller asked the queue to be called back; null where no webhook said.
    pub callback_requested: Option<bool>,
    /// What was passed when the call was placed, as it came.
    #[sqlx(try_from = "JsonText")]
    pub custom_data: Option<Value>,
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
    /// All parts of the recording: the conversation's, then the administrators' copies, each in the order of time.
    #[sqlx(try_from = "JsonText")]
    pub recordings: Vec<RecordingBody>,
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

/// Returns the parts of the table with calls of these statuses, and of this interaction. Only ended calls are indexed: the
/// others are few, as are the legs of one interaction.
fn parts(statuses: &[Status], interaction: Option<Uuid>) -> Vec<Part> {
    let is_listed = |status: &Status| statuses.is_empty() || statuses.contains(status);
    let mut parts = Vec::new();
    if is_listed(&Status::Ended) {
        parts.push(Part {
            condition: "ended_updated_at IS NOT NULL".to_owned(),
            is_indexed: true,
            changed: "ended_updated_at",
        });
    }
    let live: Vec<String> = [Status::Ringing, Status::Active, Status::Held]
        .iter()
        .filter(|status| is_listed(status))
        .map(|status| format!("'{}'", status.as_str()))
        .collect();
    if !live.is_empty() {
        let condition = format!("ended_updated_at IS NULL AND status IN ({})", live.join(", "));
        parts.push(Part { condition, is_indexed: false, changed: "updated_at" });
    }
    let Some(interaction) = interaction else { return parts };
    let of_interaction = |part: &Part| {
        let condition = &part.condition;
        [
            Part {
                condition: format!("interaction_id IS NULL AND id = '{interaction}' AND {condition}"),
                is_indexed: false,
                changed: "updated_at",
            },
            Part {
                condition: format!("interaction_id = '{interaction}' AND {condition}"),
                is_indexed: false,
                changed: "updated_at",
            },
        ]
    };
    parts.iter().flat_map(of_interaction).collect()
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
        let Some(page) = self.page_query(app, filter, cursor, limit).await? else { return Ok(Page::empty()) };
        let plan = page.plan(self.store).await?;
        let rows: Vec<CallRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            page.write(plan, &mut query);
            query.build_query_as().fetch_all(db).await
        })?;
        Ok(filter.common.page(rows.into_iter().map(CallView::from).collect(), limit))
    }

    /// Returns how the database finds a page, in its own words.
    pub async fn explain(
        self,
        app: AppId,
        filter: &CallFilter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        match self.page_query(app, filter, cursor, limit).await? {
            Some(page) => page.explain(self.store, SELECT).await,
            None => Ok(Vec::new()),
        }
    }

    /// Returns the query of a page; `None` where the filter names a user that nobody is.
    async fn page_query<'f>(
        self,
        app: AppId,
        filter: &'f CallFilter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Option<PageQuery<'f>>, StoreError> {
        let listed = Listed {
            table: "calls",
            alias: "c",
            parts: parts(&filter.statuses, filter.interaction_id),
            is_narrowed: !filter.statuses.is_empty() || filter.interaction_id.is_some(),
            has_recipients: false,
            also: filter.outcome.map(|outcome| ("outcome", outcome.as_str().to_owned())),
        };
        PageQuery::new(self.store, app, &filter.common, listed, cursor, limit).await
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
