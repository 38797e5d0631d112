//! An app's view of itself: whether it is connected to Dialpad, and how that stands.

use actix_web::{HttpRequest, HttpResponse, Responder, web::Data};
use cti_actors::id::AppId;
use serde_json::json;

use super::{
    Shared,
    auth::Crm,
    internal_webhooks,
    query::{Query, write_ids_as_text},
};
use crate::{
    dialpad::scopes,
    error::{ApiError, ErrorCode},
    store::connections::Standing,
};

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
    let granted = shared.store.granted_scopes(crm.app_id).await?;
    status["missing_scopes"] =
        granted.iter().flat_map(|granted| scopes::missing(granted)).map(|(scope, _)| scope).collect();
    status["webhook"] = internal_webhooks::in_short(&shared, crm.app_id).await?;
    if query.ids_as_text()? {
        write_ids_as_text(&mut status);
    }
    Ok(HttpResponse::Ok().json(status))
}

/// A state, and a sentence for people.
pub(super) type State = (&'static str, &'static str);

const CONNECTED: State = ("connected", "App is connected to Dialpad");

pub(super) fn state_of(standing: &Standing, environment: &str) -> State {
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
