//! `/simulator/…`: flows on demand, the logs, the switches, and the REST API without a token, faults or log entries, for
//! changes from outside.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::unbounded_channel;

use super::flow_request::FlowRequest;
use super::switches::Switches;
use super::{State, lock, request_log, rest};

/// Mounts the control API. It needs no token.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    let unreadable = web::JsonConfig::default().error_handler(|error, _| {
        let reply = rejected(&error.to_string());
        actix_web::error::InternalError::from_response(error, reply).into()
    });
    config.service(
        web::scope("/simulator")
            .app_data(unreadable)
            .route("/flows", web::post().to(start))
            .route("/flows/{run_id}", web::get().to(progress))
            .route("/calls", web::post().to(record_call))
            .route("/deliveries", web::get().to(deliveries))
            .route("/requests", web::get().to(requests))
            .route("/tokens/revoke", web::post().to(revoke))
            .service(web::resource("/switches").get(switches).put(set_all).patch(set_some))
            .configure(rest::api),
    );
}

async fn start(state: web::Data<State>, body: web::Json<FlowRequest>) -> HttpResponse {
    match State::play(&state, body.into_inner()) {
        Ok(run_id) => HttpResponse::Accepted().json(json!({"run_id": run_id})),
        Err(reason) => rejected(&reason.to_string()),
    }
}

async fn progress(state: web::Data<State>, run_id: web::Path<String>) -> HttpResponse {
    match state.progress(&run_id) {
        Some(progress) => HttpResponse::Ok().json(progress),
        None => HttpResponse::NotFound().json(json!({"error": "no such run"})),
    }
}

/// A call that happened outside of the simulator, such as one of `trigger`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForeignCall {
    /// The leg with Dialpad's fields.
    call: Value,
    /// By default the company of new authorizations.
    company_id: Option<i64>,
}

/// Records a call, so that the REST API shows it and its recording can be played.
async fn record_call(state: web::Data<State>, body: web::Json<ForeignCall>) -> HttpResponse {
    let ForeignCall { call, company_id } = body.into_inner();
    if call["call_id"].as_i64().is_none() || call["date_started"].as_i64().is_none() {
        return rejected("call must have a call_id and a date_started");
    }
    // Nobody plays the call: it takes no commands.
    let (commands, _) = unbounded_channel();
    lock(&state.calls).record(company_id.unwrap_or_else(|| state.company_id()), &call, &commands);
    HttpResponse::NoContent().finish()
}

#[derive(Deserialize)]
struct DeliveriesQuery {
    #[serde(default)]
    after: u64,
    run_id: Option<String>,
}

async fn deliveries(state: web::Data<State>, query: web::Query<DeliveriesQuery>) -> HttpResponse {
    let found = lock(&state.sender.deliveries).after(query.after, query.run_id.as_deref());
    HttpResponse::Ok().json(found)
}

#[derive(Deserialize)]
struct RequestsQuery {
    #[serde(default)]
    after: u64,
    /// The pattern of the path.
    route: Option<String>,
}

async fn requests(state: web::Data<State>, query: web::Query<RequestsQuery>) -> HttpResponse {
    let found = lock(&state.requests).after(query.after, query.route.as_deref());
    HttpResponse::Ok().json(json!({"totals": request_log::totals(&found), "requests": found}))
}

#[derive(Deserialize)]
struct RevokeQuery {
    only: Option<TokenKind>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TokenKind {
    Access,
    Refresh,
}

/// Revokes the tokens of all connections.
async fn revoke(state: web::Data<State>, query: web::Query<RevokeQuery>) -> HttpResponse {
    let mut grants = lock(&state.grants);
    if query.only != Some(TokenKind::Refresh) {
        grants.revoke_access_tokens();
    }
    if query.only != Some(TokenKind::Access) {
        grants.revoke_refresh_tokens();
    }
    HttpResponse::NoContent().finish()
}

async fn switches(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(state.switches())
}

/// Changes the named switches and resets the others.
async fn set_all(state: web::Data<State>, body: web::Json<Map<String, Value>>) -> HttpResponse {
    change_switches(&mut lock(&state.switches), &Switches::default(), &body)
}

async fn set_some(state: web::Data<State>, body: web::Json<Map<String, Value>>) -> HttpResponse {
    let mut switches = lock(&state.switches);
    let before = switches.clone();
    change_switches(&mut switches, &before, &body)
}

fn change_switches(switches: &mut Switches, from: &Switches, change: &Map<String, Value>) -> HttpResponse {
    match from.changed(change) {
        Ok(changed) => {
            *switches = changed;
            HttpResponse::Ok().json(switches)
        }
        Err(error) => rejected(&error.to_string()),
    }
}

fn rejected(reason: &str) -> HttpResponse {
    HttpResponse::BadRequest().json(json!({"error": reason}))
}
