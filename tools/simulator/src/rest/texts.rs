//! `POST /api/v2/sms`: sends a text. Its webhooks follow, also those of its delivery.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use chrono::SecondsFormat;
use serde::Deserialize;
use serde_json::json;

use super::outbound::is_dialable;
use super::{Caller, Int64, Problem, as_strings};
use crate::flows::{self, FlowOptions, Overrides, Playback, SentText};
use crate::runs::PlacedCall;
use crate::{State, clock};

/// The delay from the reply to the first webhook, so that the reply arrives first.
const SEND_DELAY: Duration = Duration::from_millis(100);

/// The body. Other fields of the API are ignored.
#[derive(Deserialize)]
pub(crate) struct SendText {
    user_id: Option<Int64>,
    sender_group_type: Option<String>,
    sender_group_id: Option<Int64>,
    #[serde(default)]
    to_numbers: Vec<String>,
    text: Option<String>,
}

pub(crate) async fn send(
    state: web::Data<State>,
    caller: Caller,
    body: web::Json<SendText>,
) -> Result<HttpResponse, Problem> {
    let request = body.into_inner();
    let sender = match (request.user_id, &request.sender_group_type, request.sender_group_id) {
        (_, Some(kind), Some(Int64(id))) => flows::target_by_id(kind, id),
        (Some(Int64(id)), None, None) => flows::user_by_id(id),
        (None, None, None) => return Err(Problem::bad("user_id or a sender group is required")),
        _ => return Err(Problem::bad("sender_group_type and sender_group_id require each other")),
    };
    let sender = sender.ok_or_else(|| Problem::not_found("sender"))?;
    if request.to_numbers.is_empty() || !request.to_numbers.iter().all(|number| is_dialable(number)) {
        return Err(Problem::bad("to_numbers must be E.164 numbers"));
    }
    let text = request.text.filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Problem::bad("text is required"))?;
    let options = FlowOptions {
        start: clock::now() + SEND_DELAY,
        organization_id: None,
        media_base: state.base_url.clone(),
        time_scale: state.switches().placed_call_pace,
        overrides: Overrides::default(),
    };
    let sent = SentText { id: flows::random_id(), sender, to: request.to_numbers, text };
    let reply = as_strings(json!({
        "id": sent.id,
        "created_date": clock::now().to_rfc3339_opts(SecondsFormat::Micros, true),
        "device_type": "public_api",
        "direction": "outbound",
        "from_number": sent.sender.phone,
        "to_numbers": sent.to,
        "text": sent.text,
        "message_status": "pending",
        "target_id": sent.sender.id,
        "target_type": sent.sender.kind.replace('_', ""),
        "user_id": request.user_id.map(|id| id.0),
    }));
    let playback = Playback::of_texts(flows::sent_over_api(&sent, &options), options);
    let (company_id, seed) = (caller.company(&state), state.next_seed());
    State::place(&state, PlacedCall { company_id, seed, playback, after: SEND_DELAY }, None);
    Ok(HttpResponse::Ok().json(reply))
}
