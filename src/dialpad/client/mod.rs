//! The one place where anything is asked of Dialpad: within its limits, again where that is safe, and not at all while
//! it keeps failing. Ids come as numbers or as strings and are read alike.

mod breaker;
pub mod metrics;
mod rate_limit;
pub mod request;
mod retry;
mod throttle;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::DateTime;
use reqwest::{
    Client, Request, RequestBuilder, Response, StatusCode, Url,
    header::{DATE, HeaderMap, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use thiserror::Error;
use tracing::debug;

use self::{
    metrics::Outcome,
    request::{ApiRequest, Endpoint, Urgency},
    retry::Failure,
    throttle::{Held, Line, Lines},
};
use super::oauth::access::{Access, NoAccess};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take, connection and body included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read; a page of calls is far smaller.
const LARGEST_ANSWER: usize = 8 << 20;

/// Why Dialpad did not do what it was asked.
#[derive(Clone, Debug, Error)]
pub enum DialpadError {
    /// It could not be reached, or took too long.
    #[error("Dialpad can't be reached: {0}")]
    Unreachable(String),
    /// It refused.
    #[error("Dialpad answered {0}")]
    Refused(StatusCode),
    /// It takes no more requests for so long, or we send it none.
    #[error("Dialpad takes no more requests for {} s", whole_seconds(*retry_after))]
    RateLimited {
        /// After which time to try again.
        retry_after: Duration,
    },
    /// It failed so often that it is left alone for so long.
    #[error("Dialpad is left alone for {} s, because it keeps failing", whole_seconds(*retry_after))]
    CircuitOpen {
        /// After which time to try again.
        retry_after: Duration,
    },
    /// Its answer can't be understood.
    #[error("Dialpad's answer can't be understood")]
    InvalidResponse,
    /// The app can't speak to Dialpad.
    #[error(transparent)]
    NoAccess(#[from] NoAccess),
}

impl From<reqwest::Error> for DialpadError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_decode() { Self::InvalidResponse } else { Self::Unreachable(short_reason(&error)) }
    }
}

/// Whole seconds, rounded up: who waits that long has waited long enough.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The reason for which no request can have reached Dialpad.
pub(super) const NEVER_CONNECTED: &str = "Connection failed";

/// A reason that names no URL: one might carry a secret.
pub(crate) fn short_reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "Connection timeout".into()
    } else if error.is_connect() {
        NEVER_CONNECTED.into()
    } else {
        "The connection broke".into()
    }
}

/// The way to Dialpad. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DialpadClient {
    pub(super) http: Client,
    pub(super) base_url: Url,
    lines: Arc<Lines>,
}

