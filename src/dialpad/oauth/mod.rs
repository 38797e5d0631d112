//! OAuth 2 against Dialpad: the authorization code flow (RFC 6749) with PKCE (RFC 7636), and the refresh of tokens.

pub mod access;
pub mod disconnect;
pub mod refresh;
pub mod scopes;
pub(crate) mod token_reply;

use std::{
    sync::atomic::{AtomicU16, AtomicU64, Ordering},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::model::token::schedule::{Reply as TokenReply, Verdict};
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
    oauth::token_reply::normalize,
};
use crate::{config::OauthClient, store::dialpad::connections::Tokens};

/// Shorter than the lease of a refresh.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Why Dialpad issued no tokens.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{reason}")]
pub struct TokenError {
    /// The status of Dialpad's answer, if there was one.
    pub status: Option<u16>,
    /// What that means for the tokens that the app had before.
    pub verdict: Verdict,
    /// A short description without secrets.
    pub reason: String,
    /// How long Dialpad asks to wait.
    pub retry_after: Option<TimeDelta>,
}

impl TokenError {
    /// Returns whether Dialpad answered with a client error (4xx).
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.status.is_some_and(|status| (400..500).contains(&status))
    }
}

/// A prepared authorization: redirect the browser to `url` and keep the rest.
pub struct Authorization {
    /// Dialpad's authorization page.
    pub url: Url,
    /// The PKCE verifier; needed with the code.
    pub verifier: SecretString,
}

/// Fields of a token reply beyond the standard: some replies name the organization.
#[derive(Debug, Deserialize, Serialize)]
struct Extra {
    #[serde(default)]
    organization_id: Value,
    #[serde(default)]
    company_id: Value,
    /// Added where the reply is read.
    #[serde(default)]
    lifetime_is_assumed: bool,
}

/// What was received for an authorization code.
pub struct Exchanged {
    /// The tokens.
    pub tokens: Tokens,
    /// The organization, if the reply names one.
    pub organization: Option<i64>,
    /// The granted scopes, separated by spaces.
    pub scopes: String,
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
    /// Prepares an authorization with this `state` parameter.
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

    /// Exchanges an authorization code for tokens. `requested`: the scopes that were.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn exchange(
        &self,
        client: &OauthClient,
        redirect_uri: &Url,
        code: String,
        verifier: &SecretString,
        requested: &[String],
        now: DateTime<Utc>,
    ) -> Result<Exchanged, TokenError> {
        let transport = Transport::new(self);
        let reply = self
            .oauth(client)
            .set_redirect_uri(RedirectUrl::from_url(redirect_uri.clone()))
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()))
            .request_async(&transport)
            .await;
        let reply = transport.check(reply)?;
        let tokens = tokens(&reply, now);
        let extra = reply.extra_fields();
        let is_renewable = tokens.refresh.is_some();
        // Without a refresh token the access token is a static key: no lifetime is assumed for it.
        let expires_at = tokens.expires_at.filter(|_| is_renewable || !extra.lifetime_is_assumed);
        let reported = reply.scopes().map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect());
        let requested = || requested.iter().map(String::as_str).collect();
        Ok(Exchanged {
            tokens: Tokens { expires_at, ..tokens },
            organization: id(&extra.organization_id).or_else(|| id(&extra.company_id)),
            scopes: scopes::granted(reported.unwrap_or_else(requested), is_renewable),
        })
    }

    /// Exchanges a refresh token for new tokens. A reply without a refresh token leaves the old one valid.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn refresh(
        &self,
        client: &OauthClient,
        refresh_token: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<Tokens, TokenError> {
        let transport = Transport::new(self);
        let refresh_token = RefreshToken::new(refresh_token.expose_secret().to_owned());
        let reply = self.oauth(client).exchange_refresh_token(&refresh_token).request_async(&transport).await;
        Ok(tokens(&transport.check(reply)?, now))
    }

    /// Revokes a token and all others of its authorization.
    ///
    /// # Errors
    /// There was no answer, or it was no success.
    pub async fn deauthorize(&self, token: &SecretString) -> Result<(), DialpadError> {
        let url = self.url("oauth2/deauthorize");
        let request = self.http.request(Method::POST, url).bearer_auth(token.expose_secret()).build()?;
        let answer = self.execute(Endpoint::Deauthorize, request).await?;
        if answer.status().is_success() { Ok(()) } else { Err(DialpadError::Refused(answer.status())) }
    }

    fn oauth(&self, client: &OauthClient) -> OurClient {
        Client::new(ClientId::new(client.id.clone()))
            .set_client_secret(ClientSecret::new(client.secret.expose_secret().to_owned()))
            // In the form-encoded body, as every known integration sends it.
            .set_auth_type(AuthType::RequestBody)
            .set_auth_uri(AuthUrl::from_url(self.url("oauth2/authorize")))
            .set_token_uri(TokenUrl::from_url(self.url("oauth2/token")))
    }
}

