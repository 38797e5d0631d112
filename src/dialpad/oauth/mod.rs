//! OAuth 2 with PKCE against Dialpad: where to send a person, and what to make of the code they bring back.

pub mod access;
pub mod disconnect;
pub mod refresh;
pub mod scopes;
pub(crate) mod token_reply;

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::model::token::schedule::{Reply as Judged, Verdict};
use futures_util::future::BoxFuture;
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken,
    EndpointNotSet, EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, RevocationErrorResponseType, Scope,
    StandardErrorResponse, StandardRevocableToken, StandardTokenIntrospectionResponse, StandardTokenResponse,
    TokenResponse, TokenUrl,
    basic::{BasicErrorResponse, BasicTokenType},
};
use reqwest::{Method, Url, header::RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{
    client::{DialpadClient, DialpadError, id, request::Endpoint, retry_after, short_reason},
    oauth::token_reply::put_right,
};
use crate::{config::OauthClient, store::dialpad::connections::Tokens};

/// How long a reply with tokens may take. The lease of a renewal is longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why no tokens came.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{reason}")]
pub struct NoTokens {
    /// What Dialpad answered; `None` when it did not.
    pub status: Option<u16>,
    /// What that means for tokens that there were before.
    pub verdict: Verdict,
    /// Why, in short; holds no secret.
    pub reason: String,
    /// How long Dialpad wants to be left alone.
    pub retry_after: Option<TimeDelta>,
}

impl NoTokens {
    /// Whether it was Dialpad's will, and not a failure of any kind.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.status.is_some_and(|status| (400..500).contains(&status))
    }
}

/// An authorisation that can begin: send the person to `url`, keep the rest.
pub struct Authorization {
    /// Dialpad's page.
    pub url: Url,
    /// What must come back with the person.
    pub verifier: SecretString,
}

/// What Dialpad may say beyond the standard: some replies name the organisation.
#[derive(Debug, Deserialize, Serialize)]
struct Extra {
    #[serde(default)]
    organization_id: Value,
    #[serde(default)]
    company_id: Value,
}

impl ExtraTokenFields for Extra {}

