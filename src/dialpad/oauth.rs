//! OAuth 2 with PKCE against Dialpad: where to send a person, and what to make of the code they bring back.

use std::sync::atomic::{AtomicU16, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EndpointNotSet,
    EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, RequestTokenError, RevocationErrorResponseType, Scope, StandardErrorResponse,
    StandardRevocableToken, StandardTokenIntrospectionResponse, StandardTokenResponse, TokenResponse,
    TokenUrl,
    basic::{BasicErrorResponse, BasicTokenType},
};
use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{
    client::{DialpadClient, DialpadError, id, short_reason},
    question::Endpoint,
};
use crate::{config::OauthClient, store::connections::Tokens};

/// How long a token is taken to live where Dialpad does not say.
const DEFAULT_LIFETIME: TimeDelta = TimeDelta::seconds(3600);

/// Why no tokens came.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ExchangeError {
    /// Dialpad refused the code.
    #[error("Dialpad refused the authorization code")]
    Rejected,
    /// Dialpad could not be asked, or answered nonsense; the reason is short and holds no secret.
    #[error("{0}")]
    Failed(String),
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
            .oauth(client, redirect_uri)
            .authorize_url(|| CsrfToken::new(state))
            .add_scopes(scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(challenge)
            .url();
        Authorization { url, verifier: verifier.into_secret().into() }
    }

    /// Trades an authorisation code for tokens. The second value is the organisation, where the reply names one.
    ///
    /// # Errors
    /// See [`ExchangeError`].
    pub async fn exchange(
        &self,
        client: &OauthClient,
        redirect_uri: &Url,
        code: String,
        verifier: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<(Tokens, Option<i64>), ExchangeError> {
        // The library tells a refusal from nonsense by the body alone; the status decides here.
        let status = AtomicU16::new(0);
        let send = |request| self.send(request, &status);
        let reply = self
            .oauth(client, redirect_uri)
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()))
            .request_async(&send)
            .await;
        let reply = reply.map_err(|error| match (error, status.load(Ordering::Relaxed)) {
            (RequestTokenError::Request(error), _) => ExchangeError::Failed(short_reason(&error)),
            (_, 400..=499) => ExchangeError::Rejected,
            (_, status @ 500..) => ExchangeError::Failed(format!("Dialpad answered {status}")),
            _ => ExchangeError::Failed("Dialpad's answer can't be understood".into()),
        })?;
        let lifetime = reply
            .expires_in()
            .map_or(DEFAULT_LIFETIME, |it| TimeDelta::from_std(it).unwrap_or(DEFAULT_LIFETIME));
        let refresh = reply.refresh_token().map(|token| SecretString::from(token.secret().clone()));
        let tokens = Tokens {
            access: reply.access_token().secret().clone().into(),
            // Without a refresh token the access token is a static key.
            expires_at: refresh.is_some().then(|| now + lifetime),
            refresh,
        };
        let extra = reply.extra_fields();
        Ok((tokens, id(&extra.organization_id).or_else(|| id(&extra.company_id))))
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

    fn oauth(&self, client: &OauthClient, redirect_uri: &Url) -> OurClient {
        Client::new(ClientId::new(client.id.clone()))
            .set_client_secret(ClientSecret::new(client.secret.expose_secret().to_owned()))
            // In the body and form-encoded with the redirect URI: what every known integration sends.
            .set_auth_type(AuthType::RequestBody)
            .set_auth_uri(AuthUrl::from_url(self.url("oauth2/authorize")))
            .set_token_uri(TokenUrl::from_url(self.url("oauth2/token")))
            .set_redirect_uri(RedirectUrl::from_url(redirect_uri.clone()))
    }

    async fn send(&self, request: HttpRequest, status: &AtomicU16) -> Result<HttpResponse, reqwest::Error> {
        let answer = self.execute(Endpoint::Token, request.try_into()?).await?;
        status.store(answer.status().as_u16(), Ordering::Relaxed);
        let (code, headers) = (answer.status(), answer.headers().clone());
        let mut response = HttpResponse::new(answer.bytes().await?.to_vec());
        *response.status_mut() = code;
        *response.headers_mut() = headers;
        Ok(response)
    }
}