fn tokens(reply: &Reply, now: DateTime<Utc>) -> Tokens {
    let lifetime = reply.expires_in().and_then(|duration| TimeDelta::from_std(duration).ok());
    Tokens {
        access: reply.access_token().secret().clone().into(),
        refresh: reply.refresh_token().map(|token| token.secret().clone().into()),
        issued_at: now,
        expires_at: Some(now + lifetime.unwrap_or_default()),
    }
}

/// Sends one request of the OAuth library, and keeps what the library does not pass on of the answer.
struct Transport {
    client: DialpadClient,
    /// 0 if there was no answer.
    status: AtomicU16,
    /// In seconds; 0 if the answer has none.
    retry_after: AtomicU64,
}

impl<'l> AsyncHttpClient<'l> for Transport {
    type Error = reqwest::Error;
    type Future = BoxFuture<'l, Result<HttpResponse, reqwest::Error>>;

    fn call(&'l self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl Transport {
    fn new(client: &DialpadClient) -> Self {
        Self { client: client.clone(), status: AtomicU16::new(0), retry_after: AtomicU64::new(0) }
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
        let mut request: reqwest::Request = request.try_into()?;
        *request.timeout_mut() = Some(TOKEN_TIMEOUT);
        let answer = self.client.execute(Endpoint::Token, request).await?;
        let status = answer.status();
        let headers = answer.headers().clone();
        let body = answer.bytes().await?;
        self.status.store(status.as_u16(), Ordering::Relaxed);
        if headers.contains_key(RETRY_AFTER) {
            self.retry_after.store(retry_after(&headers).as_secs(), Ordering::Relaxed);
        }
        let tokens = if status.is_success() { normalize(&body) } else { None };
        // Without headers: the library would check the content type of a success, which has been parsed by now.
        let mut response =
            HttpResponse::new(tokens.map_or_else(|| body.to_vec(), |tokens| tokens.to_string().into()));
        *response.status_mut() = status;
        Ok(response)
    }

    /// Classifies the reply by its status. The library distinguishes a refusal from an invalid answer by the body alone.
    fn check(
        self,
        reply: Result<Reply, RequestTokenError<reqwest::Error, BasicErrorResponse>>,
    ) -> Result<Reply, TokenError> {
        let status = self.status.into_inner();
        let retry_after = i64::try_from(self.retry_after.into_inner()).ok();
        let error = match reply {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        let error_code = match &error {
            RequestTokenError::ServerResponse(response) => Some(response.error().as_ref()),
            _ => None,
        };
        let (reply, reason) = match &error {
            RequestTokenError::Request(error) => (TokenReply::Silence, short_reason(error)),
            _ if status < 400 => (TokenReply::InvalidResponse, "Dialpad's answer can't be parsed".to_owned()),
            _ => (TokenReply::Refusal { status, error: error_code }, describe_refusal(status, error_code)),
        };
        Err(TokenError {
            status: (status > 0).then_some(status),
            verdict: reply.verdict(),
            reason,
            retry_after: retry_after.filter(|seconds| *seconds > 0).and_then(TimeDelta::try_seconds),
        })
    }
}

/// Describes a refusal. The error code is Dialpad's text: it is shown only if it looks like one of RFC 6749, section
/// 5.2.
fn describe_refusal(status: u16, error_code: Option<&str>) -> String {
    let is_code =
        |text: &&str| text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    match error_code.filter(is_code) {
        Some(code) => format!("Dialpad answered {status} {code}"),
        None => format!("Dialpad answered {status}"),
    }
}
