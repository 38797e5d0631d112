//! Dialpad's REST API, as far as we ask anything of it. Ids come as numbers or as strings and are read alike.

use std::time::Duration;

use reqwest::{
    Client, StatusCode, Url,
    header::{HeaderMap, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use thiserror::Error;

use super::{
    access::{Access, NoAccess},
    question::{Endpoint, Question},
};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why Dialpad did not do what it was asked.
#[derive(Debug, Error)]
pub enum DialpadError {
    /// It could not be reached, or took too long.
    #[error("Dialpad can't be reached: {0}")]
    Unreachable(String),
    /// It refused.
    #[error("Dialpad answered {0}")]
    Refused(StatusCode),
    /// It takes no more requests for so long, or we send it none.
    #[error("Dialpad takes no more requests for {} s", retry_after.as_secs())]
    RateLimited {
        /// After which time to try again.
        retry_after: Duration,
    },
    /// It failed so often that it is left alone for so long.
    #[error("Dialpad is left alone for {} s, because it keeps failing", retry_after.as_secs())]
    LeftAlone {
        /// After which time to try again.
        retry_after: Duration,
    },
    /// Its answer can't be understood.
    #[error("Dialpad's answer can't be understood")]
    Nonsense,
    /// The app can't speak to Dialpad.
    #[error(transparent)]
    NoAccess(#[from] NoAccess),
}

impl From<reqwest::Error> for DialpadError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_decode() { Self::Nonsense } else { Self::Unreachable(short_reason(&error)) }
    }
}

/// A reason that names no URL: one might carry a secret.
pub(crate) fn short_reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "Connection timeout".into()
    } else if error.is_connect() {
        "Connection failed".into()
    } else {
        "The connection broke".into()
    }
}

/// The way to Dialpad. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DialpadClient {
    pub(super) http: Client,
    pub(super) base_url: Url,
}

impl DialpadClient {
    /// A client for the Dialpad at this address.
    ///
    /// # Errors
    /// The TLS library can't be set up.
    pub fn new(base_url: Url) -> Result<Self, reqwest::Error> {
        // Redirects are not followed: nothing that we ask for has any, and a token must not travel.
        let http = Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { http, base_url })
    }

    /// Asks a question as whoever has this right.
    ///
    /// # Errors
    /// See [`DialpadError`].
    pub async fn ask(&self, access: &Access, question: &Question) -> Result<Value, DialpadError> {
        let url = self.url(&format!("api/v2/{}", question.path));
        let request = self.http.request(question.method.clone(), url);
        let request = request.bearer_auth(access.token.expose_secret()).query(&question.query);
        let request = match &question.body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await?;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            return Err(DialpadError::RateLimited { retry_after: retry_after(answer.headers()) });
        }
        if !answer.status().is_success() {
            return Err(DialpadError::Refused(answer.status()));
        }
        let bytes = answer.bytes().await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| DialpadError::Nonsense)
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
        let user = self.ask(&access, &Question::get(Endpoint::User, "users/me")).await;
        if let Some(id) = user.as_ref().ok().and_then(|user| id(user.get("company_id")?)) {
            return Ok(Some(id));
        }
        let company = self.ask(&access, &Question::get(Endpoint::Company, "company")).await;
        if let Some(id) = company.as_ref().ok().and_then(|company| id(company.get("id")?)) {
            return Ok(Some(id));
        }
        user.and(company).map(|_| None)
    }
}

/// How long a 429 asks us to wait; a moment where it does not say.
fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
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
