//! Placing and ending a call: `POST /call`, `POST /users/{id}/initiate_call`, `PUT /call/{id}/actions/hangup`.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Caller, Int64, Problem, find_live_call, send_to_call};
use crate::flows::{self, Command, Family, Flow, FlowOptions, Overrides, Party, Playback};
use crate::runs::PlacedCall;
use crate::{State, clock, lock};

/// The delay from the reply to the first webhook, so that the reply arrives first.
const DIAL_DELAY: Duration = Duration::from_millis(100);
/// How long a reply waits for the first webhook, with `webhook_before_reply`.
const FIRST_WEBHOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum length of `custom_data`, in bytes.
const MAX_CUSTOM_DATA_BYTES: usize = 2_000;

/// A call to place. Other fields of the API are ignored.
#[derive(Deserialize)]
pub(crate) struct PlaceCallRequest {
    user_id: Option<Int64>,
    phone_number: Option<String>,
    custom_data: Option<String>,
}

/// `POST /api/v2/call`: all devices of the user ring; the reply names the call.
pub(crate) async fn place(
    state: web::Data<State>,
    caller: Caller,
    request: web::Json<PlaceCallRequest>,
) -> Result<HttpResponse, Problem> {
    let Some(Int64(user_id)) = request.user_id else {
        return Err(Problem::bad("user_id is required"));
    };
    let call_id = dial(&state, caller.company(&state), user_id, request.into_inner()).await?;
    Ok(HttpResponse::Ok().json(json!({"call_id": Int64(call_id)})))
}

/// `POST /api/v2/users/{id}/initiate_call`: an app of the user dials; the reply does not name the call.
pub(crate) async fn initiate(
    state: web::Data<State>,
    caller: Caller,
    user: web::Path<String>,
    request: web::Json<PlaceCallRequest>,
) -> Result<HttpResponse, Problem> {
    let user_id = match user.as_str() {
        "me" => flows::first_user().id,
        id => id.parse().map_err(|_| Problem::not_found("user"))?,
    };
    dial(&state, caller.company(&state), user_id, request.into_inner()).await?;
    let device = format!("{user_id}-web");
    Ok(HttpResponse::Ok()
        .json(json!({"device": {"id": device, "type": "native", "user_id": Int64(user_id)}})))
}

/// `PUT /api/v2/call/{id}/actions/hangup`; the webhook follows. The reply is an empty object, because Dialpad's own SDK for
/// Python parses every reply but 204 as JSON.
pub(crate) async fn hang_up(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    let calls = lock(&state.calls);
    send_to_call(find_live_call(&calls, *id, &caller)?, Command::HangUp)?;
    Ok(HttpResponse::Ok().json(json!({})))
}

async fn dial(
    state: &web::Data<State>,
    company_id: i64,
    user_id: i64,
    request: PlaceCallRequest,
) -> Result<i64, Problem> {
    let Party { id, phone, .. } = flows::user_by_id(user_id).ok_or_else(|| Problem::not_found("user"))?;
    let number = request.phone_number.filter(|number| is_dialable(number));
    let number = number.ok_or_else(|| Problem::bad("phone_number must be an E.164 number"))?;
    if request.custom_data.as_ref().is_some_and(|data| data.len() > MAX_CUSTOM_DATA_BYTES) {
        return Err(Problem::bad(format!("custom_data is longer than {MAX_CUSTOM_DATA_BYTES}")));
    }
    let switches = state.switches();
    let options = FlowOptions {
        start: clock::now(),
        organization_id: None,
        media_base: state.base_url.clone(),
        time_scale: switches.placed_call_pace,
        overrides: Overrides {
            call_id: None,
            external_number: Some(number),
            internal_number: Some(phone),
            user_id: Some(id),
            custom_data: request.custom_data,
        },
    };
    let seed = state.next_seed();
    let playback = Playback::new(Flow::Outbound, Family::Dialpad, seed, options);
    let call_id = playback.call_id();
    if switches.webhook_before_reply {
        let (first_delivered, first) = oneshot::channel();
        State::place(
            state,
            PlacedCall { company_id, seed, playback, after: Duration::ZERO },
            Some(first_delivered),
        );
        // A receiver that does not answer must not delay the reply for longer than Dialpad would.
        let _ = timeout(FIRST_WEBHOOK_TIMEOUT, first).await;
    } else {
        State::place(state, PlacedCall { company_id, seed, playback, after: DIAL_DELAY }, None);
    }
    Ok(call_id)
}

pub(crate) fn is_dialable(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
    })
}
