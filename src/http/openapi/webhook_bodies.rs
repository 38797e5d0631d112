//! The bodies of webhooks, as schemas. Dialpad may send more fields than these, and in other places; `webhook::payload`
//! reads them by name, so the schemas only describe what is usual.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{Ref, RefOr, Schema, schema::AnyOfBuilder},
};

/// A webhook of either family. A body can match both, so this is no `oneOf`.
pub(crate) struct WebhookBody;

impl PartialSchema for WebhookBody {
    fn schema() -> RefOr<Schema> {
        AnyOfBuilder::new()
            .item(Ref::from_schema_name(WorkflowWebhook::name()))
            .item(Ref::from_schema_name(DialpadWebhook::name()))
            .into()
    }
}

impl ToSchema for WebhookBody {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((WorkflowWebhook::name().into_owned(), WorkflowWebhook::schema()));
        schemas.push((DialpadWebhook::name().into_owned(), DialpadWebhook::schema()));
    }
}

/// A webhook of the workflow family. More fields may come, and `call_id` and others may be under `call`.
#[derive(Serialize, ToSchema)]
pub(crate) struct WorkflowWebhook {
    /// `call.ring`, `call.started`, `call.held`, `call.resumed`, `call.ended`, `call.recording.completed`,
    /// `voicemail.received`, `call.voicemail`, `message.…` or `sms.…`. Any other type with a call is emitted as
    /// `call.raw`.
    event_type: &'static str,
    /// Dialpad's id of the call. Numbers may be strings.
    call_id: Value,
    /// `inbound` or `outbound`.
    direction: Option<&'static str>,
    /// The caller or sender.
    from_number: Option<&'static str>,
    /// The called party or recipient.
    to_number: Option<&'static str>,
    /// The Dialpad user.
    dialpad_user_id: Option<Value>,
    /// When it happened: unix seconds, unix milliseconds or RFC 3339.
    timestamp: Option<Value>,
    /// The organization that the webhook is for.
    organization_id: Option<Value>,
    /// Dialpad's own webhook. Stored, not read.
    raw_payload: Option<Map<String, Value>>,
}

/// A webhook of Dialpad's own family. More fields may come.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!(DialpadWebhook::example())))]
pub(crate) struct DialpadWebhook {
    /// Dialpad's id of the call.
    call_id: Value,
    /// `calling`, `ringing`, `preanswer`, `queued`, `connected`, `hold`, `parked`, `hangup`, `missed`, `blocked`,
    /// `voicemail`, `voicemail_uploaded`, `transcription`, `recording`, `admin_recording`. Any other state is emitted
    /// as `call.raw`; some of these end a hold, or the call.
    state: &'static str,
    /// When it happened, in unix milliseconds.
    event_timestamp: Option<Value>,
    /// The number on the other side.
    external_number: Option<&'static str>,
    /// The company's number.
    internal_number: Option<&'static str>,
    /// The user or group whose leg it is.
    target: Option<Map<String, Value>>,
}

impl WorkflowWebhook {
    /// Returns the first webhook of a call.
    pub(crate) fn example() -> Self {
        let call = json!({
            "id": 9_876_543_210_i64, "direction": "INBOUND", "from_number": "+14155551234",
            "to_number": "+14155555678", "user_id": 555, "created_at": "2024-01-01T12:00:00Z",
        });
        Self {
            event_type: "call.ring",
            call_id: json!(9_876_543_210_i64),
            direction: Some("inbound"),
            from_number: Some("+14155551234"),
            to_number: Some("+14155555678"),
            dialpad_user_id: Some(json!(555)),
            timestamp: Some(json!(1_704_067_200)),
            organization_id: Some(json!(12_345_678)),
            raw_payload: Some(Map::from_iter([
                ("event".to_owned(), json!("call.ring")),
                ("call".to_owned(), call),
            ])),
        }
    }
}

impl DialpadWebhook {
    fn example() -> Self {
        Self {
            call_id: json!(9_876_543_210_i64),
            state: "ringing",
            event_timestamp: Some(json!(1_704_067_200_000_i64)),
            external_number: Some("+14155551234"),
            internal_number: Some("+14155555678"),
            target: Some(Map::from_iter([("id".to_owned(), json!(555)), ("type".to_owned(), json!("user"))])),
        }
    }
}
