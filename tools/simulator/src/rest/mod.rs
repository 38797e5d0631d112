//! The part of Dialpad's REST API that a CTI server or a CRM integration needs: identity, the directory of users and
//! groups, contacts, webhooks, subscriptions, calls and what is done to them, recordings, texts.
//!
//! Replies have the properties of the real ones that clients trip over: 64-bit integers are JSON strings, unset fields and
//! empty lists are left out, and the secret of a webhook is returned in clear.
//!
//! To add a resource: a file next to this one, and its routes below.

pub(crate) mod calls;
pub(crate) mod directory;
pub(crate) mod identity;
pub(crate) mod live;
pub(crate) mod media;
pub(crate) mod outbound;
pub(crate) mod records;
pub(crate) mod scopes;
pub(crate) mod share_links;
pub(crate) mod subscriptions;
pub(crate) mod texts;
pub(crate) mod user_actions;
pub(crate) mod webhooks;

use std::future::{Ready, ready};
use std::ops::Deref;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, RETRY_AFTER};
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError, web};
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::call_log::{Call, CallLog};
use super::flows::Command;
use super::registry::SubscriptionKind;
use super::{State, lock};

/// Mounts `/api/v2` and the recordings.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.configure(api).configure(media::routes);
}

/// Mounts `/api/v2` alone, below any scope.
pub(crate) fn api(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/api/v2")
            .app_data(
                web::JsonConfig::default().error_handler(|error, _| Problem::bad(error.to_string()).into()),
            )
            .route("/company", web::get().to(identity::company))
            .service(web::resource("/call").get(calls::list).post(outbound::place))
            .route("/call/{id}", web::get().to(calls::show))
            .route("/call/{id}/actions/hangup", web::put().to(outbound::hang_up))
            .route("/call/{id}/ai_recap", web::get().to(calls::recap))
            .route("/users/{id}/initiate_call", web::post().to(outbound::initiate))
            .route("/transcripts/{id}", web::get().to(calls::transcript))
            .route("/transcripts/{id}/url", web::get().to(calls::transcript_url))
            .route("/app/settings", web::get().to(identity::app_settings))
            .route("/sms", web::post().to(texts::send))
            .configure(live::routes)
            .configure(user_actions::routes)
            .configure(directory::routes)
            .configure(share_links::routes)
            .configure(records::routes)
            .service(web::resource("/webhooks").get(webhooks::list).post(webhooks::create))
            .service(
                web::resource("/webhooks/{id}")
                    .get(webhooks::show)
                    .patch(webhooks::update)
                    .delete(webhooks::delete),
            )
            .configure(|scope| subscriptions::routes(scope, "/subscriptions/call", SubscriptionKind::Calls))
            .configure(|scope| subscriptions::routes(scope, "/subscriptions/sms", SubscriptionKind::Texts))
            .default_service(web::to(no_endpoint)),
    );
}

async fn no_endpoint() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found("endpoint"))
}

/// Proves that a request had a valid access token (or the static API key) with the required scopes, or came through the
/// simulator's own controls.
pub(crate) struct Caller {
    /// The token as it was sent.
    pub(crate) token: String,
    /// The company that it may access; `None`: all companies.
    company_id: Option<i64>,
}

impl Caller {
    /// Returns whether the caller may access things of this company.
    fn sees(&self, company_id: i64) -> bool {
        self.company_id.is_none_or(|own| own == company_id)
    }

    /// Returns the company of things that the caller creates.
    fn company(&self, state: &State) -> i64 {
        self.company_id.unwrap_or_else(|| state.company_id())
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(http: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authenticate(http))
    }
}

fn authenticate(http: &HttpRequest) -> Result<Caller, Problem> {
    let state = http.app_data::<web::Data<State>>().expect("every route is mounted with its state");
    if http.path().starts_with("/simulator/") {
        return Ok(Caller { token: String::new(), company_id: None });
    }
    let now = Instant::now();
    let token = bearer(http).ok_or_else(Problem::unauthorized)?;
    let is_key = state.options.api_key.as_ref() == Some(&token);
    let (company_id, scopes) = if is_key {
        (state.options.company_id, None)
    } else {
        let info = lock(&state.grants).validate(&token, now).ok_or_else(Problem::unauthorized)?;
        (info.company_id, Some(info.scope))
    };
    let route = http.match_pattern().unwrap_or_default();
    let switches = state.switches();
    if switches.enforce_scopes
        && let Some(scopes) = scopes
        && let Some(scope) = scopes::lacking(&scopes, http.method(), &route)
    {
        return Err(Problem::lacks(scope));
    }
    if switches.enforce_rate_limits {
        let endpoint = format!("{} {route}", http.method());
        lock(&state.rate_limiter).take(company_id, &endpoint, now).map_err(Problem::too_often)?;
    }
    Ok(Caller { token, company_id: Some(company_id) })
}

