//! Who asks: a CRM by its API key, an administrator by the internal bearer. A handler says so in its signature.

use std::future::Future;
use std::pin::Pin;

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web::Data};
use cti_actors::{
    error::AuthError,
    id::AppId,
    ports::{AuthenticatedKey, Authenticator},
};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::http::error::{ApiError, ErrorCode};
use crate::http::{
    middleware::rate_limit::{self, Attempt},
    state::AppState,
};

/// A request with a valid API key.
pub(crate) struct Crm {
    /// The app that the key belongs to.
    pub(crate) app_id: AppId,
}

/// A request with the bearer of administrators.
pub(crate) struct Administrator;

impl FromRequest for Crm {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let key = api_key(&request).ok_or_else(missing_key)?;
            let admission = authenticate(&request, &key).await?;
            Ok(Self { app_id: admission.app_id })
        })
    }
}

pub(crate) fn missing_key() -> ApiError {
    ApiError::new(ErrorCode::MissingApiKey, "The API key is missing: send it as x-api-key")
}

/// The key in one of its headers.
pub(crate) fn api_key(request: &HttpRequest) -> Option<SecretString> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let key = header("x-api-key").or_else(|| header("x-app-api-key")).map(str::trim);
    key.filter(|key| !key.is_empty()).map(SecretString::from).or_else(|| bearer(request))
}

pub(crate) async fn authenticate(
    request: &HttpRequest,
    key: &SecretString,
) -> Result<AuthenticatedKey, ApiError> {
    let shared = request.app_data::<Data<AppState>>().expect("every route has the shared state");
    let admitted = shared.store.authenticate(key.expose_secret()).await;
    if admitted == Err(AuthError::UnknownKey) {
        rate_limit::check(request, shared, Attempt::Credentials)?;
    }
    Ok(admitted?)
}

impl FromRequest for Administrator {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let shared = request.app_data::<Data<AppState>>().expect("every route has the shared state");
        std::future::ready(bears_one_of(request, shared, &shared.config.internal_secrets).map(|()| Self))
    }
}

/// Whether the request has one of these secrets as its bearer.
pub(crate) fn bears_one_of(
    request: &HttpRequest,
    shared: &AppState,
    secrets: &[SecretString],
) -> Result<(), ApiError> {
    let Some(given) = bearer(request) else {
        let sentence = "The bearer is missing: send Authorization: Bearer …";
        return Err(ApiError::new(ErrorCode::MissingBearer, sentence));
    };
    if is_one_of(&given, secrets) {
        return Ok(());
    }
    rate_limit::check(request, shared, Attempt::Credentials)?;
    Err(ApiError::new(ErrorCode::Forbidden, "The bearer is wrong"))
}

/// Compares with each of them, in a time that tells nothing about how much of it was right.
fn is_one_of(given: &SecretString, secrets: &[SecretString]) -> bool {
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
