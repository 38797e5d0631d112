//! `POST /api/calls`: Dialpad places a call, and the CRM gets it as it is from its first moment on.
//!
//! A call must never be placed twice for one request. So whatever Dialpad may have done is looked for before anything
//! is said about it: what an order carries comes back with every webhook of its call.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Bytes, Data},
};
use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::id::{AppId, DialpadCallId};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::http::{
    extract::{
        auth::Crm,
        body::Fields,
        idempotency::{Attempt, Outcome, once},
        query::{Query, write_ids_as_text},
    },
    state::AppState,
};
use crate::{
    dialpad::{
        api::{CallOrder, may_have_been_done},
        client::DialpadError,
    },
    http::error::{ApiError, ErrorCode},
    store::{ledger::outbound_calls::OrderMarks, views::calls::CallName},
    webhook::payload::Finding,
};

const FIELDS: [&str; 3] = ["dialpad_user_id", "phone_number", "custom_data"];
/// The longest text that Dialpad is known to take along.
const LONGEST_CUSTOM_DATA: usize = 2000;
/// How long the engine has to take up a new call.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(15);
/// How long whoever asks for a call in doubt waits for Dialpad's list.
const LIST_PATIENCE: Duration = Duration::from_secs(5);
/// The clocks of two processes may differ by so much.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::seconds(2);

pub(crate) async fn place(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    let ids_as_text = query.ids_as_text()?;
    let order = read_order(&body)?;
    let asked = json!([order.dialpad_user_id, order.phone_number, order.custom_data, ids_as_text]);
    let (app, scope) = (crm.app_id, crm.app_id.to_string());
    let worker = shared.clone();
    once(&request, &shared, scope, &asked, move |attempt| async move {
        let mut outcome = attempt_call(&worker, app, order, attempt).await;
        if let (Outcome::Done(_, call), true) = (&mut outcome, ids_as_text) {
            write_ids_as_text(call);
        }
        outcome
    })
    .await
}

async fn attempt_call(shared: &AppState, app: AppId, order: CallOrder, attempt: Attempt) -> Outcome {
    // What the client gives comes back as it was given; without anything, the order carries a mark of its own.
    let custom_data = order.custom_data.clone().unwrap_or_else(|| attempt.correlation.to_string());
    let order = CallOrder { custom_data: Some(custom_data), ..order };
    let ordered_at = attempt.begun_at;
    let placed = if attempt.is_in_doubt {
        find(shared, app, &order, ordered_at).await
    } else {
        match shared.dialpad.place_call(app, &order).await {
            Ok(call) => Some(call),
            Err(error) if may_have_been_done(&error) => {
                warn!(app.id = %app, %error, "Dialpad did not say whether it placed a call");
                find_among_webhooks(shared, app, &order, ordered_at).await
            }
            Err(DialpadError::Refused(status)) => {
                let details = json!({"dialpad_status": status.as_u16()});
                return Outcome::Refused(ApiError::from(DialpadError::Refused(status)).with_details(details));
            }
            Err(error) => return Outcome::NothingDone(error.into()),
        }
    };
    let Some(call) = placed else { return Outcome::InDoubt(unknown()) };
    info!(app.id = %app, call.id = %call, "a call was placed");
    Outcome::Done(StatusCode::CREATED, take_up(shared, app, call, &order, ordered_at).await)
}

fn unknown() -> ApiError {
    let sentence = "Dialpad did not say whether it placed the call. It may have: look at the calls before you place \
                    another one. The same idempotency key never places a second one";
    ApiError { retry_after: Some(5), ..ApiError::new(ErrorCode::OutcomeUnknown, sentence) }
}

/// The call of an order that was given earlier, wherever it can be found.
async fn find(
    shared: &AppState,
    app: AppId,
    order: &CallOrder,
    ordered_at: DateTime<Utc>,
) -> Option<DialpadCallId> {
    if let Some(call) = find_among_webhooks(shared, app, order, ordered_at).await {
        return Some(call);
    }
    // No webhook came, and it may be over already.
    let (since, until) = (ordered_at - CLOCKS_DIFFER, shared.clock.now() + CLOCKS_DIFFER);
    let listed = shared.dialpad.concluded_calls(app, since, until, None);
    match timeout(LIST_PATIENCE, listed).await.unwrap_or(Err(DialpadError::Unreachable("too slow".into()))) {
        Ok(page) => page.calls.into_iter().find_map(|call| marks(order).find_in(&Value::Object(call))),
        Err(error) => {
            warn!(app.id = %app, %error, "a call that may have been placed could not be looked for");
            None
        }
    }
}

async fn find_among_webhooks(
    shared: &AppState,
    app: AppId,
    order: &CallOrder,
    ordered_at: DateTime<Utc>,
) -> Option<DialpadCallId> {
    match shared.store.calls().find_placed(app, ordered_at - CLOCKS_DIFFER, marks(order)).await {
        Ok(found) => found,
        Err(failure) => {
            warn!(app.id = %app, error = %failure, "a call that may have been placed could not be looked for");
            None
        }
    }
}

