//! What requests may say, as schemas. The handlers read these bodies field by field, so that whatever is wrong can be
//! named; these structs only describe them.

#![expect(dead_code, reason = "they are read by what is derived from them")]

use serde_json::{Map, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{AnyOfBuilder, ObjectBuilder, Type},
    },
};
use uuid::Uuid;

use super::parameters::dialpad_number;

/// An id of Dialpad's in a request.
pub(crate) struct PositiveId;

impl PartialSchema for PositiveId {
    fn schema() -> RefOr<Schema> {
        AnyOfBuilder::new()
            .item(dialpad_number())
            .item(ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[1-9][0-9]{0,17}$")))
            .description(Some("An id of Dialpad's: a number, or its digits as a text."))
            .into()
    }
}

impl ToSchema for PositiveId {}

/// A new app.
#[derive(ToSchema)]
pub(crate) struct NewApp {
    /// Its name, for people.
    #[schema(min_length = 1, max_length = 255, pattern = r"\S")]
    name: String,
}

/// What is to become another.
#[derive(ToSchema)]
pub(crate) struct AppChange {
    /// Its name, for people.
    #[schema(nullable = false, min_length = 1, max_length = 255, pattern = r"\S")]
    name: Option<String>,
    /// Whether it may use the server.
    #[schema(nullable = false)]
    is_active: Option<bool>,
}

/// How a key is replaced.
#[derive(ToSchema)]
pub(crate) struct KeyRotation {
    /// For how long the old keys stay valid; without it they end at once.
    #[schema(minimum = 0, maximum = 604_800)]
    grace_seconds: Option<i64>,
}

/// What the CRM calls a user of Dialpad.
#[derive(ToSchema)]
pub(crate) struct UserToMap {
    /// A number, or its digits as a text.
    #[schema(value_type = PositiveId)]
    dialpad_user_id: i64,
    /// What the CRM calls them.
    #[schema(min_length = 1, max_length = 255, pattern = r"\S")]
    crm_user_id: String,
}

/// Several at once, all or none; each user of Dialpad once.
#[derive(ToSchema)]
pub(crate) struct UsersToMap {
    #[schema(min_items = 1, max_items = 1000)]
    mappings: Vec<UserToMap>,
}

/// What a consumer has dealt with.
#[derive(ToSchema)]
pub(crate) struct Acknowledgement {
    /// Everything up to this event.
    #[schema(minimum = 0)]
    seq: i64,
    /// Of several connections that share the work, the one that says it: as its `connected` named it.
    session_id: Option<Uuid>,
}

/// A call that is to be placed.
#[derive(ToSchema)]
pub(crate) struct CallOrder {
    /// Whose telephones ring: a number, or its digits as a text.
    #[schema(value_type = PositiveId)]
    dialpad_user_id: i64,
    /// `+` and 8 to 15 digits; spaces, hyphens and parentheses between them are dropped.
    #[schema(pattern = r"^\+[1-9][0-9]{7,14}$")]
    phone_number: String,
    /// Goes to Dialpad as it is.
    #[schema(max_length = 2000)]
    custom_data: Option<String>,
}

/// Whose a webhook is.
#[derive(ToSchema)]
pub(crate) struct Replay {
    /// The app, where the webhook does not say so itself.
    #[schema(nullable = false)]
    app_id: Option<Uuid>,
}

/// A webhook of the workflow's family. More fields may come, and `call_id` and others may lie under `call`.
#[derive(ToSchema)]
pub(crate) struct WorkflowWebhook {
    /// `call.ring`, `call.started`, `call.held`, `call.resumed`, `call.ended`, `call.recording.completed`,
    /// `voicemail.received`, `call.voicemail`, `message.…` or `sms.…`; any other with a call is told as `call.raw`.
    event_type: String,
    /// Dialpad's id of the call; numbers may be texts.
    call_id: Value,
    /// `inbound` or `outbound`.
    direction: Option<String>,
    /// Who calls or writes.
    from_number: Option<String>,
    /// Who is called or written to.
    to_number: Option<String>,
    /// The Dialpad user.
    dialpad_user_id: Option<Value>,
    /// When it happened: unix seconds, unix milliseconds or RFC 3339.
    timestamp: Option<Value>,
    /// Whose it is.
    organization_id: Option<Value>,
    /// What Dialpad said, kept and not read.
    raw_payload: Option<Map<String, Value>>,
}

/// A webhook of Dialpad's own family. More fields come.
#[derive(ToSchema)]
pub(crate) struct DialpadWebhook {
    /// Dialpad's id of the call.
    call_id: Value,
    /// `calling`, `ringing`, `preanswer`, `queued`, `connected`, `hold`, `parked`, `hangup`, `missed`, `blocked`,
    /// `voicemail`, `voicemail_uploaded`, `transcription`, `recording`, `admin_recording`; any other is told as
    /// `call.raw`.
    state: String,
    /// When it happened, in unix milliseconds.
    event_timestamp: Option<Value>,
    /// The number on the other side.
    external_number: Option<String>,
    /// The company's number.
    internal_number: Option<String>,
    /// Whose leg it is.
    target: Option<Map<String, Value>>,
}
