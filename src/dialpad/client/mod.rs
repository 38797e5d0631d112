//! The client of Dialpad's REST API: keeps its rate limits, retries where that is safe, and stops sending requests while
//! Dialpad keeps failing.
//!
//! The rules are pure and have a file each: [`rate_limit`], [`retry`] and [`breaker`]. [`throttle`] holds their state
//! for each company, [`metrics`] counts.

mod breaker;
mod error;
mod ids;
pub mod metrics;
mod rate_limit;
pub mod request;
mod retry;
mod throttle;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Client, Request, RequestBuilder, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::sleep;
use tracing::debug;

pub use self::error::DialpadError;
pub(crate) use self::{
    error::{NEVER_CONNECTED, retry_after, short_reason, whole_seconds},
    ids::{id, id_text},
};
use self::{
    metrics::Outcome,
    request::{ApiRequest, Endpoint, Urgency},
    retry::Failure,
    throttle::{OrgThrottle, OrgThrottles, Rejected},
};
use super::oauth::access::Access;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the connection to the last byte of the body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// In bytes; a page of calls is far smaller.
const MAX_RESPONSE_SIZE: usize = 8 << 20;

/// Sends requests to Dialpad. Cheap to clone; all clones share the connections and the rate limits.
#[derive(Clone, Debug)]
pub struct DialpadClient {
    pub(super) http: Client,
    pub(super) base_url: Url,
    throttles: Arc<OrgThrottles>,
}

