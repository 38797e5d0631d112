//! A call as it is returned, and how its row becomes one.

use chrono::{DateTime, Utc};
use cti_actors::{
    event::{RecordingBody, schema::DialpadId},
    model::call::{Direction, Leg, Outcome, Status},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::db::types::{Id, JsonText, NumberOrText, OptWord, Word};

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
pub(crate) struct CallRow(pub(super) CallView);

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
