//! `Idempotency-Key`: a request that creates something is executed once, however often it is sent.
//!
//! [`once`] executes the work of a handler under the key of its request, or returns the answer that the first request
//! got. To use it in one more handler: check the request, describe its content as one JSON value, and put what creates
//! something into the closure. The closure returns an [`Outcome`], and learns from its [`Attempt`] whether an earlier
//! attempt may have succeeded.
//!
//! Only definite results are stored. Where nothing was done, the key is free again. Where the result is unknown, the
//! next request with the key must look for what the earlier attempt may have created before it creates anything.

use std::{future::Future, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::ContentType},
    rt,
    web::Data,
};
use chrono::{DateTime, Utc};
use cti_actors::{clock::new_uuid, error::StoreError};
use opentelemetry::trace::FutureExt;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};
use tracing::{Instrument, warn};
use utoipa::{
    IntoParams,
    openapi::{
        path::{Parameter, ParameterIn},
        schema::{ObjectBuilder, Type},
    },
};
use uuid::Uuid;

use crate::{
    http::{
        error::{ApiError, ErrorCode},
        middleware::span::request_id,
        openapi::parameters,
        state::AppState,
    },
    store::idempotency::{Claim, HeldKey, KeyedRequest, StoredAnswer},
};

const HEADER: &str = "Idempotency-Key";
const REPLAYED: &str = "Idempotent-Replayed";
const MAX_KEY_LEN: usize = 255;
/// How long a request waits for the first one with its key.
const WAIT_TIMEOUT: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The scope of administrators: they share their keys. The scope of an app is its id.
pub(crate) const ADMINISTRATORS: &str = "internal";

/// The header of a request that is executed once.
pub(crate) struct IdempotencyKey;

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let key = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[!-~]{1,255}$"));
        let description = "Makes the request safe to retry: for 24 hours, the same key with the same request returns \
                           the same answer, with `Idempotent-Replayed: true`.";
        vec![parameters::header(HEADER, key, description)]
    }
}

/// One execution of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// Identifies the request wherever it is passed on to. The same in every attempt.
    pub(crate) correlation: Uuid,
    /// When the first attempt began.
    pub(crate) begun_at: DateTime<Utc>,
    /// An earlier attempt began, and its result is unknown: what it may have created must not be created again.
    pub(crate) follows_unknown: bool,
}

/// The result of an attempt.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Done: the key always gets this answer.
    Done(StatusCode, Value),
    /// Refused for good: the key always gets this answer.
    Refused(ApiError),
    /// Nothing was done: the same key may try again.
    NothingDone(ApiError),
    /// It is not known whether anything was done.
    Unknown(ApiError),
}

impl Outcome {
    /// Returns the outcome of work in the database that can be repeated without harm.
    pub(crate) fn of_store(result: Result<Value, StoreError>) -> Self {
        match result {
            Ok(body) => Self::Done(StatusCode::OK, body),
            Err(error @ StoreError::Unavailable(_)) => Self::Unknown(error.into()),
            Err(error) => Self::NothingDone(error.into()),
        }
    }
}

/// Executes the work of a request, once for each key in a scope. Work that has begun is completed, even if the client
/// disconnects.
///
/// # Errors
/// The key is malformed, in use, or was used for another request; or the work failed.
pub(crate) async fn once<Work>(
    request: &HttpRequest,
    state: &Data<AppState>,
    scope: String,
    content: &Value,
    work: impl FnOnce(Attempt) -> Work + 'static,
) -> Result<HttpResponse, ApiError>
where
    Work: Future<Output = Outcome> + 'static,
{
    let request_id = request_id(request);
    let Some(key) = key_of(request)? else {
        let attempt =
            Attempt { correlation: new_uuid(), begun_at: state.clock.now(), follows_unknown: false };
        let work = work(attempt);
        return complete(async move { answer(work.await, request_id.as_deref()) }).await;
    };
    let hash = fingerprint(request, content);
    let (held, follows_unknown) =
        match claim(state, KeyedRequest { scope: &scope, key: &key, hash: &hash }).await? {
            Claim::New(held) => (held, false),
            Claim::OutcomeUnknown(held) => (held, true),
            Claim::Answered(stored) => return replay(&stored),
            Claim::InProgress => return Err(in_use()),
            Claim::OtherRequest => return Err(reused()),
        };
    let attempt = Attempt { correlation: held.correlation, begun_at: held.begun_at, follows_unknown };
    let (state, work) = (state.clone(), work(attempt));
    complete(async move {
        let outcome = work.await;
        store(&state, &held, &outcome, request_id.as_deref()).await;
        answer(outcome, request_id.as_deref())
    })
    .await
}

