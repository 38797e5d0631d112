//! Connecting an app: to Dialpad with a state and a PKCE challenge, and back with a code.

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time::Duration as CookieAge},
    http::header,
    web::{Data, Path},
};
use cti_actors::id::AppId;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tracing::{info, warn};
use utoipa::ToSchema;

use super::{
    crm::status::existing,
    extract::{auth::Administrator, query::Query},
    middleware::rate_limit::{self, Attempt},
    state::AppState,
};
use crate::{
    dialpad::oauth::disconnect::part,
    http::error::{ApiError, ErrorCode},
    store::dialpad::oauth_sessions::{OauthSession, random_token},
};

/// Binds an authorisation to the browser that began it.
const COOKIE: &str = "cti_oauth";

/// An app that was connected.
#[derive(Serialize, ToSchema)]
pub(super) struct Connected<'a> {
    /// For people.
    message: &'static str,
    app_id: AppId,
    /// `sandbox` or `production`.
    environment: &'a str,
}

/// An app whose tokens were forgotten.
#[derive(Serialize, ToSchema)]
pub(super) struct Disconnected {
    /// For people.
    message: &'static str,
    app_id: AppId,
}

/// Sends a person to Dialpad.
pub(super) async fn authorize(
    request: HttpRequest,
    shared: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    rate_limit::check(&request, &shared, Attempt::Authorization)?;
    let query = Query::of(&request, &["app_id"])?;
    let app_id = query.text("app_id").ok_or_else(|| ApiError::invalid("app_id: is required"))?;
    let app_id: AppId = app_id.parse().map_err(|_| ApiError::invalid("app_id: must be a UUID"))?;
    let not_found = || ApiError::new(ErrorCode::AppNotFound, "There is no such app");
    let app = shared.store.apps().find(app_id).await?.ok_or_else(not_found)?;
    if !app.is_active {
        return Err(ApiError::new(ErrorCode::AppInactive, "App is not active"));
    }
    let not_configured = || ApiError::new(ErrorCode::OauthNotConfigured, "No OAuth client is configured");
    let client = shared.config.dialpad.client.as_ref().ok_or_else(not_configured)?;

    let state = random_token();
    let browser = known_browser(&request).unwrap_or_else(random_token);
    let authorization = shared.dialpad.client.authorization(
        client,
        &shared.redirect_uri,
        &shared.config.dialpad.scopes,
        &state,
    );
    let environment = shared.config.environment.as_str().to_owned();
    let session = OauthSession { app_id, environment, verifier: authorization.verifier };
    shared.store.oauth_sessions().begin(state.expose_secret(), browser.expose_secret(), &session).await?;

    let cookie = Cookie::build(COOKIE, browser.expose_secret().to_owned())
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(shared.public_url.scheme() == "https")
        .max_age(CookieAge::minutes(10))
        .finish();
    Ok(HttpResponse::Found()
        .insert_header((header::LOCATION, authorization.url.as_str()))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .cookie(cookie)
        .finish())
}

/// A browser that is at several authorisations at once keeps its cookie.
fn known_browser(request: &HttpRequest) -> Option<SecretString> {
    let cookie = request.cookie(COOKIE)?;
    let value = cookie.value();
    (value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| value.into())
}

/// Takes a person back from Dialpad.
pub(super) async fn callback(request: HttpRequest, shared: Data<AppState>) -> Result<HttpResponse, ApiError> {
    // Dialpad may add parameters of its own; they are none of ours to refuse.
    let given: std::collections::HashMap<_, _> =
        super::extract::query::parse(request.query_string()).collect();
    let invalid = || {
        ApiError::new(
            ErrorCode::OauthStateInvalid,
            "The authorization was begun elsewhere, or is no longer valid",
        )
    };
    let state = given.get("state").ok_or_else(invalid)?;
    let browser = request.cookie(COOKIE);
    let session = shared
        .store
        .oauth_sessions()
        .take(state, browser.as_ref().map(Cookie::value))
        .await?
        .ok_or_else(invalid)?;
    if shared.store.apps().find(session.app_id).await?.is_none() {
        // It is being removed, and its authorizations with it.
        return Err(invalid());
    }
    if let Some(error) = given.get("error") {
        info!(app.id = %session.app_id, "an authorization was refused");
        return Err(ApiError::new(ErrorCode::OauthDenied, "The authorization was refused at Dialpad")
            .with_details(error.chars().take(100).collect::<String>()));
    }
    let code = given.get("code").ok_or_else(|| ApiError::invalid("code: is required"))?;
    // On its own: the code is spent by the first try, and a browser that hangs up would drop this request with it.
    let connecting = actix_web::rt::spawn(connect(shared, session, code.to_string()));
    let session = connecting.await.map_err(|_| ApiError::internal())??;
    Ok(connected(&request, &session))
}