impl DialpadClient {
    /// A client for the Dialpad at this address.
    ///
    /// # Errors
    /// The TLS library can't be set up.
    pub fn new(base_url: Url) -> Result<Self, reqwest::Error> {
        // Redirects are not followed: nothing that we ask for has any, and a token must not travel. Nor does it go
        // by way of whatever proxy the environment names.
        let http = Client::builder()
            .user_agent(concat!("cti-server/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { http, base_url, lines: Arc::default() })
    }

    /// Asks a question as whoever has this right.
    ///
    /// # Errors
    /// See [`DialpadError`].
    pub async fn ask(&self, access: &Access, question: &ApiRequest) -> Result<Value, DialpadError> {
        let began = Instant::now();
        let line = self.lines.of(access, began);
        let mut last: Option<Failure> = None;
        let mut tries = 0;
        loop {
            if let Err(held) = place(&line, question, began).await {
                // What Dialpad said itself says more than that it is not asked again.
                return Err(last.map_or_else(|| not_sent(question.endpoint, held), |failure| failure.error));
            }
            tries += 1;
            let failure = match self.try_once(&line, access, question).await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let Some(pause) = retry::pause(question, &failure, tries, began.elapsed(), rand::random()) else {
                return Err(failure.error);
            };
            tokio::time::sleep(pause).await;
            last = Some(failure);
        }
    }

    /// Sends a request that is no question, such as one for audio, within the same limits. It is tried once, and its
    /// answer comes as it is, whatever its status and however large. The request's own time limit goes before the
    /// client's.
    ///
    /// # Errors
    /// There was no place for it, Dialpad is left alone, or no answer came.
    pub async fn fetch(
        &self,
        access: &Access,
        endpoint: Endpoint,
        request: RequestBuilder,
    ) -> Result<Response, DialpadError> {
        let (question, began) = (ApiRequest::get(endpoint, ""), Instant::now());
        let line = self.lines.of(access, began);
        place(&line, &question, began).await.map_err(|held| not_sent(endpoint, held))?;
        let sent = Instant::now();
        let answer = request.send().await;
        let outcome = answer.as_ref().map_or(Outcome::Unreachable, |answer| Outcome::of(answer.status()));
        finish(&line, &question, outcome, sent);
        let answer = answer?;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            line.close(&question, retry_after(answer.headers()), Instant::now());
        }
        Ok(answer)
    }

    /// Sends a request that no limit counts, such as one for tokens. It is tried once.
    pub(super) async fn execute(
        &self,
        endpoint: Endpoint,
        request: Request,
    ) -> Result<Response, reqwest::Error> {
        let sent = Instant::now();
        let answer = self.http.execute(request).await;
        let outcome = answer.as_ref().map_or(Outcome::Unreachable, |answer| Outcome::of(answer.status()));
        metrics::record(endpoint, outcome, sent.elapsed());
        answer
    }

    async fn try_once(&self, line: &Line, access: &Access, question: &ApiRequest) -> Result<Value, Failure> {
        let sent = Instant::now();
        let answered = self.answer_to(access, question).await;
        let outcome = answered.as_ref().map_or_else(|it| Outcome::of_error(&it.error), |_| Outcome::Ok);
        finish(line, question, outcome, sent);
        if let Err(Failure { error: DialpadError::RateLimited { retry_after }, .. }) = &answered {
            line.close(question, *retry_after, Instant::now());
        }
        answered
    }

    async fn answer_to(&self, access: &Access, question: &ApiRequest) -> Result<Value, Failure> {
        let url = self.url(&format!("api/v2/{}", question.path));
        let request = self.http.request(question.method.clone(), url);
        let request = request.bearer_auth(access.token.expose_secret()).query(&question.query);
        let request = match &question.body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await.map_err(|error| {
            let unsent = error.is_connect();
            Failure { error: error.into(), unsent }
        })?;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            let retry_after = retry_after(answer.headers());
            return Err(DialpadError::RateLimited { retry_after }.into());
        }
        if !answer.status().is_success() {
            return Err(DialpadError::Refused(answer.status()).into());
        }
        let bytes = whole(answer).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&bytes).map_err(|_| DialpadError::InvalidResponse)?)
    }

    /// An address at Dialpad, below whatever path the base URL has.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base_url.clone();
        url.set_path(&format!("{}/{path}", self.base_url.path().trim_end_matches('/')));
        url
    }

    /// The organisation that a token belongs to: by the user it stands for, else by the company it administers.
    ///
    /// # Errors
    /// Neither question was answered.
    pub async fn organization_of(&self, token: &SecretString) -> Result<Option<i64>, DialpadError> {
        let access = Access { organization: None, token: token.clone(), generation: 0 };
        let user = self.ask(&access, &ApiRequest::get(Endpoint::User, "users/me")).await;
        if let Some(id) = user.as_ref().ok().and_then(|user| id(user.get("company_id")?)) {
            return Ok(Some(id));
        }
        let company = self.ask(&access, &ApiRequest::get(Endpoint::Company, "company")).await;
        if let Some(id) = company.as_ref().ok().and_then(|company| id(company.get("id")?)) {
            return Ok(Some(id));
        }
        user.and(company).map(|_| None)
    }
}

/// Waits for a place within the limits, as long as whoever asks will wait.
async fn place(line: &Line, question: &ApiRequest, began: Instant) -> Result<(), Held> {
    let patience = match question.urgency {
        Urgency::Foreground => Duration::from_secs(2),
        Urgency::Background => Duration::from_secs(60),
    };
    loop {
        match line.take(question, Instant::now()) {
            Err(Held::NoPlace(wait)) if began.elapsed() + wait <= patience => tokio::time::sleep(wait).await,
            taken => return taken,
        }
    }
}

/// Counts a question that was never asked, and says why it was not.
fn not_sent(endpoint: Endpoint, held: Held) -> DialpadError {
    let (outcome, error) = match held {
        Held::NoPlace(retry_after) => (Outcome::Throttled, DialpadError::RateLimited { retry_after }),
        Held::CircuitOpen(retry_after) => (Outcome::CircuitOpen, DialpadError::CircuitOpen { retry_after }),
    };
    metrics::count(endpoint, outcome);
    error
}

fn finish(line: &Line, question: &ApiRequest, outcome: Outcome, sent: Instant) {
    let took = sent.elapsed();
    metrics::record(question.endpoint, outcome, took);
    line.note(outcome, Instant::now());
    debug!(
        endpoint = question.endpoint.as_str(),
        outcome = outcome.as_str(),
        duration_ms = took.as_millis(),
        "Dialpad was asked"
    );
}

/// The whole body, unless it is larger than anything that makes sense.
async fn whole(mut answer: Response) -> Result<Vec<u8>, DialpadError> {
    let mut bytes = Vec::new();
    // Whatever goes wrong here, the library calls it undecodable.
    let broken = |error: reqwest::Error| DialpadError::Unreachable(short_reason(&error));
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > LARGEST_ANSWER {
            return Err(DialpadError::InvalidResponse);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// How long a 429 asks us to wait, in seconds or until a date; a moment where it does not say.
pub(super) fn retry_after(headers: &HeaderMap) -> Duration {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let date = |name| text(name).and_then(|text| DateTime::parse_from_rfc2822(text).ok());
    let seconds = text(RETRY_AFTER).and_then(|text| text.parse::<u64>().ok()).or_else(|| {
        // By their clock, which need not be ours.
        let rest = date(RETRY_AFTER)? - date(DATE)?;
        u64::try_from(rest.num_seconds()).ok()
    });
    Duration::from_secs(seconds.unwrap_or(1).clamp(1, 3600))
}

/// An id, whether it came as a number or as a string.
pub(super) fn id(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// An id as text, whichever way it came.
pub(super) fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
