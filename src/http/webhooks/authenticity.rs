//! Whether a webhook is authentic.

use std::sync::Arc;

use actix_web::HttpRequest;
use cti_actors::id::AppId;
use secrecy::SecretString;

use super::Failure;
use crate::{
    config::Config,
    http::{
        error::{ApiError, ErrorCode},
        state::AppState,
    },
    store::tenants::routes::OwnRoute,
    webhook::signature,
};

/// An authentic webhook.
pub(super) struct Verified {
    pub(super) payload: Vec<u8>,
    /// The app whose own address it was sent to.
    pub(super) own: Option<(AppId, Arc<OwnRoute>)>,
}

/// Verifies a webhook by the secrets that are known; those of an app are read again before it is refused.
pub(super) async fn verify(
    request: &HttpRequest,
    state: &AppState,
    body: &[u8],
    app: Option<AppId>,
) -> Result<Verified, Failure> {
    let header = signature_header(request, &state.config);
    let Some(app) = app else {
        let payload = signature::verify(body, header, &state.config.webhook_secrets);
        return Ok(Verified { payload: payload.map_err(|_| Failure::NotAuthentic)?, own: None });
    };
    let mut route = state.store.routes().of_app(app).await?.ok_or(Failure::NotAuthentic)?;
    let mut payload = signature::verify(body, header, &secrets(&state.config, &route));
    if payload.is_err() {
        // Another process may have made a new secret since the route was cached.
        route = state.store.routes().of_app_now(app).await?.ok_or(Failure::NotAuthentic)?;
        payload = signature::verify(body, header, &secrets(&state.config, &route));
    }
    Ok(Verified { payload: payload.map_err(|_| Failure::NotAuthentic)?, own: Some((app, route)) })
}

pub(super) fn signature_header<'r>(request: &'r HttpRequest, config: &Config) -> Option<&'r str> {
    request.headers().get(&config.signature_header).and_then(|value| value.to_str().ok())
}

pub(super) fn not_authentic() -> ApiError {
    ApiError::new(ErrorCode::InvalidSignature, "The signature is missing or wrong")
}

/// Returns the secrets of an app's own address: once Dialpad signs with the app's own ones, only those.
pub(super) fn secrets(config: &Config, route: &OwnRoute) -> Vec<SecretString> {
    let global = config.webhook_secrets.iter().filter(|_| !route.is_confirmed);
    route.secrets.iter().chain(global).cloned().collect()
}
