//! What is done to a running call: transfer, park, unpark, add a participant, record, label.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::directory::named_user;
use super::outbound::is_dialable;
use super::{Caller, Int64, Problem, as_strings, calls, find_call, find_live_call, send_to_call};
use crate::call_log::Call;
use crate::flows::{self, Arrival, Command, NewIds, Party};
use crate::{State, lock};

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/call/{id}/transfer", web::post().to(transfer))
        .route("/call/{id}/participants/add", web::post().to(add_participant))
        .route("/call/{id}/unpark", web::post().to(unpark))
        .route("/call/{id}/labels", web::put().to(set_labels))
        .route("/calllabels", web::get().to(company_labels))
        .route("/users/{id}/activecall", web::patch().to(record));
}

/// Where a call goes: exactly one of the three.
#[derive(Deserialize)]
struct Destination {
    number: Option<String>,
    call_id: Option<Int64>,
    target_type: Option<String>,
    target_id: Option<Int64>,
}

impl Destination {
    /// Returns the number or target; a call is none.
    fn party(&self) -> Result<Party, Problem> {
        match (&self.number, &self.target_type, self.target_id) {
            (Some(number), None, None) if is_dialable(number) => {
                // A number of our own is a user's or a group's.
                let own = flows::users().chain([flows::main_line(), flows::centre(), flows::department()]);
                let own = own.into_iter().find(|party| party.phone == *number);
                Ok(own.unwrap_or_else(|| flows::outside(number)))
            }
            (Some(_), None, None) => Err(Problem::bad("number must be an E.164 number")),
            (None, Some(kind), Some(Int64(id))) => {
                flows::target_by_id(kind, id).ok_or_else(|| Problem::not_found("target"))
            }
            _ => Err(Problem::bad("a number, or a target_type and a target_id, is required")),
        }
    }
}

/// The body of `POST /call/{id}/transfer`.
#[derive(Deserialize)]
struct Transfer {
    to: Destination,
    transfer_state: Option<String>,
}

async fn transfer(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<i64>,
    body: web::Json<Transfer>,
) -> Result<HttpResponse, Problem> {
    let calls = lock(&state.calls);
    let call = find_live_call(&calls, *id, &caller)?;
    let transfer_state = body.transfer_state.as_deref();
    let on_arrival = match transfer_state {
        None | Some("hold" | "preanswer" | "parked") => Arrival::Rings,
        Some("voicemail") => Arrival::Voicemail,
        Some(other) => return Err(Problem::bad(format!("unknown transfer_state \"{other}\""))),
    };
    let ids = new_ids();
    let mut reply = json!({"call_id": call.id, "transferred_to_state": transfer_state});
    if let Some(Int64(other)) = body.to.call_id {
        // The two calls become one: who was on the other one talks to the customer.
        let other = find_live_call(&calls, other, &caller)?;
        let contact = &other.facts["contact"];
        let colleague = contact["id"].as_i64().and_then(flows::user_by_id);
        let to = colleague.unwrap_or_else(|| flows::outside(contact["phone"].as_str().unwrap_or_default()));
        reply["transferred_to_number"] = to.phone.as_str().into();
        send_to_call(other, Command::HangUp)?;
        let on_arrival = Arrival::IsConnected;
        send_to_call(call, Command::Transfer { call_id: call.id, to, on_arrival, ids })?;
    } else if transfer_state == Some("parked") {
        reply["transferred_to_number"] = body.to.party()?.phone.into();
        send_to_call(call, Command::Park { call_id: call.id })?;
    } else {
        let to = body.to.party()?;
        reply["transferred_to_number"] = to.phone.as_str().into();
        send_to_call(call, Command::Transfer { call_id: call.id, to, on_arrival, ids })?;
    }
    Ok(HttpResponse::Ok().json(as_strings(reply)))
}

/// The body of `POST /call/{id}/participants/add`.
#[derive(Deserialize)]
struct AddParticipant {
    participant: Destination,
}

