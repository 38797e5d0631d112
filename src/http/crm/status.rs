//! An app's view of its connection to Dialpad.

use actix_web::web::Data;
use chrono::{DateTime, Utc};
use cti_actors::{event::schema::DialpadId, id::AppId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    dialpad::oauth::scopes,
    http::{
        error::{ApiError, ErrorCode},
        extract::{
            auth::Crm,
            ids::{Ids, Reply},
        },
        openapi::{
            errors::{CRM, Errors},
            examples, tags,
        },
        state::AppState,
    },
    store::dialpad::connections::ConnectionState,
};

/// The connection of an app to Dialpad.
#[derive(Serialize, ToSchema)]
pub(crate) struct AppStatus {
    /// A sentence for people.
    pub(crate) message: &'static str,
    pub(crate) app_id: AppId,
    /// Whether requests that need Dialpad may succeed.
    pub(crate) connected: bool,
    /// `connected`, `degraded` (the tokens can't be refreshed at the moment), `expired` or `disconnected`.
    pub(crate) status: &'static str,
    /// `TOKENS_EXPIRED` if the status is `expired`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) code: Option<&'static str>,
    /// The organization that the app is connected to.
    #[schema(value_type = Option<DialpadId>)]
    pub(crate) dialpad_org_id: Option<i64>,
    /// `sandbox` or `production`.
    pub(crate) environment: String,
    /// When the app was connected.
    pub(crate) connected_at: Option<DateTime<Utc>>,
    /// When the current token expires; null for a token that does not expire.
    pub(crate) token_expires_at: Option<DateTime<Utc>>,
    /// Since when the tokens can't be refreshed.
    pub(crate) degraded_since: Option<DateTime<Utc>>,
    /// Why the tokens can't be refreshed.
    pub(crate) problem: Option<String>,
    /// Periods in which calls were missed and could not be fetched later.
    pub(crate) unrecovered_gaps: Vec<UnrecoveredGap>,
    /// Scopes that the server needs and the connection does not have.
    pub(crate) missing_scopes: Vec<&'static str>,
    pub(crate) webhook: WebhookSummary,
}

/// A period whose calls are unknown.
#[derive(Serialize, ToSchema)]
pub(crate) struct UnrecoveredGap {
    /// When it began.
    pub(crate) since: DateTime<Utc>,
    /// When it ended.
    pub(crate) until: DateTime<Utc>,
    /// Why the calls could not be fetched; null if it was too long ago.
    pub(crate) reason: Option<String>,
}

/// The webhook at Dialpad that delivers an app's calls.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookInShort)]
pub(crate) struct WebhookSummary {
    /// `none`, `pending` (not checked yet), `active` or `degraded`.
    state: &'static str,
    webhook_id: Option<Uuid>,
    /// When the delivery of calls was last confirmed.
    verified_at: Option<DateTime<Utc>>,
    /// The problems that the last check found, a sentence each.
    problems: Vec<String>,
    /// `silent`: none have come for so long that, at this hour of the week, at least 20 are missing. `normal` otherwise;
    /// `unknown` while less than three weeks are known.
    traffic: &'static str,
}

/// Returns the status of the app's connection.
#[utoipa::path(
    get, path = "/status", operation_id = "app_status", tag = tags::CONNECTION, params(Ids),
    responses(
        (status = 200, description = "The status of the connection.", body = AppStatus,
         example = json!(examples::app_status())),
        Errors<{ CRM }>,
    ),
)]
pub(crate) async fn status(crm: Crm<Ids>, state: Data<AppState>) -> Result<Reply<AppStatus>, ApiError> {
    Ok(Reply(status_of(&state, crm.app_id).await?, crm.query))
}

/// Reads the status of an app's connection.
///
/// # Errors
/// The database is unavailable.
pub(crate) async fn status_of(state: &AppState, app: AppId) -> Result<AppStatus, ApiError> {
    let connection = state.store.connections().state(app).await?;
    let gaps = state.store.gaps().given_up(app).await?.into_iter();
    let granted = state.store.webhooks().granted_scopes(app).await?;
    let missing = granted.iter().flat_map(|granted| scopes::missing(granted)).map(|(scope, _)| scope);
    Ok(AppStatus {
        unrecovered_gaps: gaps
            .map(|gap| UnrecoveredGap { since: gap.since, until: gap.until, reason: gap.given_up })
            .collect(),
        missing_scopes: missing.collect(),
        webhook: webhook_summary(state, app).await?,
        ..connection_status(state, app, connection)
    })
}

/// Returns the part of the status that the connection decides.
fn connection_status(state: &AppState, app: AppId, connection: Option<ConnectionState>) -> AppStatus {
    let environment = state.config.environment.as_str();
    let static_organization = state.store.routes().static_organization().filter(|_| connection.is_none());
    let (status, message) = match &connection {
        Some(connection) => describe_connection(connection, environment),
        None if static_organization.is_some() => CONNECTED,
        None => ("disconnected", "App is not connected to Dialpad"),
    };
    let connection = connection.as_ref();
    let organization = connection.and_then(|connection| connection.dialpad_org_id);
    AppStatus {
        message,
        app_id: app,
        connected: matches!(status, "connected" | "degraded"),
        status,
        code: (status == "expired").then_some(ErrorCode::TokensExpired.as_str()),
        dialpad_org_id: organization.or(static_organization),
        environment: connection.map_or(environment, |connection| &connection.environment).to_owned(),
        connected_at: connection.map(|connection| connection.connected_at),
        token_expires_at: connection.and_then(|connection| connection.expires_at),
        degraded_since: connection.and_then(|connection| connection.degraded_since),
        problem: connection.and_then(|connection| connection.refresh_problem.clone()),
        unrecovered_gaps: Vec::new(),
        missing_scopes: Vec::new(),
        webhook: WebhookSummary::default(),
    }
}

async fn webhook_summary(state: &AppState, app: AppId) -> Result<WebhookSummary, ApiError> {
    let traffic = state.silence.verdict(app).as_str();
    let Some(webhook) = state.store.webhooks().of_app(app).await? else {
        return Ok(WebhookSummary { traffic, ..WebhookSummary::default() });
    };
    Ok(WebhookSummary {
        state: webhook.state().as_str(),
        webhook_id: Some(webhook.id),
        verified_at: webhook.verified_at,
        problems: webhook.problems,
        traffic,
    })
}

/// The summary of an app without a webhook.
impl Default for WebhookSummary {
    fn default() -> Self {
        Self { state: "none", webhook_id: None, verified_at: None, problems: Vec::new(), traffic: "unknown" }
    }
}

const CONNECTED: (&str, &str) = ("connected", "App is connected to Dialpad");

/// Returns the status of a connection, and a sentence for people.
pub(crate) fn describe_connection(
    connection: &ConnectionState,
    environment: &str,
) -> (&'static str, &'static str) {
    match connection {
        ConnectionState { status, .. } if status == "expired" => {
            ("expired", "OAuth tokens expired and refresh failed; the app must be authorized again")
        }
        ConnectionState { environment: connected_in, .. } if connected_in != environment => {
            ("disconnected", "App is connected to the Dialpad of another environment")
        }
        ConnectionState { degraded_since: Some(_), .. } => {
            ("degraded", "App is connected to Dialpad, but its tokens can't be refreshed at the moment")
        }
        ConnectionState { .. } => CONNECTED,
    }
}
