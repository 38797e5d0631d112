//! `/oauth2/token` and `/oauth2/deauthorize`: exchanges codes and refresh tokens for tokens, and revokes tokens.
//!
//! Bodies may be forms or JSON, and the client may authenticate in the body or by HTTP Basic: integrations do all four.

use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::grants::TokenPair;
use super::request_log::RequestNote;
use super::rest::Caller;
use super::switches::Switches;
use super::{State, lock};

#[derive(Deserialize)]
struct TokenRequest {
    grant_type: Option<String>,
    code: Option<String>,
    code_verifier: Option<String>,
    redirect_uri: Option<String>,
    refresh_token: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

impl TokenRequest {
    /// Returns the `grant_type` for the log, if it is a known one.
    fn note(&self) -> RequestNote {
        RequestNote(match self.grant_type.as_deref() {
            Some("authorization_code") => "authorization_code".into(),
            Some("refresh_token") => "refresh_token".into(),
            _ => "unknown".into(),
        })
    }
}

/// `POST /oauth2/token`.
pub(crate) async fn token(state: web::Data<State>, http: HttpRequest, body: web::Bytes) -> HttpResponse {
    let request = match parse(&http, &body) {
        Ok(request) => request,
        Err(error) => return error.render(),
    };
    let mut reply = match exchange(&state, &http, &request) {
        Ok(pair) => {
            let answer = answer(pair, &state.switches());
            HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(answer)
        }
        Err(error) => error.render(),
    };
    reply.extensions_mut().insert(request.note());
    reply
}

fn answer(pair: TokenPair, switches: &Switches) -> Value {
    let lifetime = switches.token_lifetime_seconds;
    let mut answer = json!({"access_token": pair.access_token, "token_type": "bearer"});
    let expires_in = switches.expires_in.clone().unwrap_or(lifetime.into());
    if expires_in != "absent" {
        answer["expires_in"] = expires_in;
    }
    if let Some(token) = pair.refresh_token {
        answer["refresh_token"] = token.into();
    }
    // Required where it is not what was requested (RFC 6749, section 5.1).
    if !switches.withheld_scopes.is_empty() {
        answer["scope"] = pair.scope.into();
    }
    answer
}

/// `POST /oauth2/deauthorize`: revokes the tokens of the caller's connection.
pub(crate) async fn deauthorize(state: web::Data<State>, caller: Caller) -> HttpResponse {
    lock(&state.grants).revoke(&caller.token);
    HttpResponse::NoContent().finish()
}

fn exchange(state: &State, http: &HttpRequest, request: &TokenRequest) -> Result<TokenPair, OAuthError> {
    authenticate_client(state, http, request)?;
    let (policy, now) = (state.switches().policy(), Instant::now());
    let exchanged = match request.grant_type.as_deref() {
        Some("authorization_code") => {
            let code = request.code.as_deref().ok_or(OAuthError::missing("code"))?;
            let (verifier, redirect_uri) =
                (request.code_verifier.as_deref(), request.redirect_uri.as_deref());
            lock(&state.grants).exchange_code(code, verifier, redirect_uri, policy, now)
        }
        Some("refresh_token") => {
            let token = request.refresh_token.as_deref().ok_or(OAuthError::missing("refresh_token"))?;
            lock(&state.grants).refresh(token, policy, now)
        }
        Some(other) => {
            return Err(OAuthError::new(
                "unsupported_grant_type",
                format!("grant_type \"{other}\" is not known"),
            ));
        }
        None => return Err(OAuthError::missing("grant_type")),
    };
    exchanged.map_err(|rejected| OAuthError::new("invalid_grant", rejected.to_string()))
}

fn parse(http: &HttpRequest, body: &[u8]) -> Result<TokenRequest, OAuthError> {
    let json =
        http.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let unreadable =
        |reason: String| OAuthError::new("invalid_request", format!("unreadable body: {reason}"));
    if json {
        return serde_json::from_slice(body).map_err(|error| unreadable(error.to_string()));
    }
    let text = str::from_utf8(body).map_err(|error| unreadable(error.to_string()))?;
    // A form body has the syntax of a query.
    let form = web::Query::<TokenRequest>::from_query(text).map_err(|error| unreadable(error.to_string()))?;
    Ok(form.into_inner())
}

fn authenticate_client(state: &State, http: &HttpRequest, request: &TokenRequest) -> Result<(), OAuthError> {
    let (id, secret) = match basic_credentials(http) {
        Some(credentials) => credentials,
        None => {
            (request.client_id.clone().unwrap_or_default(), request.client_secret.clone().unwrap_or_default())
        }
    };
    if id == state.options.client_id && secret == state.options.client_secret {
        return Ok(());
    }
    Err(OAuthError::new("invalid_client", "unknown client or wrong client secret".to_owned()))
}

fn basic_credentials(http: &HttpRequest) -> Option<(String, String)> {
    let header = http.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let text = String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    // RFC 6749 (2.3.1): both parts are form-encoded before they are joined.
    Some((form_decoded(id)?, form_decoded(secret)?))
}

fn form_decoded(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct One {
        value: String,
    }
    Some(web::Query::<One>::from_query(&format!("value={text}")).ok()?.into_inner().value)
}

struct OAuthError {
    error: &'static str,
    description: String,
}

impl OAuthError {
    fn new(error: &'static str, description: String) -> Self {
        Self { error, description }
    }

    fn missing(field: &str) -> Self {
        Self::new("invalid_request", format!("{field} is missing"))
    }

    fn render(self) -> HttpResponse {
        let status =
            if self.error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        HttpResponse::build(status)
            .insert_header((CACHE_CONTROL, "no-store"))
            .json(json!({"error": self.error, "error_description": self.description}))
    }
}
