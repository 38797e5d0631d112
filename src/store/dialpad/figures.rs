//! What the metrics show of the connections.

use chrono::{DateTime, Utc};
use cti_actors::error::StoreError;
use metrics::{Gauge, gauge};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::store::{ConnectionStore, on_db};

const STATUSES: &str = "SELECT CASE WHEN status <> 'connected' THEN 'expired'
    WHEN degraded_since IS NOT NULL THEN 'degraded' ELSE 'connected' END AS state,
    COUNT(*) AS count, MIN(expires_at) AS first_expiry FROM dialpad_connections GROUP BY state";

/// The state of a connection; the `state` label.
#[derive(Clone, Copy, EnumString, IntoStaticStr, PartialEq, Eq, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(in crate::store) enum ConnectionStatus {
    /// Its tokens are valid and can be renewed.
    Connected,
    /// Its tokens could not be renewed; the old ones stay in use.
    Degraded,
    /// Somebody has to authorize the app again.
    Expired,
}

impl ConnectionStatus {
    /// Returns the gauge of how many connections have it.
    pub(in crate::store) fn count(self) -> Gauge {
        gauge!("cti_connections", "state" => <&'static str>::from(self))
    }

    /// Returns the gauge of the time until the first access token of them ends.
    pub(in crate::store) fn expiry(self) -> Gauge {
        gauge!("cti_token_expiry_seconds", "state" => <&'static str>::from(self))
    }
}

/// The connections of one state.
pub(in crate::store) struct ConnectionFigures {
    pub(in crate::store) status: ConnectionStatus,
    pub(in crate::store) count: i64,
    /// When the first access token of them ends; `None` where none does.
    pub(in crate::store) first_expiry: Option<DateTime<Utc>>,
}

impl ConnectionStore<'_> {
    /// Counts the connections of each state that there are any of.
    pub(in crate::store) async fn statuses(self) -> Result<Vec<ConnectionFigures>, StoreError> {
        let rows: Vec<(String, i64, Option<DateTime<Utc>>)> =
            on_db!(self.store, read db => sqlx::query_as(STATUSES).fetch_all(db).await)?;
        let figures = rows.into_iter().filter_map(|(state, count, first_expiry)| {
            Some(ConnectionFigures { status: state.parse().ok()?, count, first_expiry })
        });
        Ok(figures.collect())
    }
}
