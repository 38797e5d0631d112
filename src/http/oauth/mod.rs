//! Connecting an app: to Dialpad with a state and a PKCE challenge (RFC 7636), and back with a code.

mod host;

use std::{borrow::Cow, collections::HashMap};

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time::Duration as CookieAge},
    http::header,
    rt,
    web::{Data, Path},
};
use cti_actors::id::AppId;
use opentelemetry::trace::FutureExt;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use utoipa::{
    IntoParams, ToSchema,
    openapi::path::{Parameter, ParameterIn},
};

use self::host::redirect_to_callback_host;
use super::{
    error::{
        ApiError,
        ErrorCode::{
            AppInactive, AppNotFound, DatabaseUnavailable, Internal, InvalidRequest, OauthDenied,
            OauthNotConfigured, OauthStateInvalid, RateLimited, TokenExchangeFailed, TokenExchangeRejected,
        },
    },
    extract::{
        app::{AppPath, AppRef, app_not_found},
        auth::Administrator,
        query::{parse, read_query},
    },
    middleware::rate_limit::{self, Attempt},
    openapi::{
        errors::{ADMINISTRATOR, CHANGE, Errors, codes},
        examples, parameters, tags,
    },
    state::AppState,
};
use crate::{
    config::OauthClient,
    dialpad::oauth::{Exchanged, disconnect::disconnect_app},
    store::dialpad::oauth_sessions::{OauthSession, random_token},
};

/// Binds an authorization to the browser that started it.
const COOKIE: &str = "cti_oauth";
/// Which app is to be connected.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuthorizeQuery {
    /// The app to connect.
    #[param(inline)]
    app_id: AppRef,
}

/// What Dialpad sends back.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CallbackQuery {
    /// The state that `/authorize` gave to Dialpad.
    state: Option<String>,
    /// Dialpad's authorization code.
    code: Option<String>,
    /// Dialpad's reason why there is no code.
    error: Option<String>,
}

impl CallbackQuery {
    /// Reads the parameters. Dialpad may add others, which are ignored.
    fn read(request: &HttpRequest) -> Self {
        let mut given: HashMap<_, _> = parse(request.query_string()).collect();
        let mut take = |name: &str| given.remove(name).map(Cow::into_owned);
        Self { state: take("state"), code: take("code"), error: take("error") }
    }
}

/// The cookie that `/authorize` set.
pub(super) struct BrowserCookie;

impl IntoParams for BrowserCookie {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![parameters::cookie(COOKIE, "Set by `/authorize` in this browser.")]
    }
}

/// An app that was connected.
#[derive(Serialize, ToSchema)]
pub(super) struct Connected<'a> {
    /// A sentence for people.
    message: &'static str,
    app_id: AppId,
    /// `sandbox` or `production`.
    environment: &'a str,
}

/// An app that is no longer connected.
#[derive(Serialize, ToSchema)]
pub(super) struct Disconnected {
    /// A sentence for people.
    message: &'static str,
    app_id: AppId,
}

/// Starts to connect an app.
///
/// Open this in a browser. It redirects to Dialpad, with PKCE and a `state` that is valid once, for 10 minutes, in this
/// browser.
#[utoipa::path(
    get, path = "/authorize", operation_id = "authorize", tag = tags::CONNECTION, params(AuthorizeQuery),
    responses(
        (status = 302, description = "A redirect to Dialpad. Under another host than that of `PUBLIC_URL`, first one to the \
         same address there, so that the cookie fits the callback.",
         headers(
             ("Location" = String, description = "Dialpad's authorization page."),
             ("Set-Cookie" = String, description = "`cti_oauth` binds the authorization to this browser."),
         )),
        Errors<{
            codes(&[
                InvalidRequest,
                AppInactive,
                AppNotFound,
                RateLimited,
                OauthNotConfigured,
                DatabaseUnavailable,
                Internal,
            ])
        }>,
    ),
)]
pub(super) async fn authorize(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    if let Some(redirect) = redirect_to_callback_host(&request, &state.public_url, &state.redirect_uri) {
        return Ok(redirect);
    }
    rate_limit::check(&request, &state, Attempt::Authorization)?;
    let AuthorizeQuery { app_id } = read_query(&request)?;
    let app = state.store.apps().find(app_id.id()).await?.ok_or_else(app_not_found)?;
    if !app.is_active {
        return Err(ApiError::new(AppInactive, "App is not active"));
    }
    let client = oauth_client(&state)?;
    let token = random_token();
    let browser = browser_of(&request).unwrap_or_else(random_token);
    let scopes = &state.config.dialpad.scopes;
    let authorization = state.dialpad.client.authorization(client, &state.redirect_uri, scopes, &token);
    let session = OauthSession {
        app_id: app_id.id(),
        environment: state.config.environment.as_str().to_owned(),
        verifier: authorization.verifier,
    };
    state.store.oauth_sessions().begin(token.expose_secret(), browser.expose_secret(), &session).await?;
    Ok(HttpResponse::Found()
        .insert_header((header::LOCATION, authorization.url.as_str()))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .cookie(cookie(&browser, state.public_url.scheme() == "https"))
        .finish())
}

