//! What is sent about apps, and what is returned.

use chrono::{DateTime, Utc};
use cti_actors::{event::schema::DialpadId, id::AppId, model::number::Region};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::{
    dialpad::oauth::scopes,
    http::{
        crm::status::describe_connection,
        extract::values::{Trimmed, not_null, parse_text},
    },
    store::{
        dialpad::connections::ConnectionState,
        tenants::apps::{App, AppCounts},
    },
};

/// The name of an app.
type AppName = Trimmed<255>;

/// A new app.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateAppRequest {
    /// The name of the app, for people.
    #[schema(value_type = String, min_length = 1, max_length = 255, pattern = r"\S")]
    pub(super) name: AppName,
}

/// The fields of an app that change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppChange {
    /// The name of the app, for people.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 255, pattern = r"\S")]
    pub(super) name: Option<AppName>,
    /// Whether the app may use the server.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pub(super) is_active: Option<bool>,
    /// How numbers are read that have no country code: the ISO 3166 code of a country, in capitals.
    #[serde(default, deserialize_with = "region")]
    #[schema(value_type = Option<String>, nullable = false, pattern = "^[A-Z]{2}$")]
    pub(super) region: Option<Region>,
}

fn region<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Region>, D::Error> {
    let expected = "the ISO 3166 code of a country, in capitals";
    parse_text(deserializer, expected, |text| text.parse().ok()).map(Some)
}

/// A created app.
#[derive(Serialize, ToSchema)]
#[schema(as = AppMade)]
pub(crate) struct CreatedApp<'a> {
    pub(super) app_id: AppId,
    /// `raw_` and 64 hexadecimal digits. Shown this once: only a hash is stored.
    pub(super) api_key: &'a str,
    /// A sentence for people.
    pub(super) message: &'static str,
    pub(super) name: &'a str,
    pub(super) created_at: DateTime<Utc>,
}

/// An app in a list.
#[derive(Serialize, ToSchema)]
#[schema(as = App)]
pub(crate) struct AppView {
    pub(super) app_id: AppId,
    pub(super) name: String,
    /// Whether the app may use the server.
    pub(super) is_active: bool,
    /// How numbers are read that have no country code: the ISO 3166 code of a country.
    #[schema(value_type = String)]
    pub(super) region: Region,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

/// An app with its connection and its counts.
#[derive(Serialize, ToSchema)]
#[schema(as = AppInFull)]
pub(crate) struct AppDetails {
    #[serde(flatten)]
    pub(super) app: AppView,
    pub(super) connection: Option<Connection>,
    pub(super) counts: Counts,
}

/// An app's connection to Dialpad.
#[derive(Serialize, ToSchema)]
pub(crate) struct Connection {
    /// `connected`, `degraded`, `expired` or `disconnected`.
    pub(super) status: &'static str,
    /// `sandbox` or `production`.
    pub(super) environment: String,
    /// The organization that the app is connected to.
    #[schema(value_type = Option<DialpadId>)]
    pub(super) dialpad_org_id: Option<i64>,
    pub(super) connected_at: DateTime<Utc>,
    /// When the current token expires; null for a token that does not expire.
    pub(super) token_expires_at: Option<DateTime<Utc>>,
    /// Since when the tokens can't be refreshed.
    pub(super) degraded_since: Option<DateTime<Utc>>,
    /// Why the tokens can't be refreshed.
    pub(super) problem: Option<String>,
    /// Scopes that the server needs and the connection does not have.
    pub(super) missing_scopes: Vec<&'static str>,
}

/// How much data an app has.
#[derive(Serialize, ToSchema)]
pub(crate) struct Counts {
    #[serde(flatten)]
    pub(super) stored: AppCounts,
    /// The open sessions at this process.
    pub(super) sessions: usize,
}

impl From<App> for AppView {
    fn from(app: App) -> Self {
        Self {
            app_id: app.id,
            name: app.name,
            is_active: app.is_active,
            region: app.region,
            created_at: app.created_at,
            updated_at: app.updated_at,
        }
    }
}

impl Connection {
    pub(super) fn new(connection: ConnectionState, environment: &str, granted: Option<&str>) -> Self {
        let (status, _) = describe_connection(&connection, environment);
        Self {
            status,
            environment: connection.environment,
            dialpad_org_id: connection.dialpad_org_id,
            connected_at: connection.connected_at,
            token_expires_at: connection.expires_at,
            degraded_since: connection.degraded_since,
            problem: connection.refresh_problem,
            missing_scopes: granted.into_iter().flat_map(scopes::missing).map(|(scope, _)| scope).collect(),
        }
    }
}
