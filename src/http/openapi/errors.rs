//! The error responses of an operation, derived from the list of codes at its handler.
//!
//! A handler names `Errors<{ CRM | codes(&[CallNotFound]) }>` among its responses: a set of codes, as the bits of a
//! number, because a constant can't be a list. The response of each status then has its codes, what they mean, and an
//! example of each.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::{
    IntoResponses,
    openapi::{
        RefOr,
        content::ContentBuilder,
        example::ExampleBuilder,
        header::HeaderBuilder,
        response::{Response, ResponseBuilder},
        schema::{AllOfBuilder, ObjectBuilder, Ref, Type},
    },
};

use super::examples;
use crate::http::error::{
    ApiError,
    ErrorCode::{self, *},
};

/// A set of codes.
pub(crate) type Codes = u64;

const _: () = assert!(ErrorCode::ALL.len() <= Codes::BITS as usize);

/// Returns the set of these codes.
pub(crate) const fn codes(list: &[ErrorCode]) -> Codes {
    let mut set = 0;
    let mut next = 0;
    while next < list.len() {
        set |= 1 << list[next] as u32;
        next += 1;
    }
    set
}

/// What every request of an app can be refused with.
pub(crate) const CRM: Codes = codes(&[
    InvalidRequest,
    MissingApiKey,
    InvalidApiKey,
    AppInactive,
    RateLimited,
    DatabaseUnavailable,
    Internal,
]);
/// What every request of an administrator can be refused with.
pub(crate) const ADMINISTRATOR: Codes =
    codes(&[InvalidRequest, MissingBearer, Forbidden, RateLimited, DatabaseUnavailable, Internal]);
/// What requests that change something can be refused with: others are redirected to HTTPS.
pub(crate) const CHANGE: Codes = codes(&[HttpsRequired]);
/// What requests with a body can be refused with.
pub(crate) const BODY: Codes = codes(&[RequestTimeout, PayloadTooLarge]);
/// What requests with an idempotency key can be refused with.
pub(crate) const IDEMPOTENT: Codes = codes(&[IdempotencyKeyInUse, IdempotencyKeyReused]);

/// Errors whose answer says after how many seconds to retry.
const TEMPORARY: Codes = codes(&[
    RateLimited,
    DialpadRateLimited,
    TooManyConnections,
    IdempotencyKeyInUse,
    DialpadUnavailable,
    DatabaseUnavailable,
    OutcomeUnknown,
]);

/// The error responses of an operation that can fail with these codes.
pub(crate) struct Errors<const CODES: Codes>;

impl<const CODES: Codes> IntoResponses for Errors<CODES> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut by_status: BTreeMap<String, Vec<ErrorCode>> = BTreeMap::new();
        for code in ErrorCode::ALL.iter().filter(|code| CODES & codes(&[**code]) != 0) {
            by_status.entry(code.status().as_str().to_owned()).or_default().push(*code);
        }
        by_status.into_iter().map(|(status, codes)| (status, RefOr::T(response(&codes)))).collect()
    }
}

fn response(of: &[ErrorCode]) -> Response {
    let lines: Vec<String> =
        of.iter().map(|code| format!("`{}`: {}", code.as_str(), code.meaning())).collect();
    let mut response = ResponseBuilder::new().description(lines.join("\n\n"));
    if codes(of) & TEMPORARY != 0 {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        let header = HeaderBuilder::new().schema(seconds).description(Some("Retry after so many seconds."));
        response = response.header("Retry-After", header.build());
    }
    if of.contains(&RangeNotSatisfiable) {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let header = HeaderBuilder::new().schema(text).description(Some("The length of the recording."));
        response = response.header("Content-Range", header.build());
    }
    let names = of.iter().map(|code| code.as_str());
    let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
    let schema = AllOfBuilder::new()
        .item(Ref::from_schema_name("Error"))
        .item(ObjectBuilder::new().property("code", code));
    let examples = of
        .iter()
        .map(|code| (code.as_str(), RefOr::T(ExampleBuilder::new().value(Some(example(*code))).build())));
    let content = ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples);
    response.content("application/json", content.build()).build()
}

fn example(code: ErrorCode) -> Value {
    let (sentence, details) = match code {
        InvalidRequest => ("limit: must be a whole number from 1 to 500", None),
        InvalidApiKey => ("Invalid API key", None),
        AppInactive => ("App is not active", None),
        TokensExpired => ("OAuth tokens expired and refresh failed", None),
        OauthDenied => ("The authorization was refused at Dialpad", Some(json!("access_denied"))),
        TokenExchangeFailed => ("Failed to exchange code for tokens", Some(json!("Connection timeout"))),
        CursorAhead => ("The cursor is beyond the newest event", Some(json!({"seq": 41}))),
        EpochChanged => (
            "The cursor belongs to another epoch of the feed: read everything again, and resume after seq",
            Some(json!({"epoch": examples::EPOCH, "seq": 41, "oldest_seq": 1})),
        ),
        CursorExpired => (
            "The events after this cursor are no longer kept",
            Some(json!({
                "oldest_seq": 1201, "seq": 6411,
                "from_at": "2023-12-01T08:00:00.112043Z", "until_at": "2023-12-02T12:00:00.301204Z",
            })),
        ),
        DialpadRefused => ("Dialpad refused with 404", Some(json!({"dialpad_status": 404}))),
        _ => (code.meaning().trim_end_matches('.'), None),
    };
    let error = ApiError { details, ..ApiError::new(code, sentence) };
    error.body(Some("8f0d3c1e-5d0b-4a53-9a0f-2f7c2f1f8a11"))
}