fn oauth_client(state: &AppState) -> Result<&OauthClient, ApiError> {
    let not_configured = || ApiError::new(OauthNotConfigured, "No OAuth client is configured");
    state.config.dialpad.client.as_ref().ok_or_else(not_configured)
}

fn cookie(browser: &SecretString, is_https: bool) -> Cookie<'static> {
    Cookie::build(COOKIE, browser.expose_secret().to_owned())
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(is_https)
        .max_age(CookieAge::minutes(10))
        .finish()
}

/// Returns the value of the cookie. A browser with several authorizations in progress keeps the same one.
fn browser_of(request: &HttpRequest) -> Option<SecretString> {
    let cookie = request.cookie(COOKIE)?;
    let value = cookie.value();
    (value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| value.into())
}

/// Completes an authorization.
///
/// Dialpad redirects the browser here. Every callback uses up the `state`, whether it succeeds or not. Other parameters
/// are ignored.
#[utoipa::path(
    get, path = "/callback", operation_id = "callback", tag = tags::CONNECTION,
    params(CallbackQuery, BrowserCookie),
    responses(
        (status = 200, description = "The app is connected.",
         content(
             (Connected<'static> = "application/json", example = json!({
                 "message": "Dialpad connected", "app_id": examples::APP, "environment": "sandbox",
             })),
             (String = "text/html"),
         )),
        Errors<{
            codes(&[
                InvalidRequest,
                OauthStateInvalid,
                OauthDenied,
                OauthNotConfigured,
                TokenExchangeRejected,
                TokenExchangeFailed,
                DatabaseUnavailable,
                Internal,
            ])
        }>,
    ),
)]
pub(super) async fn callback(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = CallbackQuery::read(&request);
    let session = take_session(&request, &state, query.state.as_deref()).await?;
    if let Some(error) = query.error {
        info!(app.id = %session.app_id, "an authorization was refused");
        return Err(ApiError::new(OauthDenied, "The authorization was refused at Dialpad")
            .with_details(error.chars().take(100).collect::<String>()));
    }
    let code = query.code.ok_or_else(|| ApiError::invalid("code: is required"))?;
    // In a task of its own: the first attempt uses up the code, and a browser that disconnects would drop this request.
    let connecting = rt::spawn(connect(state, session, code).with_current_context());
    let session = connecting.await.map_err(|_| ApiError::internal())??;
    Ok(connected(&request, &session))
}

/// Removes the session of a state, and returns it if this browser started it.
async fn take_session(
    request: &HttpRequest,
    state: &AppState,
    token: Option<&str>,
) -> Result<OauthSession, ApiError> {
    let sentence = "The authorization was started in another browser, or is no longer valid";
    let invalid = || ApiError::new(OauthStateInvalid, sentence);
    let browser = request.cookie(COOKIE);
    let browser = browser.as_ref().map(Cookie::value);
    let session = state.store.oauth_sessions().take(token.ok_or_else(invalid)?, browser).await?;
    let session = session.ok_or_else(invalid)?;
    // An app that is being deleted is gone, and its authorizations with it.
    if state.store.apps().find(session.app_id).await?.is_none() {
        return Err(invalid());
    }
    Ok(session)
}

