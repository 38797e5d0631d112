//! The metrics of retention.

use chrono::{DateTime, Utc};
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use strum::{IntoStaticStr, VariantArray};

/// A kind of rows that are deleted for their age; the `kind` label.
#[derive(Clone, Copy, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Kind {
    Events,
    Webhooks,
    Unrouted,
    Calls,
    Interactions,
    Voicemails,
    Messages,
}

impl Kind {
    fn counter(self) -> Counter {
        let kind: &'static str = self.into();
        counter!("cti_retention_deleted_total", "kind" => kind)
    }

    fn backlog(self) -> Gauge {
        let kind: &'static str = self.into();
        gauge!("cti_retention_backlog_seconds", "kind" => kind)
    }

    /// Records how many rows were deleted.
    pub(super) fn deleted(self, rows: u64) {
        self.counter().increment(rows);
    }

    /// Records that rows from before an instant are deleted, and that the oldest of them is as old as this.
    pub(super) fn is_behind(self, before: DateTime<Utc>, oldest: DateTime<Utc>) {
        self.backlog().set((before - oldest).as_seconds_f64().max(0.0));
    }

    /// Records that nothing is left to delete.
    pub(super) fn is_done(self) {
        self.backlog().set(0.0);
    }
}

/// Records when a run deleted all that was too old.
pub(super) fn completed(now: DateTime<Utc>) {
    gauge!("cti_retention_last_run_timestamp_seconds").set((now - DateTime::UNIX_EPOCH).as_seconds_f64());
}

/// Registers the metrics, every series with 0.
pub(crate) fn register_metrics() {
    describe_counter!("cti_retention_deleted_total", "Rows that were deleted because of their age");
    describe_gauge!(
        "cti_retention_backlog_seconds",
        "How much older than allowed the oldest row is that is being deleted; 0 when none is left"
    );
    for kind in Kind::VARIANTS {
        kind.counter().absolute(0);
        kind.backlog().set(0.0);
    }
    describe_gauge!(
        "cti_retention_last_run_timestamp_seconds",
        "When everything that was too old was last deleted, in Unix time; 0 before the first time"
    );
    gauge!("cti_retention_last_run_timestamp_seconds").set(0.0);
}
