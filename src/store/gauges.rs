//! The metrics of the database.

use std::collections::HashMap;

use metrics::{Gauge, Unit, describe_gauge, describe_histogram, gauge, histogram};
use strum::{IntoStaticStr, VariantArray};

use super::{Store, dialpad::figures::ConnectionStatus, journal::figures::FailedReason};
use crate::webhook::routing::UnroutedReason;

/// The state of a database connection; the `state` label.
#[derive(Clone, Copy, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
enum ConnectionState {
    Idle,
    Busy,
}

impl ConnectionState {
    fn gauge(self) -> Gauge {
        let state: &'static str = self.into();
        gauge!("cti_db_pool_connections", "state" => state)
    }
}

impl Store {
    /// Sets the gauges that are read from the database at each scrape. One that can't be read keeps its value.
    pub(crate) async fn update_gauges(&self) {
        let (idle, busy) = self.pool_connections();
        ConnectionState::Idle.gauge().set(to_f64(idle));
        ConnectionState::Busy.gauge().set(to_f64(busy));
        let now = self.now();
        if let Ok(pending) = self.journal().pending().await {
            let lag = pending.oldest.map_or(0.0, |oldest| (now - oldest).as_seconds_f64().max(0.0));
            gauge!("cti_journal_pending").set(to_f64(pending.count));
            gauge!("cti_journal_lag_seconds").set(lag);
        }
        if let Ok(counts) = self.journal().unprocessed().await {
            let counts: HashMap<(String, String), i64> =
                counts.into_iter().map(|it| ((it.status, it.reason), it.count)).collect();
            let of = |status: &str, reason: &'static str| {
                to_f64(counts.get(&(status.to_owned(), reason.to_owned())).copied().unwrap_or_default())
            };
            for reason in UnroutedReason::VARIANTS {
                unrouted(*reason).set(of("unrouted", reason.into()));
            }
            for reason in FailedReason::VARIANTS {
                failed(*reason).set(of("failed", reason.into()));
            }
        }
        if let Ok(connections) = self.connections().statuses().await {
            for status in ConnectionStatus::VARIANTS {
                let of_status = connections.iter().find(|it| it.status == *status);
                let left = of_status.and_then(|it| it.first_expiry).map(|at| (at - now).as_seconds_f64());
                status.count().set(of_status.map_or(0.0, |it| to_f64(it.count)));
                status.expiry().set(left.unwrap_or_default());
            }
        }
        gauge!("cti_sqlite_wal_bytes").set(self.shared.database.wal_bytes() as f64);
        if let Ok(owned) = self.leases().count().await {
            gauge!("cti_leases_owned").set(to_f64(owned));
        }
        if let Ok(pending) = self.gaps().pending().await {
            gauge!("cti_gaps_pending").set(to_f64(pending));
        }
    }
}

fn unrouted(reason: UnroutedReason) -> Gauge {
    let reason: &'static str = reason.into();
    gauge!("cti_journal_unrouted", "reason" => reason)
}

fn failed(reason: FailedReason) -> Gauge {
    let reason: &'static str = reason.into();
    gauge!("cti_journal_failed", "reason" => reason)
}

fn to_f64(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().unwrap_or(u32::MAX))
}

/// Registers the metrics, every series with 0.
pub(crate) fn register_metrics() {
    super::retention::metrics::register_metrics();
    describe_gauge!("cti_db_pool_connections", "Database connections");
    for state in ConnectionState::VARIANTS {
        state.gauge().set(0.0);
    }
    describe_gauge!("cti_journal_pending", "Webhooks that wait to be processed");
    gauge!("cti_journal_pending").set(0.0);
    describe_gauge!("cti_journal_lag_seconds", "Age of the oldest webhook that waits to be processed");
    gauge!("cti_journal_lag_seconds").set(0.0);
    describe_gauge!("cti_journal_unrouted", "Webhooks in the journal that wait for an app or for somebody");
    for reason in UnroutedReason::VARIANTS {
        unrouted(*reason).set(0.0);
    }
    describe_gauge!("cti_journal_failed", "Webhooks in the journal that could not be read or applied");
    for reason in FailedReason::VARIANTS {
        failed(*reason).set(0.0);
    }
    describe_gauge!("cti_connections", "Connections of apps to Dialpad");
    describe_gauge!(
        "cti_token_expiry_seconds",
        "Time until the first access token of such a connection ends; negative after its end"
    );
    for status in ConnectionStatus::VARIANTS {
        status.count().set(0.0);
        status.expiry().set(0.0);
    }
    describe_gauge!("cti_sqlite_wal_bytes", Unit::Bytes, "Size of SQLite's write-ahead log");
    gauge!("cti_sqlite_wal_bytes").set(0.0);
    describe_gauge!("cti_gaps_pending", "Gaps (periods with missed webhooks) that wait to be recovered");
    gauge!("cti_gaps_pending").set(0.0);
    describe_histogram!("cti_group_commit_batch_size", Unit::Count, "Webhooks that shared a transaction");
    let _ = histogram!("cti_group_commit_batch_size");
}
