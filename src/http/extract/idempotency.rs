//! `Idempotency-Key`: a request that creates something is done once, however often it comes.
//!
//! [`once`] does the work of a handler under the key of its request, or gives the answer that the first one got. To
//! use it in one more handler: check the request, say what it asks for as one JSON value, and put what creates
//! something into the closure; it says what came of it as an [`Outcome`], and knows from its [`Attempt`] whether an
//! earlier one was begun and never answered.
//!
//! Only what is known for good is kept. Where nothing was done, the key is free again; where that is not known, the
//! next request with the key is an attempt in doubt, which must look before it does anything.

use std::{future::Future, time::Duration};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{StatusCode, header::ContentType},
    rt,
    web::Data,
};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};
use tracing::{Instrument, warn};
use tracing_actix_web::RequestId;
use uuid::Uuid;

use crate::http::state::AppState;
use crate::{
    http::error::{ApiError, ErrorCode},
    store::idempotency::{HeldKey, KeptAnswer, KeyedRequest, Taken},
};

const HEADER: &str = "idempotency-key";
const REPLAYED: &str = "idempotent-replayed";
const LONGEST_KEY: usize = 255;
/// How long a request waits for the first one with its key.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a handler may rely on while it does the work of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// What the request is known by where it is passed on to.
    pub(crate) correlation: Uuid,
    /// When the first attempt began.
    pub(crate) begun_at: DateTime<Utc>,
    /// An earlier attempt was begun, and what came of it is not known. What it may have done must not be done again.
    pub(crate) is_in_doubt: bool,
}

/// What came of an attempt.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is done: the key always gets this answer.
    Done(StatusCode, Value),
    /// It was refused for good: the key always gets this answer.
    Refused(ApiError),
    /// Surely nothing was done: the same key may try again.
    NothingDone(ApiError),
    /// Nobody knows. The next request with the key is in doubt.
    InDoubt(ApiError),
}

/// Does the work of a request, once for each key that `scope` uses. Once it is begun it is finished, even if nobody
/// waits for the answer any more.
pub(crate) async fn once<Work>(
    request: &HttpRequest,
    shared: &Data<AppState>,
    scope: String,
    asked: &Value,
    work: impl FnOnce(Attempt) -> Work + 'static,
) -> Result<HttpResponse, ApiError>
where
    Work: Future<Output = Outcome> + 'static,
{
    let request_id = request.extensions().get::<RequestId>().map(ToString::to_string);
    let Some(key) = key_of(request)? else {
        let attempt =
            Attempt { correlation: Uuid::now_v7(), begun_at: shared.clock.now(), is_in_doubt: false };
        let work = work(attempt);
        return finish(async move { answer(work.await, request_id.as_deref()) }).await;
    };
    let hash = fingerprint(request, asked);
    let (held, is_in_doubt) =
        match take(shared, KeyedRequest { scope: &scope, key: &key, hash: &hash }).await? {
            Taken::Fresh(held) => (held, false),
            Taken::InDoubt(held) => (held, true),
            Taken::Answered(kept) => return replay(&kept),
            Taken::UnderWay => {
                let sentence = "The first request with this idempotency key is under way";
                return Err(ApiError {
                    retry_after: Some(1),
                    ..ApiError::new(ErrorCode::IdempotencyKeyInUse, sentence)
                });
            }
            Taken::AnotherRequest => {
                let sentence = "This idempotency key was used for another request";
                return Err(ApiError::new(ErrorCode::IdempotencyKeyReused, sentence));
            }
        };
    let work = work(Attempt { correlation: held.correlation, begun_at: held.begun_at, is_in_doubt });
    let shared = shared.clone();
    finish(async move {
        let outcome = work.await;
        settle(&shared, &held, &outcome, request_id.as_deref()).await;
        answer(outcome, request_id.as_deref())
    })
    .await
}

/// The key of a request.
fn key_of(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let mut values = request.headers().get_all(HEADER);
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.as_bytes();
    let is_good = (1..=LONGEST_KEY).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    match String::from_utf8(key.to_vec()) {
        Ok(key) if is_good && values.next().is_none() => Ok(Some(key)),
        _ => Err(ApiError::invalid(format!(
            "Idempotency-Key: must be given once, as 1 to {LONGEST_KEY} visible ASCII characters"
        ))),
    }
}

/// What is asked for, and where: the same key must not stand for two things.
fn fingerprint(request: &HttpRequest, asked: &Value) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in [request.method().as_str(), request.path(), &asked.to_string()] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    digest.finalize().to_vec()
}

/// Takes the key, and waits a little for whoever has it.
async fn take(shared: &AppState, request: KeyedRequest<'_>) -> Result<Taken, ApiError> {
    let began = Instant::now();
    loop {
        let taken = shared.store.idempotency().claim(request).await?;
        if !matches!(taken, Taken::UnderWay) || began.elapsed() >= PATIENCE {
            return Ok(taken);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Writes down what came of it. Where that fails, the request is in doubt, which is never wrong.
async fn settle(shared: &AppState, held: &HeldKey, outcome: &Outcome, request_id: Option<&str>) {
    let kept = match outcome {
        Outcome::Done(status, body) => Some(KeptAnswer { status: status.as_u16(), body: body.to_string() }),
        Outcome::Refused(error) => {
            let body = error.body(request_id).to_string();
            Some(KeptAnswer { status: error.code.status().as_u16(), body })
        }
        Outcome::NothingDone(_) | Outcome::InDoubt(_) => None,
    };
    let written = match (kept, outcome) {
        (Some(kept), _) => shared.store.idempotency().store_answer(held, &kept).await,
        (None, Outcome::NothingDone(_)) => shared.store.idempotency().release(held).await,
        (None, _) => shared.store.idempotency().leave_unknown(held).await,
    };
    if let Err(failure) = written {
        warn!(error = %failure, "an answer could not be kept for its idempotency key");
    }
}

fn answer(outcome: Outcome, request_id: Option<&str>) -> Result<HttpResponse, ApiError> {
    match outcome {
        Outcome::Done(status, body) => Ok(HttpResponse::build(status).json(body)),
        // Put into words here, and not by the layers around: these are the words that are kept.
        Outcome::Refused(error) => Ok(error.answer(request_id)),
        Outcome::NothingDone(error) | Outcome::InDoubt(error) => Err(error),
    }
}

fn replay(kept: &KeptAnswer) -> Result<HttpResponse, ApiError> {
    let status = StatusCode::from_u16(kept.status).map_err(|_| ApiError::internal())?;
    let mut answer = HttpResponse::build(status);
    Ok(answer.content_type(ContentType::json()).insert_header((REPLAYED, "true")).body(kept.body.clone()))
}

/// Lets work go on by itself and waits for it: a client that hangs up must not stop it half-way.
async fn finish(
    work: impl Future<Output = Result<HttpResponse, ApiError>> + 'static,
) -> Result<HttpResponse, ApiError> {
    rt::spawn(work.in_current_span()).await.unwrap_or_else(|failure| {
        tracing::error!(error = %failure, "a request was not finished");
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