fn marks(order: &CallOrder) -> OrderMarks<'_> {
    OrderMarks {
        custom_data: order.custom_data.as_deref().unwrap_or_default(),
        phone_number: &order.phone_number,
    }
}

/// Lets the engine know of the call and gives it as everybody sees it from then on. The first webhook may have been
/// faster: the call rings once in either order. Should the engine take too long, the call is placed all the same, and
/// the answer says what is certain.
async fn take_up(
    shared: &AppState,
    app: AppId,
    call: DialpadCallId,
    order: &CallOrder,
    at: DateTime<Utc>,
) -> Value {
    let (dialpad_user_id, phone_number) = (order.dialpad_user_id, order.phone_number.clone());
    let placed = Finding::Placed { call, dialpad_user_id, phone_number, at };
    if let Err(failure) = shared.store.journal().append_finding(app, &placed).await {
        warn!(app.id = %app, call.id = %call, error = %failure, "a placed call is left to its webhooks");
        return bare(app, call, order);
    }
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match shared.store.calls().find(app, CallName::Dialpads(call)).await {
            Ok(Some(call)) => return serde_json::to_value(call).unwrap_or_default(),
            Ok(None) => sleep(LOOK_EVERY).await,
            Err(failure) => {
                warn!(app.id = %app, call.id = %call, error = %failure, "a placed call could not be read");
                break;
            }
        }
    }
    bare(app, call, order)
}

/// What is certain of a call that was placed.
fn bare(app: AppId, call: DialpadCallId, order: &CallOrder) -> Value {
    json!({
        "id": null, "app_id": app, "dialpad_call_id": call, "call_id": call, "direction": "outbound",
        "to_number": order.phone_number, "dialpad_user_id": order.dialpad_user_id, "status": "ringing",
    })
}

/// Reads the body of a request.
fn read_order(body: &[u8]) -> Result<CallOrder, ApiError> {
    let body = Fields::of(body, &FIELDS)?;
    let dialpad_user_id = body
        .dialpad_id("dialpad_user_id")
        .map_err(|_| ApiError::invalid("dialpad_user_id: is required and must be Dialpad's id of a user"))?;
    let number = body.get("phone_number").and_then(Value::as_str).and_then(phone_number);
    let phone_number = number.ok_or_else(|| {
        ApiError::invalid("phone_number: is required and must be a plus sign and 8 to 15 digits (E.164)")
    })?;
    let custom_data = match body.get("custom_data") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.chars().count() <= LONGEST_CUSTOM_DATA => Some(text.clone()),
        Some(_) => {
            let sentence = format!("custom_data: must be a text of at most {LONGEST_CUSTOM_DATA} characters");
            return Err(ApiError::invalid(sentence));
        }
    };
    Ok(CallOrder { dialpad_user_id, phone_number, custom_data })
}

/// A number as E.164, without what people put between its digits.
fn phone_number(text: &str) -> Option<String> {
    let bare: String = text.chars().filter(|it| !matches!(it, ' ' | '-' | '(' | ')')).collect();
    let digits = bare.strip_prefix('+')?;
    let is_number = (8..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    is_number.then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_loses_what_people_put_between_its_digits() {
        assert_eq!(phone_number(" +1 (415) 555-1234").as_deref(), Some("+14155551234"));
        for bad in [
            "4155551234",
            "+1415555",
            "+1234567890123456",
            "+0123456789",
            "+1415555x234",
            "",
            "+",
            "++14155551234",
        ] {
            assert_eq!(phone_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_order_is_read_strictly() {
        let order =
            read_order(br#"{"dialpad_user_id":"555","phone_number":"+14155551234","custom_data":null}"#);
        let order = order.expect("a good order");
        assert_eq!((order.dialpad_user_id, order.custom_data), (555, None));
        let long = "x".repeat(2001);
        for (bad, named) in [
            (json!({"phone_number": "+14155551234"}), "dialpad_user_id"),
            (json!({"dialpad_user_id": 0, "phone_number": "+14155551234"}), "dialpad_user_id"),
            (json!({"dialpad_user_id": "", "phone_number": "+14155551234"}), "dialpad_user_id"),
            (json!({"dialpad_user_id": 5.5, "phone_number": "+14155551234"}), "dialpad_user_id"),
            (json!({"dialpad_user_id": "+5", "phone_number": "+14155551234"}), "dialpad_user_id"),
            (json!({"dialpad_user_id": 555, "phone_number": 14_155_551_234_i64}), "phone_number"),
            (
                json!({"dialpad_user_id": 555, "phone_number": "+14155551234", "custom_data": 7}),
                "custom_data",
            ),
            (
                json!({"dialpad_user_id": 555, "phone_number": "+14155551234", "custom_data": long}),
                "custom_data",
            ),
            (json!({"dialpad_user_id": 555, "phone_number": "+14155551234", "colour": "red"}), "colour"),
            (json!([]), "body"),
        ] {
            let error = read_order(bad.to_string().as_bytes()).expect_err("a bad order");
            assert!(error.message.contains(named), "{bad}: {}", error.message);
        }
    }
}