async fn connect(
    shared: Data<AppState>,
    session: OauthSession,
    code: String,
) -> Result<OauthSession, ApiError> {
    let not_configured = || ApiError::new(ErrorCode::OauthNotConfigured, "No OAuth client is configured");
    let client = shared.config.dialpad.client.as_ref().ok_or_else(not_configured)?;
    let now = shared.clock.now();
    let exchanged =
        shared.dialpad.client.exchange(client, &shared.redirect_uri, code, &session.verifier, now).await;
    let (tokens, said) = exchanged.map_err(|no_tokens| {
        let reason = &no_tokens.reason;
        warn!(app.id = %session.app_id, %reason, "the code could not be exchanged");
        if no_tokens.is_refusal() {
            ApiError::new(ErrorCode::TokenExchangeRejected, "Dialpad refused the authorization code")
        } else {
            ApiError::new(ErrorCode::TokenExchangeFailed, "Failed to exchange code for tokens")
                .with_details(no_tokens.reason)
        }
    })?;
    let organization = match shared.dialpad.client.organization_of(&tokens.access).await {
        Ok(found) => found.or(said),
        Err(error) => {
            warn!(app.id = %session.app_id, %error, "Dialpad did not say whose token this is");
            said
        }
    };
    shared.webhook_reconciler.before_welcome(session.app_id, organization).await;
    let scopes = shared.config.dialpad.scopes.join(" ");
    let environment = &session.environment;
    let told = shared
        .store
        .connections()
        .connect(session.app_id, environment, organization, &tokens, &scopes)
        .await?;
    shared.engine.publish(session.app_id, vec![told]);
    info!(app.id = %session.app_id, organization, "an app was connected");
    if let Some(organization) = organization {
        match shared.store.journal().route_unrouted(organization).await {
            Ok(apps) => apps.into_iter().for_each(|app| shared.engine.notify(app)),
            // The app is connected all the same.
            Err(failure) => {
                warn!(organization, error = %failure, "webhooks that waited for their organization still wait");
            }
        }
    }
    // The person need not wait for it, nor for a database that went away just now: the webhook_reconciler finds the app.
    if let Err(failure) = shared.webhook_reconciler.welcome(session.app_id, organization).await {
        warn!(app.id = %session.app_id, error = %failure, "the app's webhook has to wait");
    }
    Ok(session)
}

fn connected(request: &HttpRequest, session: &OauthSession) -> HttpResponse {
    let accepted =
        request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let html = accepted.find("text/html");
    let json_at = accepted.find("application/json");
    let wants_page = html.is_some_and(|html| json_at.is_none_or(|json| html < json));
    if wants_page {
        return HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CACHE_CONTROL, "no-store"))
            // The address holds the code.
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .body(include_str!("connected.html"));
    }
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(Connected {
        message: "Dialpad connected",
        app_id: session.app_id,
        environment: &session.environment,
    })
}

/// Forgets an app's tokens, here and at Dialpad.
pub(super) async fn disconnect(
    _: Administrator,
    request: HttpRequest,
    shared: Data<AppState>,
    app_id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request, &[])?;
    let app_id = existing(&shared, &app_id).await?;
    let disconnected =
        part(&shared.webhook_reconciler, &shared.dialpad, &shared.store, &shared.engine, app_id).await?;
    let message = if disconnected { "Dialpad disconnected" } else { "App was not connected" };
    Ok(HttpResponse::Ok().json(Disconnected { message, app_id }))
}
