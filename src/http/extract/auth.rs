//! Authentication: a CRM by its API key, an administrator by the internal bearer. A handler's signature says who may
//! send the request, and which query and body it has. The credentials are checked first, so that a client without
//! access learns nothing about parameters.

use std::pin::pin;

use actix_web::{Error, FromRequest, HttpRequest, dev::Payload, http::header, web::Data};
use cti_actors::{
    error::AuthError,
    id::AppId,
    ports::{AuthenticatedKey, Authenticator},
};
use futures_util::{
    FutureExt,
    future::{Either, LocalBoxFuture, select},
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;

use super::{body::RequestBody, query::read_query};
use crate::http::{
    error::{ApiError, ErrorCode},
    middleware::rate_limit::{self, Attempt},
    state::AppState,
};

/// A request with a valid API key.
pub(crate) struct Crm<Query = (), Body = ()> {
    /// The app that the key belongs to.
    pub(crate) app_id: AppId,
    pub(crate) query: Query,
    pub(crate) body: Body,
}

/// A request with the bearer of administrators.
pub(crate) struct Administrator<Query = (), Body = ()> {
    pub(crate) query: Query,
    pub(crate) body: Body,
}

impl<Query: DeserializeOwned + 'static, Body: RequestBody> FromRequest for Crm<Query, Body> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, body) = (request.clone(), Body::receive(request, payload));
        async move {
            let key = api_key(&request).ok_or_else(missing_key)?;
            let authenticated = pin!(authenticate(&request, &key));
            // The body is received meanwhile, and one that breaks the rules of HTTP is refused at once: a moment later
            // the library closes the connection without an answer.
            let (app_id, body) = match select(authenticated, pin!(body)).await {
                Either::Left((authenticated, body)) => (authenticated?.app_id, body.await?),
                Either::Right((body, authenticated)) => {
                    let body = body?;
                    (authenticated.await?.app_id, body)
                }
            };
            Ok(Self { app_id, query: read_query(&request)?, body: Body::parse(&body)? })
        }
        .boxed_local()
    }
}

impl<Query: DeserializeOwned + 'static, Body: RequestBody> FromRequest for Administrator<Query, Body> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, body) = (request.clone(), Body::receive(request, payload));
        async move {
            require_bearer(&request, &state_of(&request).config.internal_secrets)?;
            let query = read_query(&request)?;
            Ok(Self { query, body: Body::parse(&body.await?)? })
        }
        .boxed_local()
    }
}

fn state_of(request: &HttpRequest) -> &AppState {
    request.app_data::<Data<AppState>>().expect("every route has the shared state")
}

pub(crate) fn missing_key() -> ApiError {
    ApiError::new(ErrorCode::MissingApiKey, "The API key is missing: send it as x-api-key")
}

/// Returns the API key of a request's headers.
pub(crate) fn api_key(request: &HttpRequest) -> Option<SecretString> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let key = header("x-api-key").or_else(|| header("x-app-api-key")).map(str::trim);
    key.filter(|key| !key.is_empty()).map(SecretString::from).or_else(|| bearer(request))
}

/// Returns the app and the id of a valid key. A wrong key counts for the rate limit of the client's address.
///
/// # Errors
/// The key is wrong, its app is not active, the address is limited, or the database is unavailable.
pub(crate) async fn authenticate(
    request: &HttpRequest,
    key: &SecretString,
) -> Result<AuthenticatedKey, ApiError> {
    let state = state_of(request);
    let authenticated = state.store.authenticate(key.expose_secret()).await;
    if authenticated == Err(AuthError::UnknownKey) {
        rate_limit::check(request, state, Attempt::Credentials)?;
    }
    Ok(authenticated?)
}

/// Checks that the request has one of these secrets as its bearer. A wrong one counts for the rate limit of the
/// client's address.
///
/// # Errors
/// The bearer is missing or wrong, or the address is limited.
pub(crate) fn require_bearer(request: &HttpRequest, secrets: &[SecretString]) -> Result<(), ApiError> {
    let Some(given) = bearer(request) else {
        let sentence = "The bearer is missing: send Authorization: Bearer …";
        return Err(ApiError::new(ErrorCode::MissingBearer, sentence));
    };
    if is_one_of(&given, secrets) {
        return Ok(());
    }
    rate_limit::check(request, state_of(request), Attempt::Credentials)?;
    Err(ApiError::new(ErrorCode::Forbidden, "The bearer is wrong"))
}

/// Whether the request has one of these secrets as its bearer.
pub(crate) fn has_bearer(request: &HttpRequest, secrets: &[SecretString]) -> bool {
    bearer(request).is_some_and(|given| is_one_of(&given, secrets))
}

/// Compares with every secret, in a time that reveals nothing about how much of it matched.
pub(crate) fn is_one_of(given: &SecretString, secrets: &[SecretString]) -> bool {
    let given = given.expose_secret().as_bytes();
    secrets
        .iter()
        .fold(false, |found, secret| found | bool::from(secret.expose_secret().as_bytes().ct_eq(given)))
}

fn bearer(request: &HttpRequest) -> Option<SecretString> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.into())
}
