//! `POST /api/calls`: Dialpad places a call, and the CRM gets it as it is from its first moment on.
//!
//! A call must never be placed twice for one request. So whatever Dialpad may have done is looked for before the
//! request is answered: the custom data of an order comes back with every webhook of its call.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId},
    model::number,
};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};
use utoipa::ToSchema;

use crate::{
    dialpad::{
        api::{CallOrder, may_have_taken_effect},
        client::DialpadError,
    },
    http::{
        error::{
            ApiError,
            ErrorCode::{
                DialpadRateLimited, DialpadRefused, DialpadUnavailable, NotConnected, OutcomeUnknown,
                TokensExpired,
            },
        },
        extract::{
            auth::Crm,
            body::Json,
            idempotency::{Attempt, IdempotencyKey, Outcome, once},
            ids::Ids,
            values::{PositiveId, parse_text},
        },
        openapi::{
            errors::{BODY, CHANGE, CRM, Errors, IDEMPOTENT, codes},
            examples, tags,
        },
        state::AppState,
    },
    store::{
        ledger::outbound_calls::CallMatch,
        views::calls::{CallRef, CallView},
    },
    webhook::payload::Finding,
};

/// The longest custom data that Dialpad is known to keep, in characters.
const MAX_CUSTOM_DATA: usize = 2000;
/// How long to wait until the engine has taken up a new call. On a busy server many wait at once, so each asks less and
/// less often.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(15);
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(15);
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How long to wait for Dialpad's list of concluded calls.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// By how much the clocks of two processes may differ.
const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::seconds(2);

/// A call to be placed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CallOrder)]
pub(crate) struct PlaceCall {
    /// The user whose phones ring: a number, or its digits as a string.
    dialpad_user_id: PositiveId,
    /// A number with its country code, in any spelling: `+1 (415) 555-1234`, `+44 (0)20 7946 0018`.
    #[schema(value_type = String, max_length = 256)]
    phone_number: E164,
    /// Passed to Dialpad unchanged.
    #[schema(value_type = Option<String>, max_length = 2000)]
    custom_data: Option<CustomData>,
}

/// A phone number in E.164 form. It is read in every spelling in which nothing of it is lost or guessed.
#[derive(Debug)]
struct E164(String);

impl<'de> Deserialize<'de> for E164 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = parse_text(deserializer, "a phone number as a string", |text| Some(text.to_owned()))?;
        number::dialable(&text).map(Self).map_err(D::Error::custom)
    }
}

#[derive(Debug)]
struct CustomData(String);

impl<'de> Deserialize<'de> for CustomData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let is_valid = |text: &&str| text.chars().count() <= MAX_CUSTOM_DATA;
        let expected = format_args!("a string of at most {MAX_CUSTOM_DATA} characters");
        parse_text(deserializer, expected, |text| Some(text).filter(is_valid).map(str::to_owned)).map(Self)
    }
}

impl From<PlaceCall> for CallOrder {
    fn from(call: PlaceCall) -> Self {
        Self {
            dialpad_user_id: call.dialpad_user_id.0,
            phone_number: call.phone_number.0,
            custom_data: call.custom_data.map(|data| data.0),
        }
    }
}

/// Places a call.
///
/// The user's phones ring first, then the other side's. From then on the call is updated by its webhooks like any
/// other. After `OUTCOME_UNKNOWN` the call may be ringing: retry with the same `Idempotency-Key`, which never places a
/// second call.
#[utoipa::path(
    post, path = "/api/calls", operation_id = "place_call", tag = tags::CALLS, params(IdempotencyKey, Ids),
    request_body(content = PlaceCall, example = json!({"dialpad_user_id": 555, "phone_number": "+14155551234"})),
    responses(
        (status = 201, description = "The call.", body = CallView, example = json!(examples::placed_call())),
        Errors<{
            CRM | CHANGE
                | BODY
                | IDEMPOTENT
                | codes(&[
                    NotConnected,
                    TokensExpired,
                    DialpadRefused,
                    DialpadRateLimited,
                    DialpadUnavailable,
                    OutcomeUnknown,
                ])
        }>,
    ),
)]
pub(crate) async fn place(
    crm: Crm<Ids, Json<PlaceCall>>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let Crm { app_id, query: ids, body: Json(call) } = crm;
    let order = CallOrder::from(call);
    let content = json!([order.dialpad_user_id, order.phone_number, order.custom_data, ids.as_text()]);
    let worker = state.clone();
    once(&request, &state, app_id.to_string(), &content, move |attempt| async move {
        match attempt_call(&worker, app_id, order, attempt).await {
            Outcome::Done(status, call) => Outcome::Done(status, ids.to_json(&call)),
            outcome => outcome,
        }
    })
    .await
}

async fn attempt_call(state: &AppState, app: AppId, order: CallOrder, attempt: Attempt) -> Outcome {
    // Custom data of the client comes back unchanged. Without any, the order carries an id of its own.
    let custom_data = order.custom_data.clone().unwrap_or_else(|| attempt.correlation.to_string());
    let order = CallOrder { custom_data: Some(custom_data), ..order };
    let ordered_at = attempt.begun_at;
    let placed = if attempt.follows_unknown {
        find(state, app, &order, ordered_at).await
    } else {
        match state.dialpad.place_call(app, &order).await {
            Ok(call) => Some(call),
            Err(error) if may_have_taken_effect(&error) => {
                warn!(app.id = %app, %error, "Dialpad did not confirm that it placed a call");
                find_among_webhooks(state, app, &order, ordered_at).await
            }
            Err(DialpadError::Refused(status)) => {
                let details = json!({"dialpad_status": status.as_u16()});
                return Outcome::Refused(ApiError::from(DialpadError::Refused(status)).with_details(details));
            }
            Err(error) => return Outcome::NothingDone(error.into()),
        }
    };
    let Some(call) = placed else { return Outcome::Unknown(outcome_unknown()) };
    info!(app.id = %app, call.id = %call, "a call was placed");
    match publish_placed(state, app, call, &order, ordered_at).await {
        Some(call) => Outcome::Done(StatusCode::CREATED, call),
        None => Outcome::Unknown(outcome_unknown()),
    }
}