type Reply = StandardTokenResponse<Extra, BasicTokenType>;
type OurClient = Client<
    BasicErrorResponse,
    Reply,
    StandardTokenIntrospectionResponse<Extra, BasicTokenType>,
    StandardRevocableToken,
    StandardErrorResponse<RevocationErrorResponseType>,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl DialpadClient {
    /// Prepares an authorisation under this state.
    #[must_use]
    pub fn authorization(
        &self,
        client: &OauthClient,
        redirect_uri: &Url,
        scopes: &[String],
        state: &SecretString,
    ) -> Authorization {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let state = state.expose_secret().to_owned();
        let (url, _) = self
            .oauth(client)
            .set_redirect_uri(RedirectUrl::from_url(redirect_uri.clone()))
            .authorize_url(|| CsrfToken::new(state))
            .add_scopes(scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(challenge)
            .url();
        Authorization { url, verifier: verifier.into_secret().into() }
    }

    /// Trades an authorisation code for tokens. The second value is the organisation, where the reply names one.
    ///
    /// # Errors
    /// See [`NoTokens`].
    pub async fn exchange(
        &self,
        client: &OauthClient,
        redirect_uri: &Url,
        code: String,
        verifier: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<(Tokens, Option<i64>), NoTokens> {
        let wire = Wire::new(self);
        let reply = self
            .oauth(client)
            .set_redirect_uri(RedirectUrl::from_url(redirect_uri.clone()))
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()))
            .request_async(&wire)
            .await;
        let reply = wire.judge(reply)?;
        let tokens = tokens(&reply, now);
        // Without a refresh token the access token is a static key.
        let expires_at = tokens.expires_at.filter(|_| tokens.refresh.is_some());
        let extra = reply.extra_fields();
        let organization = id(&extra.organization_id).or_else(|| id(&extra.company_id));
        Ok((Tokens { expires_at, ..tokens }, organization))
    }

    /// Trades a refresh token for the next pair. Where the reply has no refresh token, the old one goes on.
    ///
    /// # Errors
    /// See [`NoTokens`].
    pub async fn refresh(
        &self,
        client: &OauthClient,
        refresh_token: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<Tokens, NoTokens> {
        let wire = Wire::new(self);
        let refresh_token = RefreshToken::new(refresh_token.expose_secret().to_owned());
        let reply = self.oauth(client).exchange_refresh_token(&refresh_token).request_async(&wire).await;
        Ok(tokens(&wire.judge(reply)?, now))
    }

    /// Revokes a token, and with it the whole authorisation.
    ///
    /// # Errors
    /// Dialpad could not be asked, or refused.
    pub async fn deauthorize(&self, token: &SecretString) -> Result<(), DialpadError> {
        let url = self.url("oauth2/deauthorize");
        let request = self.http.request(Method::POST, url).bearer_auth(token.expose_secret()).build()?;
        let answer = self.execute(Endpoint::Deauthorize, request).await?;
        if answer.status().is_success() { Ok(()) } else { Err(DialpadError::Refused(answer.status())) }
    }

    fn oauth(&self, client: &OauthClient) -> OurClient {
        Client::new(ClientId::new(client.id.clone()))
            .set_client_secret(ClientSecret::new(client.secret.expose_secret().to_owned()))
            // In the body and form-encoded: what every known integration sends.
            .set_auth_type(AuthType::RequestBody)
            .set_auth_uri(AuthUrl::from_url(self.url("oauth2/authorize")))
            .set_token_uri(TokenUrl::from_url(self.url("oauth2/token")))
    }
}

fn tokens(reply: &Reply, now: DateTime<Utc>) -> Tokens {
    let lifetime = reply.expires_in().and_then(|it| TimeDelta::from_std(it).ok()).unwrap_or_default();
    Tokens {
        access: reply.access_token().secret().clone().into(),
        refresh: reply.refresh_token().map(|token| token.secret().clone().into()),
        issued_at: now,
        expires_at: Some(now + lifetime),
    }
}

/// The library's way to Dialpad for one request. Notes what the library does not pass on of the answer.
struct Wire {
    client: DialpadClient,
    /// 0: there was no answer.
    status: AtomicU16,
    /// In seconds; 0: it did not say.
    retry_after: AtomicU64,
}

impl<'l> AsyncHttpClient<'l> for Wire {
    type Error = reqwest::Error;
    type Future = BoxFuture<'l, Result<HttpResponse, reqwest::Error>>;

    fn call(&'l self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl Wire {
    fn new(client: &DialpadClient) -> Self {
        Self { client: client.clone(), status: AtomicU16::new(0), retry_after: AtomicU64::new(0) }
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
        let mut request: reqwest::Request = request.try_into()?;
        *request.timeout_mut() = Some(TIMEOUT);
        let answer = self.client.execute(Endpoint::Token, request).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await?;
        self.status.store(status.as_u16(), Ordering::Relaxed);
        if headers.contains_key(RETRY_AFTER) {
            self.retry_after.store(retry_after(&headers).as_secs(), Ordering::Relaxed);
        }
        let tokens = if status.is_success() { put_right(&body) } else { None };
        // The library minds the content type of a success; what is in it is known by now.
        let mut response =
            HttpResponse::new(tokens.map_or_else(|| body.to_vec(), |it| it.to_string().into()));
        *response.status_mut() = status;
        Ok(response)
    }

    /// The library tells a refusal from nonsense by the body alone; the status decides here.
    fn judge(
        self,
        reply: Result<Reply, RequestTokenError<reqwest::Error, BasicErrorResponse>>,
    ) -> Result<Reply, NoTokens> {
        let (status, retry_after) = (self.status.into_inner(), self.retry_after.into_inner());
        let error = match reply {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        let word = match &error {
            RequestTokenError::ServerResponse(said) => Some(said.error().as_ref()),
            _ => None,
        };
        let (judged, reason) = match &error {
            RequestTokenError::Request(error) => (Judged::Silence, short_reason(error)),
            _ if status < 400 => (Judged::InvalidResponse, "Dialpad's answer can't be understood".to_owned()),
            _ => (Judged::Refusal { status, error: word }, refusal(status, word)),
        };
        Err(NoTokens {
            status: (status > 0).then_some(status),
            verdict: judged.verdict(),
            reason,
            retry_after: i64::try_from(retry_after)
                .ok()
                .filter(|seconds| *seconds > 0)
                .and_then(TimeDelta::try_seconds),
        })
    }
}

/// The word of an error is theirs: it is shown only where it looks like one.
fn refusal(status: u16, word: Option<&str>) -> String {
    let is_word =
        |text: &&str| text.len() <= 40 && text.bytes().all(|it| it.is_ascii_lowercase() || it == b'_');
    match word.filter(is_word) {
        Some(word) => format!("Dialpad answered {status} {word}"),
        None => format!("Dialpad answered {status}"),
    }
}
