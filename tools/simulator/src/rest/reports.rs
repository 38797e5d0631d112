//! Reports and callbacks: `POST /stats` and its file, `POST /callback`.

use std::fmt::Write as _;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::outbound::is_dialable;
use super::{Caller, Int64, Problem};
use crate::call_log::Call;
use crate::{State, flows, lock};

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/stats", web::post().to(start))
        .route("/stats/{id}", web::get().to(result))
        .route("/callback", web::post().to(enqueue))
        .route("/callback/validate", web::post().to(validate));
}

/// The body of `POST /stats`. The other fields of the API are ignored: a report has all calls.
#[derive(Deserialize)]
struct Report {
    export_type: Option<String>,
    stat_type: Option<String>,
}

async fn start(
    state: web::Data<State>,
    caller: Caller,
    body: web::Json<Report>,
) -> Result<HttpResponse, Problem> {
    if !matches!(body.export_type.as_deref(), Some("records" | "stats")) {
        return Err(Problem::bad("export_type must be records or stats"));
    }
    if body.stat_type.is_none() {
        return Err(Problem::bad("stat_type is required"));
    }
    let request_id = hex::encode(rand::random::<[u8; 12]>());
    lock(&state.reports).insert(request_id.clone(), caller.company(&state));
    Ok(HttpResponse::Ok().json(json!({"request_id": request_id, "already_started": false})))
}

async fn result(
    state: web::Data<State>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let known = lock(&state.reports).get(id.as_str()).is_some_and(|company| caller.sees(*company));
    if !known {
        return Err(Problem::not_found("report"));
    }
    let download_url = format!("{}/shared/stats/{id}.csv", state.base_url);
    Ok(HttpResponse::Ok()
        .json(json!({"status": "complete", "file_type": "csv", "download_url": download_url})))
}

/// `GET /shared/stats/{id}.csv`: one line for each call that has ended. The id in the link is the secret.
pub(crate) async fn file(state: web::Data<State>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let company = lock(&state.reports).get(id.as_str()).copied();
    let company = company.ok_or_else(|| Problem::not_found("report"))?;
    let mut lines =
        "call_id,direction,external_number,target_id,date_started,date_connected,date_ended\n".to_owned();
    let calls = lock(&state.calls);
    for call in calls.concluded(None).filter(|call| call.company_id == company) {
        let Call { id, facts, .. } = call;
        let text = |name: &str| match facts.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        let columns = ["direction", "external_number"].map(text).join(",");
        let times = ["date_started", "date_connected", "date_ended"].map(text).join(",");
        let _ = writeln!(lines, "{id},{columns},{},{times}", facts["target"]["id"]);
    }
    Ok(HttpResponse::Ok().content_type("text/csv; charset=utf-8").body(lines))
}

/// The body of `POST /callback` and `POST /callback/validate`.
#[derive(Deserialize)]
struct Callback {
    call_center_id: Option<Int64>,
    phone_number: Option<String>,
}

impl Callback {
    fn check(&self) -> Result<(), Problem> {
        if self.call_center_id.map(|id| id.0) != Some(flows::centre().id) {
            return Err(Problem::not_found("call center"));
        }
        match self.phone_number.as_deref().is_some_and(is_dialable) {
            true => Ok(()),
            false => Err(Problem::bad("phone_number must be an E.164 number")),
        }
    }
}

/// Queues a callback; nobody calls back.
async fn enqueue(_: Caller, body: web::Json<Callback>) -> Result<HttpResponse, Problem> {
    body.check()?;
    Ok(HttpResponse::Ok().json(json!({"position": Int64(1)})))
}

async fn validate(_: Caller, body: web::Json<Callback>) -> Result<HttpResponse, Problem> {
    body.check()?;
    Ok(HttpResponse::Ok().json(json!({"success": true})))
}