fn outcome_unknown() -> ApiError {
    let sentence = "Dialpad did not confirm that it placed the call. The call may be ringing: look for it in the calls \
                    before you place another one. The same idempotency key never places a second one";
    ApiError { retry_after: Some(5), ..ApiError::new(OutcomeUnknown, sentence) }
}

/// Finds the call of an earlier order: among the received webhooks, then in Dialpad's list of concluded calls.
async fn find(
    state: &AppState,
    app: AppId,
    order: &CallOrder,
    ordered_at: DateTime<Utc>,
) -> Option<DialpadCallId> {
    if let Some(call) = find_among_webhooks(state, app, order, ordered_at).await {
        return Some(call);
    }
    // No webhook was received, and the call may be over already.
    let since = ordered_at - MAX_CLOCK_SKEW;
    let until = state.clock.now() + MAX_CLOCK_SKEW;
    let listed = state.dialpad.concluded_calls(app, since, until, None);
    match timeout(LIST_TIMEOUT, listed).await.unwrap_or(Err(DialpadError::Unreachable("too slow".into()))) {
        Ok(page) => page.calls.into_iter().find_map(|call| call_match(order).find_in(&Value::Object(call))),
        Err(error) => {
            warn!(app.id = %app, %error, "a call that may have been placed could not be looked for");
            None
        }
    }
}

async fn find_among_webhooks(
    state: &AppState,
    app: AppId,
    order: &CallOrder,
    ordered_at: DateTime<Utc>,
) -> Option<DialpadCallId> {
    match state.store.calls().find_placed(app, ordered_at - MAX_CLOCK_SKEW, call_match(order)).await {
        Ok(found) => found,
        Err(failure) => {
            warn!(app.id = %app, error = %failure, "a call that may have been placed could not be looked for");
            None
        }
    }
}

fn call_match(order: &CallOrder) -> CallMatch<'_> {
    CallMatch {
        custom_data: order.custom_data.as_deref().unwrap_or_default(),
        phone_number: &order.phone_number,
    }
}

/// Passes a placed call to the engine, and returns it as all clients get it from then on. The first webhook may have
/// been faster: `call.ring` is emitted once in either order. Returns `None` if the database or the engine takes too long:
/// the call is placed all the same, and a repeated request finds it.
async fn publish_placed(
    state: &AppState,
    app: AppId,
    call: DialpadCallId,
    order: &CallOrder,
    at: DateTime<Utc>,
) -> Option<Value> {
    let placed = Finding::Placed {
        call,
        dialpad_user_id: order.dialpad_user_id,
        phone_number: order.phone_number.clone(),
        custom_data: order.custom_data.clone(),
        at,
    };
    let until = Instant::now() + ENGINE_TIMEOUT;
    let mut is_appended = false;
    let mut interval = MIN_POLL_INTERVAL;
    loop {
        match find_or_append(state, app, call, &placed, &mut is_appended).await {
            Ok(Some(call)) => return serde_json::to_value(call).ok(),
            Ok(None) => {}
            Err(failure) => {
                warn!(app.id = %app, call.id = %call, error = %failure, "a placed call could not be stored or read");
            }
        }
        if Instant::now() + interval > until {
            warn!(app.id = %app, call.id = %call, "a placed call was not taken up in time");
            return None;
        }
        sleep(interval).await;
        interval = (interval * 2).min(MAX_POLL_INTERVAL);
    }
}

/// Returns a placed call, once the engine has it. Writes it into the journal first, until that has succeeded.
async fn find_or_append(
    state: &AppState,
    app: AppId,
    call: DialpadCallId,
    placed: &Finding,
    is_appended: &mut bool,
) -> Result<Option<CallView>, StoreError> {
    if !*is_appended {
        state.store.journal().append_finding(app, placed).await?;
        *is_appended = true;
    }
    state.store.calls().find(app, CallRef::Dialpads(call)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::extract::fields::read_object;

    fn read_order(order: Value) -> Result<CallOrder, String> {
        let Value::Object(fields) = order else { panic!("an object") };
        read_object::<PlaceCall>(fields).map(CallOrder::from).map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_is_understood_or_refused_by_name() {
        let read = |number: &str| {
            read_order(json!({"dialpad_user_id": 555, "phone_number": number}))
                .map(|order| order.phone_number)
        };
        assert_eq!(read("+44 (0)20 7946 0018").as_deref(), Ok("+442079460018"));
        for number in ["4155551234", "+14155551234 ext. 5", "+1415555", "+1 800 FLOWERS", ""] {
            let error = read(number).expect_err("an invalid number");
            assert!(error.starts_with("phone_number: "), "{number}: {error}");
        }
    }

    #[test]
    fn an_order_is_read_strictly() {
        let order = json!({"dialpad_user_id": "555", "phone_number": "+14155551234", "custom_data": null});
        let order = read_order(order).expect("a valid order");
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
        ] {
            let error = read_order(bad.clone()).expect_err("an invalid order");
            assert!(error.starts_with(&format!("{named}: ")), "{bad}: {error}");
        }
    }
}
