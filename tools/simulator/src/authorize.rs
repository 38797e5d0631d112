//! `/oauth2/authorize`: redirects the browser back with a code or an error, only to a known client's address.

use std::time::Instant;

use actix_web::http::header::{CACHE_CONTROL, ContentType, LOCATION};
use actix_web::{HttpResponse, web};
use reqwest::Url;
use serde::Deserialize;

use super::grants::{Challenge, Consent};
use super::{Approval, State, consent, lock};

/// The query of an authorization request.
#[derive(Deserialize)]
pub(crate) struct AuthorizeRequest {
    #[serde(default)]
    pub(crate) client_id: String,
    #[serde(default)]
    pub(crate) redirect_uri: String,
    #[serde(default)]
    response_type: String,
    #[serde(default)]
    pub(crate) scope: String,
    state: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
    /// The button that the person pressed; set only by the form of the consent page.
    decision: Option<Decision>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Decision {
    Approve,
    Deny,
}

impl AuthorizeRequest {
    /// Returns the request as form fields, without the decision.
    pub(crate) fn fields(&self) -> Vec<(&'static str, &str)> {
        let mut fields = vec![
            ("client_id", self.client_id.as_str()),
            ("redirect_uri", &self.redirect_uri),
            ("response_type", &self.response_type),
            ("scope", &self.scope),
        ];
        let optional = [
            ("state", &self.state),
            ("code_challenge", &self.code_challenge),
            ("code_challenge_method", &self.code_challenge_method),
        ];
        fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
        fields
    }

    fn challenge(&self) -> Result<Option<Challenge>, &'static str> {
        let Some(challenge) = self.code_challenge.clone() else {
            return Ok(None);
        };
        match self.code_challenge_method.as_deref() {
            Some("S256") => Ok(Some(Challenge::S256(challenge))),
            Some("plain") | None => Ok(Some(Challenge::Plain(challenge))),
            Some(_) => Err("code_challenge_method must be S256 or plain"),
        }
    }
}

/// `GET`: approves at once, or shows the consent page.
pub(crate) async fn get(state: web::Data<State>, query: web::Query<AuthorizeRequest>) -> HttpResponse {
    decide(&state, &query, None)
}

/// `POST`: the consent page's form.
pub(crate) async fn post(state: web::Data<State>, form: web::Form<AuthorizeRequest>) -> HttpResponse {
    decide(&state, &form, form.decision)
}

fn decide(state: &State, request: &AuthorizeRequest, decision: Option<Decision>) -> HttpResponse {
    // An unknown client or address gets no redirect: it would be an open redirect.
    if request.client_id != state.options.client_id {
        return bad_request("unknown client_id");
    }
    let Some(back) = redirect_target(&request.redirect_uri) else {
        return bad_request("redirect_uri must be an absolute http(s) address without a fragment");
    };
    if request.response_type != "code" {
        return redirect_with_error(back, request, "unsupported_response_type", "response_type must be code");
    }
    let challenge = match request.challenge() {
        Ok(challenge) => challenge,
        Err(reason) => return redirect_with_error(back, request, "invalid_request", reason),
    };
    match (decision, state.options.approval) {
        (Some(Decision::Deny), _) => {
            redirect_with_error(back, request, "access_denied", "the user denied the request")
        }
        (Some(Decision::Approve), _) | (None, Approval::Automatic) => {
            let consent = Consent {
                redirect_uri: request.redirect_uri.clone(),
                scope: granted(&request.scope, &state.switches().withheld_scopes),
                company_id: state.company_id(),
                challenge,
            };
            let code = lock(&state.grants).issue_code(consent, Instant::now());
            redirect_back(back, request, &[("code", &code)])
        }
        (None, Approval::Page) => HttpResponse::Ok()
            .insert_header(ContentType::html())
            .insert_header((CACHE_CONTROL, "no-store"))
            .body(consent::page(state, request)),
    }
}

/// Returns the requested scopes without the withheld ones.
fn granted(asked: &str, withheld: &[String]) -> String {
    let granted = asked.split_whitespace().filter(|scope| !withheld.iter().any(|name| name == scope));
    granted.collect::<Vec<_>>().join(" ")
}

fn redirect_target(uri: &str) -> Option<Url> {
    Url::parse(uri).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.fragment().is_none())
}

fn redirect_with_error(
    back: Url,
    request: &AuthorizeRequest,
    error: &str,
    description: &str,
) -> HttpResponse {
    redirect_back(back, request, &[("error", error), ("error_description", description)])
}

fn redirect_back(mut back: Url, request: &AuthorizeRequest, parameters: &[(&str, &str)]) -> HttpResponse {
    back.query_pairs_mut()
        .extend_pairs(parameters)
        .extend_pairs(request.state.iter().map(|state| ("state", state)));
    HttpResponse::Found()
        .insert_header((LOCATION, back.as_str()))
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish()
}

fn bad_request(reason: &str) -> HttpResponse {
    HttpResponse::BadRequest()
        .json(serde_json::json!({"error": "invalid_request", "error_description": reason}))
}