/// Returns the token of a request: a bearer token, or `?apikey=`, which Dialpad also accepts.
fn bearer(http: &HttpRequest) -> Option<String> {
    #[derive(Deserialize)]
    struct ApiKey {
        apikey: String,
    }
    let header = http.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header
        .and_then(|value| value.split_once(' '))
        .filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    match token {
        Some((_, token)) => Some(token.trim().to_owned()),
        None => Some(web::Query::<ApiKey>::from_query(http.query_string()).ok()?.into_inner().apikey),
    }
}

/// An error reply.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Problem {
    status: StatusCode,
    reason: &'static str,
    message: String,
    /// When to retry.
    retry_after: Option<Duration>,
}

impl Problem {
    fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into(), retry_after: None }
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "badRequest", message)
    }

    fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "notFound", format!("no such {what}"))
    }

    fn lacks(scope: &str) -> Self {
        let message = format!("the token lacks the scope {scope}");
        Self::new(StatusCode::FORBIDDEN, "insufficientPermissions", message)
    }

    fn expired_link() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "the link has expired")
    }

    fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "authError", "a valid access token is required")
    }

    fn too_often(wait: Duration) -> Self {
        let message = "the company sent too many requests";
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rateLimitExceeded", message);
        Self { retry_after: Some(wait), ..problem }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let errors = json!([{"domain": "global", "reason": self.reason, "message": self.message}]);
        let error = json!({"code": self.status.as_u16(), "message": self.message, "errors": errors});
        let mut reply = HttpResponse::build(self.status);
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up.
            reply.insert_header((RETRY_AFTER, wait.as_secs() + 1));
        }
        reply.json(json!({"error": error}))
    }
}

/// Returns a call that the caller may access.
fn find_call<'a>(calls: &'a CallLog, id: i64, caller: &Caller) -> Result<&'a Call, Problem> {
    let call = calls.get(id).filter(|call| caller.sees(call.company_id));
    call.ok_or_else(|| Problem::not_found("call"))
}

/// Returns a call that the caller may access and that has not ended.
fn find_live_call<'a>(calls: &'a CallLog, id: i64, caller: &Caller) -> Result<&'a Call, Problem> {
    let call = find_call(calls, id, caller)?;
    if call.is_concluded() { Err(Problem::bad("the call has ended")) } else { Ok(call) }
}

fn send_to_call(call: &Call, command: Command) -> Result<(), Problem> {
    call.commands.send(command).map_err(|_| Problem::bad("the call has ended"))
}

/// Returns a reply as the API renders it: every whole number is a string, an unset field is left out.
fn as_strings(mut value: Value) -> Value {
    match &mut value {
        Value::Number(number) if !number.is_f64() => return number.to_string().into(),
        Value::Array(items) => items.iter_mut().for_each(|item| *item = as_strings(item.take())),
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(|field| *field = as_strings(field.take()));
        }
        _ => {}
    }
    value
}

/// A 64-bit integer: read from a number or a string, written as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Int64(i64);

impl Serialize for Int64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
        .map(Self)
        .ok_or_else(|| serde::de::Error::custom("expected a 64-bit integer, as a number or a string"))
    }
}

/// The query of a request. An empty parameter counts as absent, and a truth value may be capitalized: the two clients of
/// Dialpad's SDK for Python send these.
pub(crate) struct Query<T>(T);

impl<T> Deref for Query<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(http: &HttpRequest, _: &mut Payload) -> Self::Future {
        let query = web::Query::<Vec<(String, String)>>::from_query(http.query_string());
        let pairs = query.map(web::Query::into_inner).unwrap_or_default().into_iter();
        let mut url = Url::parse("http://query").expect("a constant");
        url.query_pairs_mut().extend_pairs(pairs.filter(|(_, value)| !value.is_empty()).map(
            |(name, value)| {
                let value = match value.as_str() {
                    "True" => "true".to_owned(),
                    "False" => "false".to_owned(),
                    _ => value,
                };
                (name, value)
            },
        ));
        let query = web::Query::<T>::from_query(url.query().unwrap_or_default());
        ready(query.map(|query| Self(query.into_inner())).map_err(|error| Problem::bad(error.to_string())))
    }
}

/// The position of a page in a list.
#[derive(Deserialize)]
pub(crate) struct PageQuery {
    cursor: Option<Int64>,
}

/// Small, so that clients meet a second page in tests.
const PAGE_SIZE: usize = 20;

/// Renders one page of items that are sorted by id.
fn page(items: impl Iterator<Item = (i64, Value)>, query: &PageQuery) -> HttpResponse {
    let seen = query.cursor.map_or(i64::MIN, |cursor| cursor.0);
    let mut rest = items.filter(|(id, _)| *id > seen).peekable();
    let mut reply = serde_json::Map::new();
    let mut shown = Vec::new();
    let mut last = seen;
    while shown.len() < PAGE_SIZE
        && let Some((id, item)) = rest.next()
    {
        last = id;
        shown.push(item);
    }
    if rest.peek().is_some() {
        reply.insert("cursor".to_owned(), last.to_string().into());
    }
    if !shown.is_empty() {
        reply.insert("items".to_owned(), shown.into());
    }
    HttpResponse::Ok().json(reply)
}
