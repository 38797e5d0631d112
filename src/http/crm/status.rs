//! An app's view of itself: whether it is connected to Dialpad, and how that stands.

use actix_web::{HttpRequest, Responder, web::Data};
use chrono::{DateTime, Utc};
use cti_actors::{event::schema::DialpadId, id::AppId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{
    admin::webhooks::{self, WebhookInShort},
    extract::{auth::Crm, lists, query::Query},
    state::AppState,
};
use crate::{
    dialpad::oauth::scopes,
    http::error::{ApiError, ErrorCode},
    store::dialpad::connections::Standing,
};

/// What an app sees of itself.
#[derive(Serialize, ToSchema)]
pub(crate) struct AppStatus {
    /// For people.
    message: &'static str,
    app_id: AppId,
    /// Whether requests that need Dialpad may succeed.
    connected: bool,
    /// `connected`, `degraded` (the tokens can't be renewed at the moment), `expired` or `disconnected`.
    status: &'static str,
    /// `TOKENS_EXPIRED`, when the status is `expired`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<&'static str>,
    /// The organization that the app is connected to.
    #[schema(value_type = Option<DialpadId>)]
    dialpad_org_id: Option<i64>,
    /// `sandbox` or `production`.
    environment: String,
    /// When somebody connected it.
    connected_at: Option<DateTime<Utc>>,
    /// When the present token ends; null for one that does not.
    token_expires_at: Option<DateTime<Utc>>,
    /// Since when the tokens can't be renewed.
    degraded_since: Option<DateTime<Utc>>,
    /// Why they can't.
    problem: Option<String>,
    /// Times whose calls were missed and could not be fetched afterwards.
    unrecovered_gaps: Vec<UnrecoveredGap>,
    /// What the connection was not asked for and the server needs.
    missing_scopes: Vec<&'static str>,
    webhook: WebhookInShort,
}

/// A time whose calls are not known.
#[derive(Serialize, ToSchema)]
pub(crate) struct UnrecoveredGap {
    /// When it began.
    since: DateTime<Utc>,
    /// When it ended.
    until: DateTime<Utc>,
    /// Why they could not be fetched, where it is not simply too long ago.
    reason: Option<String>,
}

pub(crate) async fn status(
    request: HttpRequest,
    crm: Crm,
    shared: Data<AppState>,
) -> Result<impl Responder, ApiError> {
    let query = Query::of(&request, &["ids"])?;
    let standing = shared.store.connections().state(crm.app_id).await?;
    let by_static_key = shared.store.routes().static_organization().filter(|_| standing.is_none());
    let ours = shared.config.environment.as_str();
    let (state, message) = match &standing {
        Some(standing) => state_of(standing, ours),
        None if by_static_key.is_some() => CONNECTED,
        None => ("disconnected", "App is not connected to Dialpad"),
    };
    let lost = shared.store.gaps().given_up(crm.app_id).await?;
    let lost = lost.into_iter().map(|gap| UnrecoveredGap {
        since: gap.since,
        until: gap.until,
        reason: gap.given_up,
    });
    let granted = shared.store.webhooks().granted_scopes(crm.app_id).await?;
    let missing = granted.iter().flat_map(|granted| scopes::missing(granted)).map(|(scope, _)| scope);
    let status = AppStatus {
        message,
        app_id: crm.app_id,
        connected: matches!(state, "connected" | "degraded"),
        status: state,
        code: (state == "expired").then_some(ErrorCode::TokensExpired.as_str()),
        dialpad_org_id: standing.as_ref().and_then(|standing| standing.dialpad_org_id).or(by_static_key),
        environment: standing.as_ref().map_or(ours, |standing| standing.environment.as_str()).to_owned(),
        connected_at: standing.as_ref().map(|standing| standing.connected_at),
        token_expires_at: standing.as_ref().and_then(|standing| standing.expires_at),
        degraded_since: standing.as_ref().and_then(|standing| standing.degraded_since),
        problem: standing.and_then(|standing| standing.refresh_problem),
        unrecovered_gaps: lost.collect(),
        missing_scopes: missing.collect(),
        webhook: webhooks::in_short(&shared, crm.app_id).await?,
    };
    lists::item(&query, &status)
}

/// A state, and a sentence for people.
pub(crate) type State = (&'static str, &'static str);

const CONNECTED: State = ("connected", "App is connected to Dialpad");

pub(crate) fn state_of(standing: &Standing, environment: &str) -> State {
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

/// The app that a request names beside its address, where it names one: that must exist.
pub(crate) async fn named(shared: &AppState, app_id: Option<&str>) -> Result<Option<AppId>, ApiError> {
    let Some(text) = app_id else { return Ok(None) };
    if text.parse::<AppId>().is_err() {
        return Err(ApiError::invalid("app_id: must be a UUID"));
    }
    existing(shared, text).await.map(Some)
}

/// The id of an app that exists.
pub(crate) async fn existing(shared: &AppState, app_id: &str) -> Result<AppId, ApiError> {
    let not_found = || ApiError::new(ErrorCode::AppNotFound, "There is no such app");
    let app_id: AppId = app_id.parse().map_err(|_| not_found())?;
    shared.store.apps().find(app_id).await?.map(|app| app.id()).ok_or_else(not_found)
}
