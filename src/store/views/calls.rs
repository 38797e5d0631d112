//! Calls as a CRM asks for them.

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    event::number_or_text,
    event::schema::DialpadId,
    id::{AppId, DialpadCallId},
    model::call::{Direction, Leg, Outcome, Status},
};
use serde::Serialize;
use sqlx::QueryBuilder;
use utoipa::ToSchema;
use uuid::Uuid;

use super::listing::{Cursor, Filter, Listed, Page};
use crate::store::{Calls, db::types::Id, on_db};

pub(crate) const SELECT: &str =
    "SELECT c.id, c.app_id, c.dialpad_call_id, c.direction, c.from_number, c.to_number, c.status,
    c.outcome, c.dialpad_user_id, m.crm_user_id, c.ringing_at, c.answered_at, c.ended_at, c.duration_seconds,
    c.talk_seconds, c.hold_seconds, c.recording_url, c.is_voicemail, c.leg,
    COALESCE(c.interaction_id, c.id) AS interaction_id, c.answered_elsewhere, c.created_at, c.updated_at,
    v.id AS voicemail_id, v.dialpad_voicemail_id, v.recording_url AS voicemail_url, v.transcript,
    v.duration_seconds AS voicemail_seconds, v.received_at, v.deleted_at
    FROM calls c
    LEFT JOIN voicemails v ON v.id = c.voicemail_id
    LEFT JOIN dialpad_user_mappings m ON m.app_id = c.app_id AND m.dialpad_user_id = c.dialpad_user_id
    WHERE c.app_id = ";

/// Which calls.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    /// Only calls with one of these statuses; empty: all.
    pub statuses: Vec<String>,
    /// What every list can be narrowed by.
    pub common: Filter,
}

/// A call, as REST shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Call)]
pub struct CallView {
    /// Our name of it.
    pub id: Uuid,
    /// Whose it is.
    pub app_id: Uuid,
    /// Dialpad's name of it.
    #[schema(value_type = DialpadId)]
    pub dialpad_call_id: i64,
    /// The same, as the events call it.
    #[schema(value_type = DialpadId)]
    pub call_id: i64,
    /// The human call that it is a leg of.
    pub interaction_id: Uuid,
    /// `user`, `group` or `direct`, where Dialpad said so.
    #[schema(value_type = Option<Leg>)]
    pub leg: Option<String>,
    /// `inbound` or `outbound`.
    #[schema(value_type = Option<Direction>)]
    pub direction: Option<String>,
    /// The calling number.
    pub from_number: Option<String>,
    /// The called number.
    pub to_number: Option<String>,
    /// `ringing`, `active`, `held` or `ended`.
    #[schema(value_type = Status)]
    pub status: String,
    /// `answered`, `missed`, `voicemail`, `rejected` or `abandoned`, once it is over.
    #[schema(value_type = Option<Outcome>)]
    pub outcome: Option<String>,
    /// The Dialpad user whose leg it is.
    #[schema(value_type = Option<DialpadId>)]
    pub dialpad_user_id: Option<i64>,
    /// The same person in the CRM.
    pub crm_user_id: Option<String>,
    /// When it began to ring.
    pub ringing_at: Option<DateTime<Utc>>,
    /// When a person answered.
    pub answered_at: Option<DateTime<Utc>>,
    /// The same, as the events call it.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Its whole length.
    pub duration_seconds: Option<i64>,
    /// Answered time without holds.
    pub talk_seconds: Option<i64>,
    /// All holds together.
    pub hold_seconds: Option<i64>,
    /// Where the recording is.
    pub recording_url: Option<String>,
    /// Whether it ended unanswered because somebody else took the call.
    pub answered_elsewhere: bool,
    /// Whether the caller was sent to voicemail.
    pub is_voicemail: bool,
    /// The message that the caller left.
    pub voicemail: Option<VoicemailOfCall>,
    /// Whether there was one, and somebody deleted it.
    #[serde(skip)]
    pub voicemail_was_deleted: bool,
    /// When it was first seen.
    pub created_at: DateTime<Utc>,
    /// When anything here last changed.
    pub updated_at: DateTime<Utc>,
}

/// The voicemail of a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VoicemailOfCall {
    /// Our name of it.
    pub id: Uuid,
    /// The same, as the events call it.
    pub voicemail_id: Uuid,
    /// Dialpad's name of it.
    #[schema(value_type = Option<DialpadId>)]
    pub dialpad_voicemail_id: Option<serde_json::Value>,
    /// Where the audio is.
    pub recording_url: Option<String>,
    /// What was said.
    pub transcript: Option<String>,
    /// Its length.
    pub duration_seconds: Option<i64>,
    /// When it was left.
    pub received_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
