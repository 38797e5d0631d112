//! Reading calls: one call as it is now, the history of calls that have ended, and transcripts.

use actix_web::{HttpResponse, web};
use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Caller, Int64, PAGE_SIZE, Problem, Query, as_strings, find_call};
use crate::call_log::{Call, Recording};
use crate::{State, lock};

/// `GET /api/v2/call/{id}`, during the call and afterwards.
pub(crate) async fn show(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    let renewed = state.switches().expired_recording_links;
    let calls = lock(&state.calls);
    let call = find_call(&calls, *id, &caller)?;
    Ok(HttpResponse::Ok().json(rendered(call, &state.base_url, renewed)))
}

/// The query of the history. Times are milliseconds and exclusive.
#[derive(Deserialize)]
pub(crate) struct HistoryQuery {
    started_after: Option<Int64>,
    started_before: Option<Int64>,
    target_type: Option<String>,
    target_id: Option<Int64>,
    cursor: Option<String>,
}

impl HistoryQuery {
    /// Returns where the previous page ended: start and id of its last call.
    fn before(&self) -> Result<Option<(i64, i64)>, Problem> {
        let Some(cursor) = &self.cursor else {
            return Ok(None);
        };
        let parts = cursor.split_once('-').and_then(|(at, id)| Some((at.parse().ok()?, id.parse().ok()?)));
        parts.map(Some).ok_or_else(|| Problem::bad("cursor is not one that a page returned"))
    }

    fn wants(&self, call: &Call) -> bool {
        self.started_after.is_none_or(|after| call.started > after.0)
            && self.started_before.is_none_or(|before| call.started < before.0)
            && self.covers(&call.facts["target"])
    }

    fn covers(&self, target: &Value) -> bool {
        let (Some(kind), Some(Int64(id))) = (self.target_type.as_deref(), self.target_id) else {
            return true;
        };
        match kind {
            "company" => true,
            "office" if target["office_id"] == id => true,
            // Events and queries name target types differently.
            kind => {
                target["id"] == id
                    && target["type"].as_str().map(|kind| kind.replace('_', "")).as_deref() == Some(kind)
            }
        }
    }
}

/// `GET /api/v2/call`: calls that have ended, newest first.
pub(crate) async fn list(
    state: web::Data<State>,
    caller: Caller,
    query: Query<HistoryQuery>,
) -> Result<HttpResponse, Problem> {
    if query.target_type.is_some() != query.target_id.is_some() {
        return Err(Problem::bad("target_type and target_id require each other"));
    }
    let renewed = state.switches().expired_recording_links;
    let calls = lock(&state.calls);
    let mut found = calls
        .concluded(query.before()?)
        .filter(|call| caller.sees(call.company_id) && query.wants(call))
        .peekable();
    let mut reply = Map::new();
    let mut items = Vec::new();
    while items.len() < PAGE_SIZE
        && let Some(call) = found.next()
    {
        items.push(rendered(call, &state.base_url, renewed));
        if items.len() == PAGE_SIZE && found.peek().is_some() {
            reply.insert("cursor".to_owned(), format!("{}-{}", call.started, call.id).into());
        }
    }
    if !items.is_empty() {
        reply.insert("items".to_owned(), items.into());
    }
    Ok(HttpResponse::Ok().json(reply))
}

/// `GET /api/v2/transcripts/{call_id}`: has lines once the recording of an answered call is ready.
pub(crate) async fn transcript(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    let calls = lock(&state.calls);
    let call = find_call(&calls, *id, &caller)?;
    let mut reply = json!({"call_id": Int64(call.id)});
    if call.was_answered() && call.recording.is_some() {
        reply["lines"] = lines(call);
    }
    Ok(HttpResponse::Ok().json(reply))
}

/// `GET /api/v2/transcripts/{call_id}/url`: the page of the transcript, for a person who is logged in.
pub(crate) async fn transcript_url(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    let calls = lock(&state.calls);
    let call = find_call(&calls, *id, &caller)?;
    let url = format!("{}/callhistory/callreview/{}", state.base_url, call.id);
    Ok(HttpResponse::Ok().json(json!({"call_id": Int64(call.id), "url": url})))
}

/// `GET /api/v2/call/{id}/ai_recap`: once an answered call has ended.
pub(crate) async fn recap(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    let calls = lock(&state.calls);
    let call = find_call(&calls, *id, &caller)?;
    if !call.was_answered() || !call.is_concluded() {
        return Err(Problem::not_found("recap"));
    }
    Ok(HttpResponse::Ok().json(as_strings(json!({
        "call_id": call.id,
        "summary": "The customer asked about an order. It left the warehouse this morning.",
        "purposes": ["Order status"],
        "action_items": ["Send the tracking number"],
        "disposition": "Resolved",
        "date_created": call.facts["date_ended"],
    }))))
}

fn lines(call: &Call) -> Value {
    let facts = &call.facts;
    let (user, customer) = (&facts["target"], &facts["contact"]);
    let name = |party: &Value| party["name"].as_str().unwrap_or("Unknown").to_owned();
    let connected_at = facts["date_connected"].as_i64().unwrap_or_default();
    let spoken = [
        (user, format!("Acme, this is {}. What can I do for you?", name(user))),
        (customer, format!("Hello, this is {}. I wanted to ask about my order.", name(customer))),
        (user, "One moment, I will look it up. It left our warehouse this morning.".to_owned()),
        (customer, "That is all I wanted to know. Thank you!".to_owned()),
    ];
    let mut at = connected_at;
    let mut line = |kind: &str, party: &Value, content: String| {
        at += 1_500;
        let id = if party["office_id"].is_null() { "contact_id" } else { "user_id" };
        json!({
            "type": kind, "content": content, "name": name(party), id: party["id"].to_string(),
            // Without a time zone, as Dialpad sends it.
            "time": DateTime::from_timestamp_millis(at).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
        })
    };
    let mut lines: Vec<Value> =
        spoken.into_iter().map(|(party, content)| line("transcript", party, content)).collect();
    // A moment names what was recognized; it was not spoken.
    lines.insert(2, line("moment", customer, "customer_question".to_owned()));
    lines.into()
}

/// Renders a call as the API does: 64-bit integers are strings, unset fields are left out.
pub(crate) fn rendered(call: &Call, base_url: &str, renewed: bool) -> Value {
    let mut reply = Value::from(call.facts.clone());
    if let Some(recording) = &call.recording {
        let number = if renewed { recording.renewed } else { recording.id };
        show_recording(&mut reply, recording, &format!("{base_url}/r/{number}"));
    }
    if !call.labels.is_empty() {
        reply["labels"] = json!(call.labels);
    }
    if call.is_recording == Some(true) {
        reply["was_recorded"] = true.into();
    }
    as_strings(reply)
}

fn show_recording(reply: &mut Value, recording: &Recording, link: &str) {
    let details = &mut reply["recording_details"][0];
    details["url"] = link.into();
    details["duration"] = recording.millis.into();
    match recording.kind.as_str() {
        "voicemail" => reply["voicemail_share_link"] = link.into(),
        _ => reply["call_recording_share_links"] = json!([link]),
    }
}
