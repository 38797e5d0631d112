//! What a request of the console needs: a session, and for a form its CSRF token.

use std::{borrow::Cow, collections::HashMap, fmt};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, ResponseError,
    cookie::{Cookie, SameSite, time::Duration as CookieAge},
    dev::Payload,
    http::StatusCode,
    web::{Bytes, Data},
};
use cti_actors::error::StoreError;
use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, Ready, ready},
};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::{
    Console,
    page::{self, Section},
    sessions::{MAX_AGE, Use},
};
use crate::{
    config::Environment,
    http::{
        AppState,
        error::{ApiError, ErrorCode},
        extract::query::parse,
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

/// The fields of a query or a form. Empty ones count as not given: that is how browsers send them.
#[derive(Default)]
pub(super) struct Fields(HashMap<String, String>);

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

impl Fields {
    /// Reads the query of a request.
    pub(super) fn of_query(request: &HttpRequest) -> Self {
        Self::of(request.query_string())
    }

    fn of(text: &str) -> Self {
        let fields = parse(text).map(|(name, value)| (name.into_owned(), value.trim().replace('\0', "")));
        Self(fields.filter(|(_, value)| !value.is_empty()).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Parses a field, if it is given.
    ///
    /// # Errors
    /// It can't be parsed.
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let invalid = || ApiError::invalid(format!("{name}: {text} is not valid")).into();
        parse(text).map(Some).ok_or_else(invalid)
    }
}

impl FromRequest for Visitor {
    type Error = Failure;
    type Future = Ready<Result<Self, Failure>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(visitor(request, Use::Active))
    }
}

impl FromRequest for Refresh {
    type Error = Failure;
    type Future = Ready<Result<Self, Failure>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(visitor(request, Use::Background).map(|_| Self))
    }
}

impl FromRequest for Submitted {
    type Error = Failure;
    type Future = LocalBoxFuture<'static, Result<Self, Failure>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let visitor = check_origin(request).and_then(|()| visitor(request, Use::Active));
        let form = read_form(request, payload);
        async move {
            let (visitor, fields) = (visitor?, form.await?);
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

/// Reads the body of a request as a form.
pub(super) fn read_form(
    request: &HttpRequest,
    payload: &mut Payload,
) -> LocalBoxFuture<'static, Result<Fields, Failure>> {
    let body = Bytes::from_request(request, payload);
    async move {
        let body = body.await.map_err(|_| ApiError::new(ErrorCode::PayloadTooLarge, "The form is too large"));
        let body = body?;
        let text = std::str::from_utf8(&body).map_err(|_| ApiError::invalid("The form must be UTF-8"))?;
        Ok(Fields::of(text))
    }
    .boxed_local()
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
            let public = shared(request).0.public_url.origin().ascii_serialization();
            host.is_some_and(|host| header("host") == Some(host)) || origin == public
        }),
    };
    if is_ours {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Forbidden, "The form is from a page of another site").into())
}

fn visitor(request: &HttpRequest, usage: Use) -> Result<Visitor, Failure> {
    let (state, console) = shared(request);
    let session =
        |cookie: &SecretString| console.sessions.find(cookie.expose_secret(), state.clock.now(), usage);
    match cookie_of(request).as_ref().and_then(session) {
        Some(csrf) => Ok(Visitor { csrf }),
        None => Err(Failure::SignedOut { next: next_of(request) }),
    }
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
pub(super) fn shared(request: &HttpRequest) -> (&Data<AppState>, &Data<Console>) {
    let state = request.app_data().expect("every route has the shared state");
    (state, request.app_data().expect("every route has the console's state"))
}

fn is_secure(state: &AppState) -> bool {
    state.config.environment == Environment::Production || state.public_url.scheme() == "https"
}

fn cookie_name(state: &AppState) -> &'static str {
    // The prefix makes browsers refuse such a cookie from another host or over plain HTTP.
    if is_secure(state) { "__Host-cti_console" } else { "cti_console" }
}

/// Returns the session's value in a request.
pub(super) fn cookie_of(request: &HttpRequest) -> Option<SecretString> {
    let cookie = request.cookie(cookie_name(shared(request).0))?;
    Some(cookie.value().to_owned().into())
}

/// Returns the cookie of a session.
pub(super) fn session_cookie(state: &AppState, value: &SecretString) -> Cookie<'static> {
    cookie(state, value.expose_secret().to_owned(), CookieAge::seconds(MAX_AGE.num_seconds()))
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

    #[test]
    fn an_empty_field_counts_as_not_given() {
        let fields = Fields::of("status=&call=+12+&app=a%00b");
        assert_eq!(
            (fields.get("status"), fields.get("call"), fields.get("app")),
            (None, Some("12"), Some("ab"))
        );
    }
}
