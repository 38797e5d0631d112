//! The metrics of the database.

use metrics::{Gauge, Unit, describe_gauge, describe_histogram, gauge, histogram};
use strum::{IntoStaticStr, VariantArray};

use super::Store;

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
        if let Ok(pending) = self.journal().pending_count().await {
            gauge!("cti_journal_pending").set(to_f64(pending));
        }
        if let Ok(owned) = self.leases().count().await {
            gauge!("cti_leases_owned").set(to_f64(owned));
        }
        if let Ok(pending) = self.gaps().pending().await {
            gauge!("cti_gaps_pending").set(to_f64(pending));
        }
    }
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
    describe_gauge!("cti_gaps_pending", "Gaps (periods with missed webhooks) that wait to be recovered");
    gauge!("cti_gaps_pending").set(0.0);
    describe_histogram!("cti_group_commit_batch_size", Unit::Count, "Webhooks that shared a transaction");
    let _ = histogram!("cti_group_commit_batch_size");
}