fn in_use() -> ApiError {
    let sentence = "The first request with this idempotency key is in progress";
    ApiError { retry_after: Some(1), ..ApiError::new(ErrorCode::IdempotencyKeyInUse, sentence) }
}

fn reused() -> ApiError {
    let sentence = "This idempotency key was used for another request";
    ApiError::new(ErrorCode::IdempotencyKeyReused, sentence)
}

fn key_of(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let mut values = request.headers().get_all(HEADER);
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.as_bytes();
    let is_valid = (1..=MAX_KEY_LEN).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    match String::from_utf8(key.to_vec()) {
        Ok(key) if is_valid && values.next().is_none() => Ok(Some(key)),
        _ => Err(ApiError::invalid(format!(
            "{HEADER}: must be given once, as 1 to {MAX_KEY_LEN} visible ASCII characters"
        ))),
    }
}

/// Hashes what is requested: the method, the path and the content.
fn fingerprint(request: &HttpRequest, content: &Value) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in [request.method().as_str(), request.path(), &content.to_string()] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    digest.finalize().to_vec()
}

/// Claims the key, and waits a little if another request has it.
async fn claim(state: &AppState, request: KeyedRequest<'_>) -> Result<Claim, ApiError> {
    let started = Instant::now();
    loop {
        let claim = state.store.idempotency().claim(request).await?;
        if !matches!(claim, Claim::InProgress) || started.elapsed() >= WAIT_TIMEOUT {
            return Ok(claim);
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Stores the outcome for the key. Where that fails, the outcome is unknown to the next request, which is always safe.
async fn store(state: &AppState, held: &HeldKey, outcome: &Outcome, request_id: Option<&str>) {
    let keys = state.store.idempotency();
    let stored = match outcome {
        Outcome::Done(status, body) => {
            let answer = StoredAnswer { status: status.as_u16(), body: body.to_string() };
            keys.store_answer(held, &answer).await
        }
        Outcome::Refused(error) => {
            let body = error.body(request_id).to_string();
            keys.store_answer(held, &StoredAnswer { status: error.code.status().as_u16(), body }).await
        }
        Outcome::NothingDone(_) => keys.release(held).await,
        Outcome::Unknown(_) => keys.leave_unknown(held).await,
    };
    if let Err(error) = stored {
        warn!(%error, "an answer could not be stored for its idempotency key");
    }
}

fn answer(outcome: Outcome, request_id: Option<&str>) -> Result<HttpResponse, ApiError> {
    match outcome {
        Outcome::Done(status, body) => Ok(HttpResponse::build(status).json(body)),
        // Written here and not in the middleware: this is the text that is stored.
        Outcome::Refused(error) => Ok(error.answer(request_id)),
        Outcome::NothingDone(error) | Outcome::Unknown(error) => Err(error),
    }
}

fn replay(stored: &StoredAnswer) -> Result<HttpResponse, ApiError> {
    let status = StatusCode::from_u16(stored.status).map_err(|_| ApiError::internal())?;
    let mut answer = HttpResponse::build(status);
    Ok(answer.content_type(ContentType::json()).insert_header((REPLAYED, "true")).body(stored.body.clone()))
}

/// Runs work in a task of its own and waits for it: a client that disconnects must not stop it half-way.
async fn complete(
    work: impl Future<Output = Result<HttpResponse, ApiError>> + 'static,
) -> Result<HttpResponse, ApiError> {
    rt::spawn(work.in_current_span().with_current_context()).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request was not completed");
        Err(ApiError::internal())
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_visible_ascii_and_not_too_long() {
        let longest = "k".repeat(255);
        for (key, is_good) in
            [("a", true), (&*longest, true), ("~!9", true), ("", false), ("a b", false), ("ü", false)]
        {
            let request = TestRequest::default().insert_header((HEADER, key)).to_http_request();
            assert_eq!(key_of(&request).is_ok_and(|read| read.as_deref() == Some(key)), is_good, "{key}");
        }
        let request = TestRequest::default().insert_header((HEADER, "k".repeat(256))).to_http_request();
        assert!(key_of(&request).is_err());
        let request = TestRequest::default().append_header((HEADER, "a")).append_header((HEADER, "a"));
        assert!(key_of(&request.to_http_request()).is_err());
        assert_eq!(key_of(&TestRequest::default().to_http_request()).ok(), Some(None));
    }

    #[test]
    fn another_body_or_another_address_is_another_request() {
        let at = |path: &str| TestRequest::post().uri(path).to_http_request();
        let first = fingerprint(&at("/a"), &json!({"n": 1}));
        assert_eq!(first, fingerprint(&at("/a"), &json!({"n": 1})));
        assert_ne!(first, fingerprint(&at("/a"), &json!({"n": 2})));
        assert_ne!(first, fingerprint(&at("/b"), &json!({"n": 1})));
    }
}
