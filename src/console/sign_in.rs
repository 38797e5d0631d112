//! Signing in with the administrators' secret or a single-use token, and signing out.

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, ResponseError,
    dev::Payload,
    http::{Method, StatusCode},
};
use futures_util::{FutureExt, future::LocalBoxFuture};
use maud::html;
use secrecy::SecretString;
use tracing::{info, warn};

use super::{
    access::{
        Failure, Submitted, check_origin, find_session, is_inside, removed_cookie, session_cookie, shared,
    },
    fields::{Fields, read_form},
    page,
    sessions::{Session, SignInToken},
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
    let query = Fields::of_query(&request);
    let next = query.get("next").filter(|next| is_inside(next));
    // A HEAD must change nothing.
    if let Some(token) = query.get("token").filter(|_| *request.method() == Method::GET) {
        return match secret_of(&request, &SecretString::from(token)).await? {
            Some(secret) => Ok(signed_in(&request, secret, next)),
            None => wrong(&request, next, "This address was used already, or is no longer valid"),
        };
    }
    if find_session(&request).await.is_some() {
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
    let given = SecretString::from(secret);
    let mut secrets = shared(&request).config.internal_secrets.iter();
    if let Some(secret) = secrets.find(|secret| is_one_of(&given, std::slice::from_ref(secret))) {
        return Ok(signed_in(&request, secret, next));
    }
    wrong(&request, next, "The secret is wrong")
}

/// Uses a token up. Returns the secret that signed it; `None` if it is not valid, or was used before at any process.
async fn secret_of<'r>(
    request: &'r HttpRequest,
    token: &SecretString,
) -> Result<Option<&'r SecretString>, Failure> {
    let state = shared(request);
    let Some(token) = SignInToken::open(token, &state.config.internal_secrets, state.clock.now()) else {
        return Ok(None);
    };
    let is_first = state.store.console_endings().end(token.id, token.expires_at).await?;
    Ok(is_first.then_some(token.secret))
}

/// Ends the session at every process. Where that can't be stored, the browser forgets it all the same.
pub(super) async fn sign_out(request: HttpRequest, _: Submitted) -> HttpResponse {
    let state = shared(&request);
    let mut answer = page::see_other("/console/sign-in");
    if let Some(session) = find_session(&request).await
        && let Err(error) = state.store.console_endings().end(session.id, session.expires_at()).await
    {
        warn!(%error, "the end of a session of the console could not be stored");
        answer = Failure::from(error).error_response();
    }
    // The cookie of a session that is over is harmless: this only tidies up.
    let _ = answer.add_cookie(&removed_cookie(state));
    answer
}

fn signed_in(request: &HttpRequest, secret: &SecretString, next: Option<&str>) -> HttpResponse {
    let state = shared(request);
    let session = Session::begin(secret, state.clock.now());
    info!("an administrator signed in to the console");
    let status = if *request.method() == Method::GET { StatusCode::FOUND } else { StatusCode::SEE_OTHER };
    let mut answer = page::redirect(status, next.unwrap_or(HOME));
    answer.add_cookie(&session_cookie(state, &session)).expect("base64 is valid in a cookie");
    answer
}

fn wrong(request: &HttpRequest, next: Option<&str>, problem: &str) -> Result<HttpResponse, Failure> {
    rate_limit::check(request, shared(request), Attempt::Credentials)?;
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
