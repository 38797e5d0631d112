//! What a request of the console needs: a session, and for a form its CSRF token.

use std::{borrow::Cow, fmt};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::MessageBody,
    cookie::{Cookie, SameSite, time::Duration as CookieAge},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{StatusCode, header},
    middleware::Next,
    web::Data,
};
use cti_actors::error::StoreError;
use futures_util::{FutureExt, future::LocalBoxFuture};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::{
    fields::{Fields, read_form},
    page::{self, Section},
    sessions::{MAX_AGE, Session},
};
use crate::{
    config::Environment,
    http::{
        AppState,
        error::{ApiError, ErrorCode},
    },
};

const SIGN_IN: &str = "/console/sign-in";
/// The name of the field with the CSRF token.
pub(super) const CSRF_FIELD: &str = "csrf";

/// A person who is signed in and looks at a page.
pub(super) struct Visitor {
    /// The token that the forms of the person's pages carry.
    pub(super) csrf: String,
}

/// A page that updates itself, of a person who is signed in.
pub(super) struct Refresh;

/// A form that a person who is signed in has sent.
pub(super) struct Submitted {
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
}

/// Why a request has no page.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody is signed in.
    SignedOut {
        /// The page to continue with after the sign-in.
        next: Option<String>,
    },
    /// The request failed.
    Error(ApiError),
}

impl FromRequest for Visitor {
    type Error = Failure;
    type Future = LocalBoxFuture<'static, Result<Self, Failure>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        visitor(request.clone(), Use::Active).boxed_local()
    }
}

impl FromRequest for Refresh {
    type Error = Failure;
    type Future = LocalBoxFuture<'static, Result<Self, Failure>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let visitor = visitor(request.clone(), Use::Background);
        async move { visitor.await.map(|_| Self) }.boxed_local()
    }
}

impl FromRequest for Submitted {
    type Error = Failure;
    type Future = LocalBoxFuture<'static, Result<Self, Failure>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let origin = check_origin(request);
        let form = read_form(request, payload);
        let visitor = visitor(request.clone(), Use::Active);
        async move {
            origin?;
            let (visitor, fields) = (visitor.await?, form.await?);
            let given = fields.get(CSRF_FIELD).unwrap_or_default();
            if !bool::from(given.as_bytes().ct_eq(visitor.csrf.as_bytes())) {
                let sentence = "The form is not from a page of this session: open the page again";
                return Err(ApiError::new(ErrorCode::Forbidden, sentence).into());
            }
            Ok(Self { visitor, fields })
        }
        .boxed_local()
    }
}

/// Refuses a form that a page of another site sent. Browsers that don't say where a form is from rely on the cookie
/// and the token.
///
/// # Errors
/// [`ErrorCode::Forbidden`].
pub(super) fn check_origin(request: &HttpRequest) -> Result<(), Failure> {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let is_ours = match header("sec-fetch-site") {
        Some("same-origin" | "none") => true,
        Some("cross-site" | "same-site") => false,
        _ => header("origin").is_none_or(|origin| {
            let host = origin.split_once("://").map(|(_, host)| host);
            let public = shared(request).public_url.origin().ascii_serialization();
            host.is_some_and(|host| header("host") == Some(host)) || origin == public
        }),
    };
    if is_ours {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Forbidden, "The form is from a page of another site").into())
}

/// Whether a request shows that a person is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// A page or a form.
    Active,
    /// A page that updates itself.
    Background,
}

/// The cookie of a session that is used.
struct RenewedCookie(Cookie<'static>);

async fn visitor(request: HttpRequest, usage: Use) -> Result<Visitor, Failure> {
    let state = shared(&request);
    let Some(session) = find_session(&request).await else {
        return Err(Failure::SignedOut { next: next_of(&request) });
    };
    if usage == Use::Active
        && let Some(renewed) = session.renewed(state.clock.now())
    {
        request.extensions_mut().insert(RenewedCookie(session_cookie(state, &renewed)));
    }
    Ok(Visitor { csrf: session.csrf() })
}

/// Returns the session of a request. While the database is away, it is not known who has signed out: what can be seen
/// then are settings and states, and no form can change anything.
pub(super) async fn find_session(request: &HttpRequest) -> Option<Session<'_>> {
    let state = shared(request);
    let session =
        Session::of_cookie(&cookie_of(request)?, &state.config.internal_secrets, state.clock.now())?;
    if state.spool.database_problem().is_some() {
        return Some(session);
    }
    match state.store.console_endings().includes(session.id).await {
        Ok(true) => None,
        Ok(false) | Err(_) => Some(session),
    }
}

