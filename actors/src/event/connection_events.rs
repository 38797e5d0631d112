//! How change of an app's connection is put into words. Pure.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    event::{OutEvent, schema::DialpadId},
    id::{AppId, EventId},
};

/// What to tell of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// Somebody has connected the app, or has connected it anew.
    Connected,
    /// Its tokens could not be renewed; that may heal by itself.
    Degraded,
    /// They could again.
    Recovered,
    /// They are dead; somebody has to authorise again.
    Expired,
    /// Somebody has disconnected the app.
    Disconnected,
}

impl ConnectionEvent {
    fn kind(self) -> &'static str {
        match self {
            Self::Connected => "connection.connected",
            Self::Degraded => "connection.degraded",
            Self::Recovered => "connection.recovered",
            Self::Expired => "connection.expired",
            Self::Disconnected => "connection.disconnected",
        }
    }

    /// The code of the error that whoever needs Dialpad is answered with from now on.
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Expired => Some("TOKENS_EXPIRED"),
            Self::Connected | Self::Degraded | Self::Recovered | Self::Disconnected => None,
        }
    }
}

/// What every event of a connection has.
#[derive(Serialize, ToSchema)]
pub(crate) struct Body<'a> {
    event_id: EventId,
    app_id: AppId,
    /// Which Dialpad: `sandbox` or `production`.
    environment: &'a str,
    /// The organization that the app is connected to.
    #[schema(value_type = Option<DialpadId>)]
    dialpad_org_id: Option<i64>,
    /// What requests that need Dialpad are answered with from now on: `TOKENS_EXPIRED`, of `connection.expired`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<&'static str>,
    /// When it happened, in unix seconds.
    timestamp: i64,
}

/// Puts change of a connection into words.
#[must_use]
pub fn tell(
    app_id: AppId,
    change: ConnectionEvent,
    environment: &str,
    dialpad_org_id: Option<i64>,
    occurred_at: DateTime<Utc>,
) -> OutEvent {
    let event_id = EventId::generate();
    let timestamp = occurred_at.timestamp();
    let body = Body { event_id, app_id, environment, dialpad_org_id, code: change.code(), timestamp };
    OutEvent {
        id: event_id,
        kind: Cow::Borrowed(change.kind()),
        dialpad_call_id: None,
        dialpad_user_id: None,
        occurred_at,
        body: serde_json::to_string(&body).expect("an event has only string keys"),
    }
}
