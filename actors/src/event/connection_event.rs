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
pub enum ConnectionEvent {
    /// The app was connected, or connected again.
    Connected,
    /// The tokens could not be refreshed; that can recover without help.
    Degraded,
    /// The tokens could be refreshed again.
    Recovered,
    /// The tokens are no longer valid; an administrator has to authorize the app again.
    Expired,
    /// The app was disconnected.
    Disconnected,
}

impl ConnectionEvent {
    /// Returns the error code of requests that need Dialpad from now on.
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Expired => Some("TOKENS_EXPIRED"),
            Self::Connected | Self::Degraded | Self::Recovered | Self::Disconnected => None,
        }
    }
}

impl From<ConnectionEvent> for EventType {
    fn from(change: ConnectionEvent) -> Self {
        match change {
            ConnectionEvent::Connected => Self::ConnectionConnected,
            ConnectionEvent::Degraded => Self::ConnectionDegraded,
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
    /// The error code of requests that need Dialpad from now on: `TOKENS_EXPIRED`, of `connection.expired`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<&'static str>,
}

/// Returns the event for a change of a connection.
#[must_use]
pub fn connection_event(
    app_id: AppId,
    change: ConnectionEvent,
    environment: &str,
    dialpad_org_id: Option<i64>,
    occurred_at: DateTime<Utc>,
) -> OutEvent {
    let body = ConnectionBody { environment: environment.to_owned(), dialpad_org_id, code: change.code() };
    OutEvent::new(app_id, change.into(), occurred_at, EventBody::Connection(body))
}
