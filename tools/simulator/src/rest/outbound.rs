//! Calls that begin or end over the API: `POST /call`, `POST /users/{id}/initiate_call`, `PUT /call/{id}/actions/hangup`.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Caller, Int64, Problem};
use crate::flows::{self, Family, Flow, Overrides, Party, Performance, Setting};
use crate::runs::Placed;
use crate::{World, clock, lock};

/// From the reply to the first webhook: long enough for the reply to arrive first.
const DIALLING: Duration = Duration::from_millis(100);
/// How long a reply waits for the first webhook, where it is told to.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest `custom_data`, in bytes.
const CUSTOM_DATA_LIMIT: usize = 2_000;

/// A call to place. What else the API takes changes nothing here.
#[derive(Deserialize)]
pub(crate) struct Order {
    user_id: Option<Int64>,
    phone_number: Option<String>,
    custom_data: Option<String>,
}

/// `POST /api/v2/call`: all devices of the user ring, and the reply names the call.
pub(crate) async fn place(
    world: web::Data<World>,
    caller: Caller,
    order: web::Json<Order>,
) -> Result<HttpResponse, Problem> {
    let Some(Int64(user_id)) = order.user_id else {
        return Err(Problem::bad("user_id is required"));
    };
    let call_id = dial(&world, caller.company(&world), user_id, order.into_inner()).await?;
    Ok(HttpResponse::Ok().json(json!({"call_id": Int64(call_id)})))
}

/// `POST /api/v2/users/{id}/initiate_call`: an app of the user dials, and the reply does not name the call.
pub(crate) async fn initiate(
    world: web::Data<World>,
    caller: Caller,
    user: web::Path<String>,
    order: web::Json<Order>,
) -> Result<HttpResponse, Problem> {
    let user_id = match user.as_str() {
        "me" => flows::first_user().id,
        id => id.parse().map_err(|_| Problem::not_found("user"))?,
    };
    dial(&world, caller.company(&world), user_id, order.into_inner()).await?;
    let device = format!("{user_id}-web");
    Ok(HttpResponse::Ok()
        .json(json!({"device": {"id": device, "type": "native", "user_id": Int64(user_id)}})))
}

/// `PUT /api/v2/call/{id}/actions/hangup`: an empty reply; the webhook follows.
pub(crate) async fn hang_up(
    world: web::Data<World>,
    caller: Caller,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    let calls = lock(&world.calls);
    let call = calls.get(*id).filter(|call| caller.sees(call.company_id));
    let call = call.ok_or_else(|| Problem::not_found("call"))?;
    if call.is_concluded() {
        return Err(Problem::bad("the call is over"));
    }
    call.line.notify_one();
    Ok(HttpResponse::Ok().finish())
}

async fn dial(world: &web::Data<World>, company_id: i64, user_id: i64, order: Order) -> Result<i64, Problem> {
    let Party { id, phone, .. } = flows::user_by_id(user_id).ok_or_else(|| Problem::not_found("user"))?;
    let number = order.phone_number.filter(|number| is_dialable(number));
    let number = number.ok_or_else(|| Problem::bad("phone_number must be an E.164 number"))?;
    if order.custom_data.as_ref().is_some_and(|data| data.len() > CUSTOM_DATA_LIMIT) {
        return Err(Problem::bad(format!("custom_data is longer than {CUSTOM_DATA_LIMIT}")));
    }
    let switches = world.switches();
    let setting = Setting {
        start: clock::now(),
        organization_id: None,
        media_base: world.base_url.clone(),
        tempo: switches.placed_call_pace,
        overrides: Overrides {
            call_id: None,
            external_number: Some(number),
            internal_number: Some(phone),
            user_id: Some(id),
            custom_data: order.custom_data,
        },
    };
    let seed = world.chance();
    let performance = Performance::new(Flow::Outbound, Family::Dialpad, seed, setting);
    let call_id = performance.call_id();
    if switches.webhook_before_reply {
        let (begun, first) = oneshot::channel();
        World::place(world, Placed { company_id, seed, performance, after: Duration::ZERO }, Some(begun));
        // A receiver that never answers must not hold up the caller for longer than the real one would.
        let _ = timeout(PATIENCE, first).await;
    } else {
        World::place(world, Placed { company_id, seed, performance, after: DIALLING }, None);
    }
    Ok(call_id)
}

fn is_dialable(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
    })
}
