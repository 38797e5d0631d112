//! Dialpad's REST API, as far as we ask anything of it. Ids come as numbers or as strings and are read alike.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use thiserror::Error;

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
    /// Its answer can't be understood.
    #[error("Dialpad's answer can't be understood")]
    Nonsense,
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

    /// Asks for `/api/v2/{path}`.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        token: &SecretString,
        body: Option<&Value>,
    ) -> Result<Value, DialpadError> {
        let url = self.url(&format!("api/v2/{path}"));
        let request = self.http.request(method, url).bearer_auth(token.expose_secret());
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await?;
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
        let user = self.ask(Method::GET, "users/me", token, None).await;
        if let Some(id) = user.as_ref().ok().and_then(|user| id(user.get("company_id")?)) {
            return Ok(Some(id));
        }
        let company = self.ask(Method::GET, "company", token, None).await;
        if let Some(id) = company.as_ref().ok().and_then(|company| id(company.get("id")?)) {
            return Ok(Some(id));
        }
        user.and(company).map(|_| None)
    }
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
