//! The error answers of a way, by status, each with the codes that it may have and what they mean.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use utoipa::openapi::{
    RefOr,
    content::ContentBuilder,
    example::ExampleBuilder,
    header::HeaderBuilder,
    response::Response,
    schema::{AllOfBuilder, ObjectBuilder, Ref, Type},
};

use super::operation::response;
use crate::http::error::{
    ApiError,
    ErrorCode::{self, *},
};

/// These say after how many seconds to try again.
const PASSING: [ErrorCode; 8] = [
    RateLimited,
    DialpadRateLimited,
    TooManyConnections,
    IdempotencyKeyInUse,
    DialpadUnavailable,
    DatabaseUnavailable,
    OutcomeUnknown,
    ConsumerElsewhere,
];

/// The responses with these codes, by status.
pub(crate) fn responses(codes: &BTreeSet<ErrorCode>, has_body: bool) -> BTreeMap<String, Response> {
    let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status().as_u16()).or_default().push(*code);
    }
    by_status.into_iter().map(|(status, codes)| (status.to_string(), refusal(&codes, has_body))).collect()
}

fn refusal(codes: &[ErrorCode], has_body: bool) -> Response {
    let lines: Vec<String> =
        codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.meaning())).collect();
    let mut refusal = response(lines.join("\n\n"));
    if codes.iter().any(|code| PASSING.contains(code)) {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        let header =
            HeaderBuilder::new().schema(seconds).description(Some("Try again after so many seconds."));
        refusal = refusal.header("Retry-After", header.build());
    }
    if codes.contains(&RangeNotSatisfiable) {
        refusal =
            refusal.header("Content-Range", super::operation::text_header("How long the recording is."));
    }
    if !has_body {
        return refusal.build();
    }
    let words = codes.iter().map(|code| code.as_str());
    let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
    let schema = AllOfBuilder::new()
        .item(Ref::from_schema_name("Error"))
        .item(ObjectBuilder::new().property("code", code));
    let examples = codes
        .iter()
        .map(|code| (code.as_str(), RefOr::T(ExampleBuilder::new().value(Some(example(*code))).build())));
    let content = ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples);
    refusal.content("application/json", content.build()).build()
}

/// An answer with this code, as it may look.
pub(crate) fn example(code: ErrorCode) -> Value {
    let (sentence, details) = match code {
        InvalidRequest => ("limit: must be a whole number from 1 to 500", None),
        InvalidApiKey => ("Invalid API key", None),
        AppInactive => ("App is not active", None),
        TokensExpired => ("OAuth tokens expired and refresh failed", None),
        OauthDenied => ("The authorization was refused at Dialpad", Some(json!("access_denied"))),
        TokenExchangeFailed => ("Failed to exchange code for tokens", Some(json!("Connection timeout"))),
        CursorAhead => ("The cursor lies beyond the newest event", Some(json!({"seq": 41}))),
        CursorExpired => (
            "The events behind this cursor are no longer kept",
            Some(json!({"oldest_seq": 1201, "seq": 6411})),
        ),
        DialpadRefused => ("Dialpad refused with 404", Some(json!({"dialpad_status": 404}))),
        _ => (code.meaning().trim_end_matches('.'), None),
    };
    let error = ApiError { details, ..ApiError::new(code, sentence) };
    error.body(Some("8f0d3c1e-5d0b-4a53-9a0f-2f7c2f1f8a11"))
}
