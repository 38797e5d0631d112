//! Apps and their keys, for administrators; and an app's view of itself.

use actix_web::{
    HttpRequest, HttpResponse, Responder,
    web::{Bytes, Data, Path},
};
use chrono::TimeDelta;
use cti_actors::{id::AppId, session::close};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::{
    Shared,
    auth::{Administrator, Crm},
    query::{Query, write_ids_as_text},
};
use crate::{
    error::{ApiError, ErrorCode},
    store::{connections::Standing, keys::NewKey},
};

/// The longest name of an app, in characters.
const LONGEST_NAME: usize = 255;
/// The longest time for which an old key may stay valid: a week.
const LONGEST_GRACE: i64 = 7 * 24 * 3600;

pub(super) async fn create(
    _: Administrator,
    shared: Data<Shared>,
    body: Bytes,
) -> Result<impl Responder, ApiError> {
    let body = object(&body)?;
    only(&body, &["name"])?;
    let name = match body.get("name") {
        Some(Value::String(name)) => name.trim(),
        _ => return Err(ApiError::invalid("name: is required and must be a text")),
    };
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.contains('\0') {
        return Err(ApiError::invalid(format!("name: must have 1 to {LONGEST_NAME} characters")));
    }
    let key = NewKey::generate();
    let app = shared.store.create_app(name, &key).await?;
    tracing::info!(app.id = %app.id(), "an app was created");
    Ok(HttpResponse::Ok().json(json!({
        "app_id": app.id(),
        "api_key": key.key.expose_secret(),
        "message": "App created successfully. SAVE THE API KEY - it will not be shown again.",
        "name": app.name,
        "created_at": app.created_at,
    })))
}

pub(super) async fn rotate_key(
    _: Administrator,
    shared: Data<Shared>,
    app_id: Path<String>,
    body: Bytes,
) -> Result<impl Responder, ApiError> {
    let app_id = existing(&shared, &app_id).await?;
    let body = if body.trim_ascii().is_empty() { Map::new() } else { object(&body)? };
    only(&body, &["grace_seconds"])?;
    let grace = match body.get("grace_seconds") {
        None | Some(Value::Null) => 0,
        Some(value) => {
            value.as_i64().filter(|grace| (0..=LONGEST_GRACE).contains(grace)).ok_or_else(|| {
                ApiError::invalid(format!("grace_seconds: must be a whole number from 0 to {LONGEST_GRACE}"))
            })?
        }
    };
    let key = NewKey::generate();
    let old = shared.store.rotate_key(app_id, &key, TimeDelta::seconds(grace)).await?;
    let sessions = shared.engine.sessions(app_id);
    for old in old {
        if grace == 0 {
            sessions.close_of_key(old.id(), close::FORBIDDEN, "the API key was replaced");
        } else {
            let (sessions, grace) = (sessions.clone(), std::time::Duration::from_secs(grace.unsigned_abs()));
            actix_web::rt::spawn(async move {
                tokio::time::sleep(grace).await;
                sessions.close_of_key(old.id(), close::FORBIDDEN, "the API key was replaced");
            });
        }
    }
    tracing::info!(app.id = %app_id, grace_s = grace, "an API key was rotated");
    Ok(HttpResponse::Ok().json(json!({
        "app_id": app_id,
        "api_key": key.key.expose_secret(),
        "message": "API key replaced. SAVE THE API KEY - it will not be shown again.",
        "created_at": shared.clock.now(),
    })))
}

/// What an app sees of itself.
pub(super) async fn status(
    request: HttpRequest,
    crm: Crm,
    shared: Data<Shared>,
) -> Result<impl Responder, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    let standing = shared.store.standing(crm.app_id).await?;
    let by_static_key = shared.store.static_organization().filter(|_| standing.is_none());
    let (state, message) = match &standing {
        Some(standing) => state_of(standing, shared.config.environment.as_str()),
        None if by_static_key.is_some() => CONNECTED,
        None => ("disconnected", "App is not connected to Dialpad"),
    };
    let environment =
        standing.as_ref().map_or(shared.config.environment.as_str(), |it| it.environment.as_str());
    let mut status = json!({
        "message": message,
        "app_id": crm.app_id,
        "connected": matches!(state, "connected" | "degraded"),
        "status": state,
        "dialpad_org_id": standing.as_ref().and_then(|standing| standing.dialpad_org_id).or(by_static_key),
        "environment": environment,
        "connected_at": standing.as_ref().map(|standing| standing.connected_at),
        "token_expires_at": standing.as_ref().and_then(|standing| standing.expires_at),
        "degraded_since": standing.as_ref().and_then(|standing| standing.degraded_since),
        "problem": standing.and_then(|standing| standing.refresh_problem),
    });
    let lost = shared.store.given_up_repairs(crm.app_id).await?;
    status["unrepaired"] = lost
        .iter()
        .map(|gap| json!({"since": gap.since, "until": gap.until, "reason": gap.given_up}))
        .collect();
    if state == "expired" {
        status["code"] = ErrorCode::TokensExpired.as_str().into();
    }
    if query.ids_as_text()? {
        write_ids_as_text(&mut status);
    }
    Ok(HttpResponse::Ok().json(status))
}

/// A state, and a sentence for people.
type State = (&'static str, &'static str);

const CONNECTED: State = ("connected", "App is connected to Dialpad");

fn state_of(standing: &Standing, environment: &str) -> State {
    match standing {
        Standing { status, .. } if status == "expired" => {
            ("expired", "OAuth tokens expired and refresh failed; the app must be authorised again")
        }
        Standing { environment: connected_in, .. } if connected_in != environment => {
            ("disconnected", "App is connected to the Dialpad of another environment")
        }
        Standing { degraded_since: Some(_), .. } => {
            ("degraded", "App is connected to Dialpad, but its tokens can't be renewed at the moment")
        }
        Standing { .. } => CONNECTED,
    }
}

/// The id of an app that exists.
pub(super) async fn existing(shared: &Shared, app_id: &str) -> Result<AppId, ApiError> {
    let not_found = || ApiError::new(ErrorCode::AppNotFound, "There is no such app");
    let app_id: AppId = app_id.parse().map_err(|_| not_found())?;
    shared.store.app(app_id).await?.map(|app| app.id()).ok_or_else(not_found)
}

fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    serde_json::from_slice(body).map_err(|_| ApiError::invalid("the body must be a JSON object"))
}

fn only(body: &Map<String, Value>, allowed: &[&str]) -> Result<(), ApiError> {
    match body.keys().find(|name| !allowed.contains(&name.as_str())) {
        Some(name) => Err(ApiError::invalid(format!("{name}: there is no such field here"))),
        None => Ok(()),
    }
}
