//! What all ways to the feed over HTTP have in common: what a request may ask for, and what it can't have.

pub(crate) mod consumers;
pub(crate) mod events;
pub(crate) mod stream;
pub(crate) mod ws;

use actix_web::HttpRequest;
use cti_actors::{
    consumer::JoinError,
    event::Frame,
    id::Seq,
    ports::Bounds,
    session::{BadCursor, Refusal, Subscription},
};
use secrecy::SecretString;
use serde_json::json;

use super::extract::{auth::api_key, query::Query};
use crate::http::error::{ApiError, ErrorCode};

/// The parameters of a reader.
pub(super) const PARAMETERS: [&str; 11] = Subscription::PARAMETERS;

/// Where a reader is to go on, beyond what it was given: what was filtered out lies before it as well.
pub(super) const CURSOR_HEADER: &str = "x-cursor";

/// The query of one who stays, and the key, which it may bring as well as a header.
pub(super) fn of_session(request: &HttpRequest) -> Result<(Query, Option<SecretString>), ApiError> {
    let query = Query::of(request, &[&PARAMETERS[..], &Subscription::OF_SESSIONS, &["api_key"]].concat())?;
    let key = api_key(request).or_else(|| query.text("api_key").map(SecretString::from));
    Ok((query, key))
}

/// What a request asks for.
pub(super) fn subscription(query: &Query) -> Result<Subscription, ApiError> {
    Subscription::read(|name| query.text(name)).map_err(|problem| ApiError::invalid(problem.to_string()))
}

/// A cursor in the query.
pub(super) fn cursor(query: &Query) -> Result<Option<Seq>, ApiError> {
    match query.integer("after")? {
        Some(after) if after < 0 => Err(ApiError::invalid("after: must not be negative")),
        after => Ok(after.map(Seq)),
    }
}

/// Events as a JSON array; the text of each is as it is on the WebSocket.
pub(super) fn array(frames: &[Frame], ids_as_text: bool) -> String {
    let mut body = String::with_capacity(2 + frames.iter().map(|frame| frame.text.len() + 1).sum::<usize>());
    body.push('[');
    for (place, frame) in frames.iter().enumerate() {
        if place > 0 {
            body.push(',');
        }
        if ids_as_text {
            body.push_str(&frame.text_with_text_ids());
        } else {
            body.push_str(&frame.text);
        }
    }
    body.push(']');
    body
}

/// A cursor that can't be served.
pub(super) fn bad_cursor(problem: BadCursor, bounds: Bounds) -> ApiError {
    match problem {
        BadCursor::Ahead => ApiError::new(ErrorCode::CursorAhead, "The cursor lies beyond the newest event")
            .with_details(json!({"seq": bounds.head})),
        BadCursor::Expired => {
            ApiError::new(ErrorCode::CursorExpired, "The events behind this cursor are no longer kept")
                .with_details(json!({"oldest_seq": bounds.oldest, "seq": bounds.head}))
        }
    }
}

/// A consumer whose connections are at another process.
pub(super) fn elsewhere() -> ApiError {
    let sentence = "The connections that share this consumer's work are at another server";
    ApiError { retry_after: Some(5), ..ApiError::new(ErrorCode::ConsumerElsewhere, sentence) }
}

/// A consumer that would be one too many.
pub(super) fn too_many_consumers() -> ApiError {
    ApiError::new(ErrorCode::TooManyConsumers, "The app has too many consumers: delete some")
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooMany => Self {
                retry_after: Some(5),
                ..Self::new(ErrorCode::TooManyConnections, "The app has too many connections")
            },
            Refusal::Consumer(JoinError::TooMany) => too_many_consumers(),
            Refusal::Consumer(_) => elsewhere(),
            Refusal::Cursor(problem, bounds) => bad_cursor(problem, bounds),
            Refusal::Store(failure) => failure.into(),
        }
    }
}
