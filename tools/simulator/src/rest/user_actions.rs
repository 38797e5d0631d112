//! What is done to a user: screen pop, do not disturb, status, caller id.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::directory::{device, named_user};
use super::{Caller, Int64, Problem, as_strings};
use crate::{State, lock};

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/users/{id}/screenpop", web::post().to(screen_pop))
        .route("/users/{id}/togglednd", web::patch().to(do_not_disturb))
        .route("/users/{id}/status", web::patch().to(set_status))
        .service(web::resource("/users/{id}/caller_id").get(caller_id).post(set_caller_id));
}

/// The body of `POST /users/{id}/screenpop`.
#[derive(Deserialize)]
struct ScreenPop {
    screen_pop_uri: Option<String>,
}

async fn screen_pop(
    _: Caller,
    user: web::Path<String>,
    body: web::Json<ScreenPop>,
) -> Result<HttpResponse, Problem> {
    let user = named_user(&user)?;
    let uri = body.into_inner().screen_pop_uri.unwrap_or_default();
    let is_safe = |rest: &str| !rest.is_empty() && !rest.split('/').next().unwrap_or_default().contains('@');
    if !uri.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && is_safe(rest)) {
        return Err(Problem::bad("screen_pop_uri must be an address with a scheme and without credentials"));
    }
    Ok(HttpResponse::Ok().json(json!({"device": device(&user)})))
}

/// The body of `PATCH /users/{id}/togglednd`.
#[derive(Deserialize)]
struct DoNotDisturb {
    do_not_disturb: Option<bool>,
    group_id: Option<Int64>,
    group_type: Option<String>,
}

async fn do_not_disturb(
    state: web::Data<State>,
    _: Caller,
    user: web::Path<String>,
    body: web::Json<DoNotDisturb>,
) -> Result<HttpResponse, Problem> {
    let user = named_user(&user)?;
    let on = body.do_not_disturb.ok_or_else(|| Problem::bad("do_not_disturb is required"))?;
    if body.group_id.is_none() {
        change(&state, user.id, json!({"do_not_disturb": on}));
    }
    Ok(HttpResponse::Ok().json(as_strings(json!({
        "id": user.id,
        "do_not_disturb": on,
        "group_id": body.group_id.map(|id| id.0),
        "group_type": body.group_type,
    }))))
}

/// The body of `PATCH /users/{id}/status`.
#[derive(Deserialize)]
struct Status {
    expiration: Option<Int64>,
    status_message: Option<String>,
}

async fn set_status(
    state: web::Data<State>,
    _: Caller,
    user: web::Path<String>,
    body: web::Json<Status>,
) -> Result<HttpResponse, Problem> {
    let user = named_user(&user)?;
    change(&state, user.id, json!({"status_message": body.status_message}));
    Ok(HttpResponse::Ok().json(as_strings(json!({
        "id": user.id,
        "expiration": body.expiration.map(|seconds| seconds.0),
        "status_message": body.status_message,
    }))))
}

async fn caller_id(
    state: web::Data<State>,
    _: Caller,
    user: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let user = named_user(&user)?;
    let chosen = lock(&state.caller_ids).get(&user.id).cloned();
    Ok(HttpResponse::Ok().json(as_strings(json!({
        "id": user.id,
        "caller_id": chosen.unwrap_or_else(|| user.phone.clone()),
        "primary_phone": user.phone,
        "phone_numbers": [user.phone],
        "office_main_line": crate::flows::main_line().phone,
    }))))
}

/// The body of `POST /users/{id}/caller_id`.
#[derive(Deserialize)]
struct CallerId {
    caller_id: String,
}

async fn set_caller_id(
    state: web::Data<State>,
    caller: Caller,
    user: web::Path<String>,
    body: web::Json<CallerId>,
) -> Result<HttpResponse, Problem> {
    lock(&state.caller_ids).insert(named_user(&user)?.id, body.into_inner().caller_id);
    caller_id(state, caller, user).await
}

/// Changes what the user's entry in the directory says.
fn change(state: &State, user_id: i64, fields: Value) {
    let Value::Object(fields) = fields else { unreachable!("every change is written as an object") };
    let mut settings = lock(&state.user_settings);
    let changed: &mut Map<String, Value> = settings.entry(user_id).or_default();
    changed.extend(fields);
}