/// Adds the cookie of a session that is used to the answer, unless it has one already.
pub(super) async fn renew_cookie(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let mut answer = next.call(request).await?;
    let renewed = answer.request().extensions_mut().remove::<RenewedCookie>();
    if let Some(RenewedCookie(cookie)) = renewed
        && !answer.headers().contains_key(header::SET_COOKIE)
    {
        answer.response_mut().add_cookie(&cookie)?;
    }
    Ok(answer)
}

/// Returns the page to continue with: only one that can be opened again by its address.
fn next_of(request: &HttpRequest) -> Option<String> {
    let path = request.uri().path_and_query()?.as_str();
    let is_page = *request.method() == actix_web::http::Method::GET && request.path() != "/console";
    (is_page && is_inside(path)).then(|| path.to_owned())
}

/// Returns whether an address is one of the console: a redirect leads nowhere else.
pub(super) fn is_inside(path: &str) -> bool {
    path.starts_with("/console/") && !path.contains(['\\', '\r', '\n'])
}

/// Returns the shared state of a request.
pub(super) fn shared(request: &HttpRequest) -> &Data<AppState> {
    request.app_data().expect("every route has the shared state")
}

fn is_secure(state: &AppState) -> bool {
    state.config.environment == Environment::Production || state.public_url.scheme() == "https"
}

fn cookie_name(state: &AppState) -> &'static str {
    // The prefix makes browsers refuse such a cookie from another host or over plain HTTP.
    if is_secure(state) { "__Host-cti_console" } else { "cti_console" }
}

/// Returns the session's value in a request.
fn cookie_of(request: &HttpRequest) -> Option<SecretString> {
    let cookie = request.cookie(cookie_name(shared(request)))?;
    Some(cookie.value().to_owned().into())
}

/// Returns the cookie of a session.
pub(super) fn session_cookie(state: &AppState, session: &Session<'_>) -> Cookie<'static> {
    // The second that has begun counts.
    let left = (session.expires_at() - state.clock.now()).num_milliseconds().div_euclid(1000) + 1;
    cookie(
        state,
        session.cookie().expose_secret().to_owned(),
        CookieAge::seconds(left.min(MAX_AGE.num_seconds())),
    )
}

/// Returns the cookie that removes a session's cookie.
pub(super) fn removed_cookie(state: &AppState) -> Cookie<'static> {
    cookie(state, String::new(), CookieAge::ZERO)
}

fn cookie(state: &AppState, value: String, age: CookieAge) -> Cookie<'static> {
    Cookie::build(cookie_name(state), value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(is_secure(state))
        .max_age(age)
        .finish()
}

impl Failure {
    fn address(next: Option<&str>) -> Cow<'static, str> {
        match next {
            None => SIGN_IN.into(),
            Some(next) => {
                let mut query = form_urlencoded::Serializer::new(String::new());
                query.append_pair("next", next);
                format!("{SIGN_IN}?{}", query.finish()).into()
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedOut { .. } => out.write_str("nobody is signed in"),
            Self::Error(error) => error.fmt(out),
        }
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::SignedOut { .. } => StatusCode::FOUND,
            Self::Error(error) => error.code.status(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::SignedOut { next } => page::redirect(StatusCode::FOUND, &Self::address(next.as_deref())),
            Self::Error(error) => page::failed(error),
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Error(error.into())
    }
}

impl Visitor {
    /// Returns a page for this person.
    pub(super) fn page(&self, section: Section, title: &str, content: &maud::Markup) -> HttpResponse {
        page::signed_in(&self.csrf, section, title, content)
    }

    /// Returns the hidden field that every form has.
    pub(super) fn csrf_field(&self) -> maud::Markup {
        page::hidden(CSRF_FIELD, &self.csrf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_only_into_the_console() {
        assert!(is_inside("/console/journal?status=failed"));
        for path in ["//evil.example", "/\\evil.example", "https://evil.example", "/internal", "/consoles"] {
            assert!(!is_inside(path), "{path}");
        }
        assert!(!is_inside("/console/\r\nset-cookie: a=b"));
    }
}