impl DialpadClient {
    /// Creates a client for the Dialpad at this address.
    ///
    /// # Errors
    /// The TLS library can't be set up.
    pub fn new(base_url: Url) -> Result<Self, reqwest::Error> {
        // No redirects: no endpoint of the API has any, and a token must not travel. For the same reason no proxy is
        // taken from the environment.
        let http = Client::builder()
            .user_agent(concat!("cti-server/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { http, base_url, throttles: Arc::default() })
    }

    /// Sends a request, within the rate limits, and retries it where that is safe. Returns the JSON body of the
    /// answer; `null` if it has none.
    ///
    /// # Errors
    /// See [`DialpadError`].
    pub async fn send(&self, access: &Access, request: &ApiRequest) -> Result<Value, DialpadError> {
        let started_at = Instant::now();
        let throttle = self.throttles.of(access, started_at);
        let mut last_failure: Option<Failure> = None;
        let mut attempt = 0;
        loop {
            if let Err(rejected) = acquire(&throttle, request, started_at).await {
                // Dialpad's own answer says more than that there was no further attempt.
                return Err(match last_failure {
                    Some(failure) => failure.error,
                    None => not_sent(request.endpoint, rejected),
                });
            }
            attempt += 1;
            let failure = match self.send_once(&throttle, access, request).await {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            let pause = retry::pause(request, &failure, attempt, started_at.elapsed(), rand::random());
            let Some(pause) = pause else { return Err(failure.error) };
            sleep(pause).await;
            last_failure = Some(failure);
        }
    }

    /// Sends a request outside of the REST API, such as one for audio, within the same limits. It is not retried, and
    /// the answer is returned whatever its status and size. A timeout of the request itself overrides the client's.
    ///
    /// # Errors
    /// The request was rejected, or no answer came.
    pub async fn fetch(
        &self,
        access: &Access,
        endpoint: Endpoint,
        request: RequestBuilder,
    ) -> Result<Response, DialpadError> {
        let limited_as = ApiRequest::get(endpoint, "");
        let started_at = Instant::now();
        let throttle = self.throttles.of(access, started_at);
        let acquired = acquire(&throttle, &limited_as, started_at).await;
        acquired.map_err(|rejected| not_sent(endpoint, rejected))?;
        self.fetch_unlimited(access, endpoint, request).await
    }

    /// Sends a request that belongs to one that was counted, such as that of a redirect. Otherwise as [`Self::fetch`].
    ///
    /// # Errors
    /// No answer came.
    pub async fn fetch_unlimited(
        &self,
        access: &Access,
        endpoint: Endpoint,
        request: RequestBuilder,
    ) -> Result<Response, DialpadError> {
        let limited_as = ApiRequest::get(endpoint, "");
        let sent_at = Instant::now();
        let throttle = self.throttles.of(access, sent_at);
        let answer = request.send().await;
        record(&throttle, endpoint, outcome_of(&answer), sent_at);
        let answer = answer?;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            throttle.close(&limited_as, retry_after(answer.headers()), Instant::now());
        }
        Ok(answer)
    }

    /// Sends a request that has no rate limit, such as one for tokens. It is not retried.
    pub(super) async fn execute(
        &self,
        endpoint: Endpoint,
        request: Request,
    ) -> Result<Response, reqwest::Error> {
        let sent_at = Instant::now();
        let answer = self.http.execute(request).await;
        metrics::record(endpoint, outcome_of(&answer), sent_at.elapsed());
        answer
    }

    async fn send_once(
        &self,
        throttle: &OrgThrottle,
        access: &Access,
        request: &ApiRequest,
    ) -> Result<Value, Failure> {
        let sent_at = Instant::now();
        let answer = self.exchange_json(access, request).await;
        let outcome = match &answer {
            Ok(_) => Outcome::Ok,
            Err(failure) => Outcome::of_error(&failure.error),
        };
        record(throttle, request.endpoint, outcome, sent_at);
        if let Err(Failure { error: DialpadError::RateLimited { retry_after }, .. }) = &answer {
            throttle.close(request, *retry_after, Instant::now());
        }
        answer
    }

    async fn exchange_json(&self, access: &Access, request: &ApiRequest) -> Result<Value, Failure> {
        let url = self.url(&format!("api/v2/{}", request.path));
        let mut builder = self
            .http
            .request(request.method.clone(), url)
            .bearer_auth(access.token.expose_secret())
            .query(&request.query);
        if let Some(body) = &request.body {
            builder = builder.json(body);
        }
        let answer = builder.send().await.map_err(|error| {
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
        let bytes = read_body(answer).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&bytes).map_err(|_| DialpadError::InvalidResponse)?)
    }

    /// Returns an address at Dialpad, below the path of the base URL.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base_url.clone();
        url.set_path(&format!("{}/{path}", self.base_url.path().trim_end_matches('/')));
        url
    }

    /// Returns the organization that a token belongs to: that of its user, else the company that it administers.
    ///
    /// # Errors
    /// Neither request was answered.
    pub async fn organization_of(&self, token: &SecretString) -> Result<Option<i64>, DialpadError> {
        let access = Access { organization: None, token: token.clone(), generation: 0 };
        let user = self.send(&access, &ApiRequest::get(Endpoint::User, "users/me")).await;
        if let Some(id) = user.as_ref().ok().and_then(|user| id(user.get("company_id")?)) {
            return Ok(Some(id));
        }
        let company = self.send(&access, &ApiRequest::get(Endpoint::Company, "company")).await;
        if let Some(id) = company.as_ref().ok().and_then(|company| id(company.get("id")?)) {
            return Ok(Some(id));
        }
        user.and(company).map(|_| None)
    }
}

/// Waits until the rate limits allow a request, unless that takes too long.
async fn acquire(throttle: &OrgThrottle, request: &ApiRequest, started_at: Instant) -> Result<(), Rejected> {
    let max_wait = match (request.urgency, request.endpoint) {
        // A page of a CRM that shows many recordings asks for all of them at once.
        (Urgency::Foreground, Endpoint::Recording) => Duration::from_secs(5),
        (Urgency::Foreground, _) => Duration::from_secs(2),
        (Urgency::Background, _) => Duration::from_secs(60),
    };
    loop {
        match throttle.acquire(request, Instant::now()) {
            Err(Rejected::RateLimited(wait)) if started_at.elapsed() + wait <= max_wait => sleep(wait).await,
            acquired => return acquired,
        }
    }
}

/// Counts a request that was rejected, and converts the reason.
fn not_sent(endpoint: Endpoint, rejected: Rejected) -> DialpadError {
    let (outcome, error) = match rejected {
        Rejected::RateLimited(retry_after) => (Outcome::Throttled, DialpadError::RateLimited { retry_after }),
        Rejected::CircuitOpen(retry_after) => {
            (Outcome::CircuitOpen, DialpadError::CircuitOpen { retry_after })
        }
    };
    metrics::count(endpoint, outcome);
    error
}

fn outcome_of(answer: &Result<Response, reqwest::Error>) -> Outcome {
    answer.as_ref().map_or(Outcome::Unreachable, |answer| Outcome::of(answer.status()))
}

fn record(throttle: &OrgThrottle, endpoint: Endpoint, outcome: Outcome, sent_at: Instant) {
    let duration = sent_at.elapsed();
    metrics::record(endpoint, outcome, duration);
    throttle.record(outcome, Instant::now());
    debug!(
        endpoint = endpoint.as_str(),
        outcome = outcome.as_str(),
        duration_ms = duration.as_millis(),
        "Dialpad answered, or failed to"
    );
}

/// Reads a body of at most [`MAX_RESPONSE_SIZE`].
async fn read_body(mut answer: Response) -> Result<Vec<u8>, DialpadError> {
    let mut bytes = Vec::new();
    // The library calls every failure here a decoding error; it is the connection that broke.
    let broken = |error: reqwest::Error| DialpadError::Unreachable(short_reason(&error));
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > MAX_RESPONSE_SIZE {
            return Err(DialpadError::InvalidResponse);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