async fn add_participant(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<i64>,
    body: web::Json<AddParticipant>,
) -> Result<HttpResponse, Problem> {
    let party = body.participant.party()?;
    let calls = lock(&state.calls);
    let call = find_live_call(&calls, *id, &caller)?;
    let ids = new_ids();
    send_to_call(call, Command::AddParticipant { call_id: call.id, party, ids })?;
    Ok(HttpResponse::Ok().json(json!({"call_id": Int64(ids[0])})))
}

/// The body of `POST /call/{id}/unpark`.
#[derive(Deserialize)]
struct Unpark {
    user_id: Option<Int64>,
}

/// The user who parked the call takes it back; another user gets a leg of their own.
async fn unpark(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<i64>,
    body: web::Json<Unpark>,
) -> Result<HttpResponse, Problem> {
    let Some(Int64(user_id)) = body.user_id else {
        return Err(Problem::bad("user_id is required"));
    };
    let to = flows::user_by_id(user_id).ok_or_else(|| Problem::not_found("user"))?;
    let calls = lock(&state.calls);
    let call = find_live_call(&calls, *id, &caller)?;
    if call.facts["state"] != "parked" {
        return Err(Problem::bad("the call is not parked"));
    }
    let call_id = call.id;
    if call.facts["target"]["id"] == user_id {
        send_to_call(call, Command::Unpark { call_id })?;
        return Ok(HttpResponse::Ok().json(json!({"call_id": Int64(call_id)})));
    }
    let ids = new_ids();
    send_to_call(call, Command::Transfer { call_id, to, on_arrival: Arrival::IsConnected, ids })?;
    Ok(HttpResponse::Ok().json(json!({"call_id": Int64(ids[0])})))
}

/// The body of `PUT /call/{id}/labels`.
#[derive(Deserialize)]
struct Labels {
    #[serde(default)]
    labels: Vec<String>,
}

async fn set_labels(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<i64>,
    body: web::Json<Labels>,
) -> Result<HttpResponse, Problem> {
    let renewed = state.switches().expired_recording_links;
    let mut calls = lock(&state.calls);
    find_call(&calls, *id, &caller)?;
    let call = calls.get_mut(*id).ok_or_else(|| Problem::not_found("call"))?;
    call.labels = body.into_inner().labels;
    Ok(HttpResponse::Ok().json(calls::rendered(call, &state.base_url, renewed)))
}

/// The labels that the company's administrator made.
async fn company_labels(_: Caller) -> HttpResponse {
    HttpResponse::Ok().json(json!({"labels": ["billing", "follow-up", "sales", "support"]}))
}

/// The body of `PATCH /users/{id}/activecall`.
#[derive(Deserialize)]
struct Record {
    is_recording: Option<bool>,
}

async fn record(
    state: web::Data<State>,
    caller: Caller,
    user: web::Path<String>,
    body: web::Json<Record>,
) -> Result<HttpResponse, Problem> {
    let user = named_user(&user)?;
    let mut calls = lock(&state.calls);
    let call = calls.active_of(user.id).filter(|call| caller.sees(call.company_id));
    let call = call.ok_or_else(|| Problem::not_found("active call"))?;
    if let Some(on) = body.is_recording {
        call.is_recording = Some(on);
        send_to_call(call, Command::Record { call_id: call.id, on })?;
    }
    Ok(HttpResponse::Ok().json(active_call(call)))
}

fn active_call(call: &Call) -> Value {
    let is_recording =
        call.is_recording.unwrap_or(call.facts.get("was_recorded") == Some(&Value::Bool(true)));
    as_strings(json!({"id": call.id, "call_state": call.facts.get("state"), "is_recording": is_recording}))
}

/// Draws ids like those of the flows.
fn new_ids() -> NewIds {
    std::array::from_fn(|_| flows::random_id())
}
