//! Signing in with the administrators' secret or a single-use token, and signing out.

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::{Method, StatusCode},
};
use futures_util::{FutureExt, future::LocalBoxFuture};
use maud::html;
use secrecy::SecretString;
use tracing::info;

use super::{
    access::{
        Failure, Fields, Submitted, check_origin, cookie_of, is_inside, read_form, removed_cookie,
        session_cookie, shared,
    },
    page,
    sessions::Use,
};
use crate::http::{
    extract::auth::is_one_of,
    middleware::rate_limit::{self, Attempt},
};

const HOME: &str = "/console";

/// The form of a person who is not signed in yet.
pub(super) struct Credentials(Fields);

impl FromRequest for Credentials {
    type Error = Failure;
    type Future = LocalBoxFuture<'static, Result<Self, Failure>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (origin, form) = (check_origin(request), read_form(request, payload));
        async move {
            origin?;
            form.await.map(Self)
        }
        .boxed_local()
    }
}

/// Shows the form, or signs in with the token in the address.
pub(super) async fn show(request: HttpRequest) -> Result<HttpResponse, Failure> {
    let (state, console) = shared(&request);
    let query = Fields::of_query(&request);
    let next = query.get("next").filter(|next| is_inside(next));
    // A HEAD must change nothing.
    if let Some(token) = query.get("token").filter(|_| *request.method() == Method::GET) {
        if console.sessions.take_token(&SecretString::from(token), state.clock.now()) {
            return Ok(signed_in(&request, next));
        }
        return wrong(&request, next, "This address was used already, or is no longer valid");
    }
    let is_signed_in = cookie_of(&request).is_some_and(|cookie| {
        let cookie = secrecy::ExposeSecret::expose_secret(&cookie);
        console.sessions.find(cookie, state.clock.now(), Use::Active).is_some()
    });
    if is_signed_in {
        return Ok(page::redirect(StatusCode::FOUND, next.unwrap_or(HOME)));
    }
    Ok(form(StatusCode::OK, next, None))
}

/// Signs in with the secret of the form. A wrong one counts as a wrong bearer.
pub(super) async fn submit(
    request: HttpRequest,
    Credentials(fields): Credentials,
) -> Result<HttpResponse, Failure> {
    let next = fields.get("next").filter(|next| is_inside(next));
    let Some(secret) = fields.get("secret") else {
        return Ok(form(StatusCode::UNAUTHORIZED, next, Some("Enter the secret")));
    };
    if is_one_of(&SecretString::from(secret), &shared(&request).0.config.internal_secrets) {
        return Ok(signed_in(&request, next));
    }
    wrong(&request, next, "The secret is wrong")
}

/// Ends the session.
pub(super) async fn sign_out(request: HttpRequest, _: Submitted) -> HttpResponse {
    let (state, console) = shared(&request);
    if let Some(cookie) = cookie_of(&request) {
        console.sessions.end(secrecy::ExposeSecret::expose_secret(&cookie));
    }
    let mut answer = page::see_other("/console/sign-in");
    // The cookie of a session that is over is harmless: this only tidies up.
    let _ = answer.add_cookie(&removed_cookie(state));
    answer
}

fn signed_in(request: &HttpRequest, next: Option<&str>) -> HttpResponse {
    let (state, console) = shared(request);
    let cookie = console.sessions.begin(state.clock.now());
    info!("an administrator signed in to the console");
    let status = if *request.method() == Method::GET { StatusCode::FOUND } else { StatusCode::SEE_OTHER };
    let mut answer = page::redirect(status, next.unwrap_or(HOME));
    answer.add_cookie(&session_cookie(state, &cookie)).expect("hexadecimal digits are valid in a cookie");
    answer
}

fn wrong(request: &HttpRequest, next: Option<&str>, problem: &str) -> Result<HttpResponse, Failure> {
    rate_limit::check(request, shared(request).0, Attempt::Credentials)?;
    info!("a sign-in to the console failed");
    Ok(form(StatusCode::UNAUTHORIZED, next, Some(problem)))
}

fn form(status: StatusCode, next: Option<&str>, problem: Option<&str>) -> HttpResponse {
    let content = html! {
        section.sign-in {
            h1 { "Sign in to cti-server" }
            form method="post" action="/console/sign-in" {
                @if let Some(problem) = problem { p.alert role="alert" { (problem) "." } }
                @if let Some(next) = next { (page::hidden("next", next)) }
                label for="secret" { "Secret of administrators" }
                input #secret type="password" name="secret" autocomplete="current-password" required autofocus
                    aria-describedby="hint";
                p #hint .hint { "A value of " code { "INTERNAL_API_SECRET" } "." }
                button { "Sign in" }
            }
        }
    };
    page::bare(status, "Sign in", &content)
}
