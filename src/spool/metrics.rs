//! The metrics of the spool.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

/// Sets what the spool has on disk.
pub(super) fn set_size(bytes: u64, webhooks: u64) {
    gauge!("cti_spool_bytes").set(bytes as f64);
    gauge!("cti_spool_webhooks").set(webhooks as f64);
}

/// Registers the metrics, every series with 0.
pub(crate) fn register_metrics() {
    describe_gauge!("cti_spool_bytes", Unit::Bytes, "Bytes of the spool on disk");
    describe_gauge!("cti_spool_webhooks", "Webhooks in the spool");
    set_size(0, 0);
    describe_counter!(
        "cti_spool_damaged_total",
        "Records of the spool that could not be processed and were set aside"
    );
    counter!("cti_spool_damaged_total").absolute(0);
}