/// Exchanges the code for tokens, stores them, and starts what a connected app needs.
async fn connect(
    state: Data<AppState>,
    session: OauthSession,
    code: String,
) -> Result<OauthSession, ApiError> {
    let (client, app) = (oauth_client(&state)?, session.app_id);
    let now = state.clock.now();
    let dialpad = &state.dialpad.client;
    let requested = &state.config.dialpad.scopes;
    let exchanged =
        dialpad.exchange(client, &state.redirect_uri, code, &session.verifier, requested, now).await;
    let Exchanged { tokens, organization: reported, scopes } = exchanged.map_err(|no_tokens| {
        let reason = no_tokens.reason.clone();
        warn!(app.id = %app, %reason, "an authorization code could not be exchanged");
        if no_tokens.is_refusal() {
            ApiError::new(TokenExchangeRejected, "Dialpad refused the authorization code")
        } else {
            ApiError::new(TokenExchangeFailed, "Failed to exchange code for tokens").with_details(reason)
        }
    })?;
    let organization = match dialpad.organization_of(&tokens.access).await {
        Ok(found) => found.or(reported),
        Err(error) => {
            warn!(app.id = %app, %error, "Dialpad did not report the organization of a token");
            reported
        }
    };
    state.webhook_reconciler.on_reconnecting(app, organization).await;
    let connections = state.store.connections();
    let event = connections.connect(app, &session.environment, organization, &tokens, &scopes).await?;
    state.engine.publish(app, vec![event]);
    info!(app.id = %app, organization, "an app was connected");
    after_connect(&state, app, organization).await;
    Ok(session)
}

/// Processes what waited for the connection, and registers the app's webhook. Neither fails the request: the app is
/// connected, and background jobs try again.
async fn after_connect(state: &AppState, app: AppId, organization: Option<i64>) {
    if let Some(organization) = organization {
        match state.store.journal().route_unrouted(organization).await {
            Ok(apps) => apps.into_iter().for_each(|app| state.engine.notify(app)),
            Err(error) => {
                warn!(organization, %error, "webhooks that waited for their organization still wait")
            }
        }
    }
    if let Err(error) = state.webhook_reconciler.on_connected(app, organization).await {
        warn!(app.id = %app, %error, "the app's webhook will be registered later");
    }
}

fn connected(request: &HttpRequest, session: &OauthSession) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    if prefers_html(request) {
        return answer
            .content_type("text/html; charset=utf-8")
            // The address contains the code.
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .body(include_str!("connected.html"));
    }
    let (app_id, environment) = (session.app_id, &*session.environment);
    answer.json(Connected { message: "Dialpad connected", app_id, environment })
}

/// Returns whether the client accepts HTML, and lists it before JSON.
fn prefers_html(request: &HttpRequest) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let accept = accept.unwrap_or_default();
    let json = accept.find("application/json");
    accept.find("text/html").is_some_and(|html| json.is_none_or(|json| html < json))
}

/// Disconnects an app.
///
/// Its tokens are deleted here and revoked at Dialpad, and its webhook at Dialpad is removed. Emits
/// `connection.disconnected`.
#[utoipa::path(
    post, path = "/auth/dialpad/disconnect/{app_id}", operation_id = "disconnect", tag = tags::CONNECTION,
    params(AppPath),
    responses(
        (status = 200, description = "The app is not connected.", body = Disconnected,
         example = json!({"message": "Dialpad disconnected", "app_id": examples::APP})),
        Errors<{ ADMINISTRATOR | CHANGE | codes(&[AppNotFound]) }>,
    ),
)]
pub(super) async fn disconnect(
    _: Administrator,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, ApiError> {
    let app_id = path.find(&state).await?;
    let disconnected =
        disconnect_app(&state.webhook_reconciler, &state.dialpad, &state.store, &state.engine, app_id)
            .await?;
    let message = if disconnected { "Dialpad disconnected" } else { "App was not connected" };
    Ok(HttpResponse::Ok().json(Disconnected { message, app_id }))
}