pub(crate) struct CallRow {
    id: Id,
    app_id: Id,
    dialpad_call_id: i64,
    direction: Option<String>,
    from_number: Option<String>,
    to_number: Option<String>,
    status: String,
    outcome: Option<String>,
    dialpad_user_id: Option<i64>,
    crm_user_id: Option<String>,
    ringing_at: Option<DateTime<Utc>>,
    answered_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    duration_seconds: Option<i64>,
    talk_seconds: Option<i64>,
    hold_seconds: Option<i64>,
    recording_url: Option<String>,
    is_voicemail: bool,
    leg: Option<String>,
    interaction_id: Id,
    answered_elsewhere: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    voicemail_id: Option<Id>,
    dialpad_voicemail_id: Option<String>,
    voicemail_url: Option<String>,
    transcript: Option<String>,
    voicemail_seconds: Option<i64>,
    received_at: Option<DateTime<Utc>>,
    deleted_at: Option<DateTime<Utc>>,
}

impl From<CallRow> for CallView {
    fn from(row: CallRow) -> Self {
        let voicemail_id = row.voicemail_id.filter(|_| row.deleted_at.is_none());
        let voicemail = voicemail_id.map(|id| VoicemailOfCall {
            id: id.0,
            voicemail_id: id.0,
            dialpad_voicemail_id: row.dialpad_voicemail_id.as_deref().map(number_or_text),
            recording_url: row.voicemail_url,
            transcript: row.transcript,
            duration_seconds: row.voicemail_seconds,
            received_at: row.received_at,
        });
        Self {
            id: row.id.0,
            app_id: row.app_id.0,
            dialpad_call_id: row.dialpad_call_id,
            call_id: row.dialpad_call_id,
            interaction_id: row.interaction_id.0,
            leg: row.leg,
            direction: row.direction,
            from_number: row.from_number,
            to_number: row.to_number,
            status: row.status,
            outcome: row.outcome,
            dialpad_user_id: row.dialpad_user_id,
            crm_user_id: row.crm_user_id,
            ringing_at: row.ringing_at,
            answered_at: row.answered_at,
            started_at: row.answered_at,
            ended_at: row.ended_at,
            duration_seconds: row.duration_seconds,
            talk_seconds: row.talk_seconds,
            hold_seconds: row.hold_seconds,
            recording_url: row.recording_url,
            answered_elsewhere: row.answered_elsewhere,
            is_voicemail: row.is_voicemail,
            voicemail,
            voicemail_was_deleted: row.deleted_at.is_some(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Listed for CallView {
    fn id(&self) -> Uuid {
        self.id
    }

    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn updated_at(&self) -> DateTime<Utc> {
        self.updated_at
    }
}

/// How a call is named in a URL.
#[derive(Clone, Copy, Debug)]
pub enum CallName {
    /// By our id.
    Ours(Uuid),
    /// By Dialpad's.
    Dialpads(DialpadCallId),
}

impl Calls<'_> {
    /// A page of an app's calls: newest first, or with `since` in the order of their last change.
    ///
    /// # Errors
    /// The database could not be asked.
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
                    list.push_bind(status);
                }
                query.push(")");
                if !filter.statuses.iter().any(|status| status == "ended") {
                    // Said so that the index of live calls can be used.
                    query.push(" AND c.status <> 'ended'");
                }
            }
            filter.common.write(&mut query, "c", cursor, limit);
            query.build_query_as().fetch_all(db).await
        })?;
        Ok(filter.common.page(rows.into_iter().map(CallView::from).collect(), limit))
    }

    /// One call.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn find(self, app: AppId, name: CallName) -> Result<Option<CallView>, StoreError> {
        let row: Option<CallRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(Id::from(app));
            match name {
                CallName::Ours(id) => query.push(" AND c.id = ").push_bind(Id(id)),
                CallName::Dialpads(id) => query.push(" AND c.dialpad_call_id = ").push_bind(id.0),
            };
            query.build_query_as().fetch_optional(db).await
        })?;
        Ok(row.map(Into::into))
    }

    /// All legs of an interaction, in the order in which they were heard of.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn of_interaction(self, app: AppId, interaction: Uuid) -> Result<Vec<CallView>, StoreError> {
        let rows: Vec<CallRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(Id::from(app)).push(" AND ((c.interaction_id IS NULL AND c.id = ");
            query.push_bind(Id(interaction)).push(") OR (c.interaction_id IS NOT NULL AND c.interaction_id = ");
            query.push_bind(Id(interaction)).push(")) ORDER BY c.id");
            query.build_query_as().fetch_all(db).await
        })?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}
