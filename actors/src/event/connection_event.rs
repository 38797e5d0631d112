//! The events of an app's connection to Dialpad.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    EventType,
    out_event::{EventBody, OutEvent},
    schema::DialpadId,
};
use crate::id::AppId;

/// A change of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEvent<'r> {
    /// The app was connected, or connected again.
    Connected,
    /// The tokens could not be refreshed; that can recover without help.
    Degraded {
        /// Why, in a short sentence without secrets.
        reason: &'r str,
    },
    /// The tokens could be refreshed again.
    Recovered,
    /// The tokens are no longer valid; an administrator has to authorize the app again.
    Expired,
    /// The app was disconnected.
    Disconnected,
}

impl ConnectionEvent<'_> {
    /// Returns the stable name of what is wrong.
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Degraded { .. } => Some("TOKEN_REFRESH_FAILED"),
            Self::Expired => Some("TOKENS_EXPIRED"),
            Self::Connected | Self::Recovered | Self::Disconnected => None,
        }
    }

    fn reason(self) -> Option<String> {
        match self {
            Self::Degraded { reason } => Some(reason.to_owned()),
            Self::Connected | Self::Recovered | Self::Expired | Self::Disconnected => None,
        }
    }
}

impl From<ConnectionEvent<'_>> for EventType {
    fn from(change: ConnectionEvent<'_>) -> Self {
        match change {
            ConnectionEvent::Connected => Self::ConnectionConnected,
            ConnectionEvent::Degraded { .. } => Self::ConnectionDegraded,
            ConnectionEvent::Recovered => Self::ConnectionRecovered,
            ConnectionEvent::Expired => Self::ConnectionExpired,
            ConnectionEvent::Disconnected => Self::ConnectionDisconnected,
        }
    }
}

/// The fields of every event of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConnectionBody {
    /// The Dialpad environment: `sandbox` or `production`.
    environment: String,
    /// The Dialpad organization that the app is connected to.
    #[schema(value_type = Option<DialpadId>)]
    dialpad_org_id: Option<i64>,
    /// What is wrong: `TOKEN_REFRESH_FAILED` of `connection.degraded`; `TOKENS_EXPIRED` of `connection.expired`, which is
    /// also the error code of requests that need Dialpad from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<&'static str>,
    /// Why the tokens could not be refreshed, for people. Only of `connection.degraded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// Returns the event for a change of a connection.
#[must_use]
pub fn connection_event(
    app_id: AppId,
    change: ConnectionEvent<'_>,
    environment: &str,
    dialpad_org_id: Option<i64>,
    occurred_at: DateTime<Utc>,
) -> OutEvent {
    let body = ConnectionBody {
        environment: environment.to_owned(),
        dialpad_org_id,
        code: change.code(),
        reason: change.reason(),
    };
    OutEvent::new(app_id, change.into(), occurred_at, EventBody::Connection(body))
}
