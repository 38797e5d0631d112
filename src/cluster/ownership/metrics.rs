//! The metrics of leases.

use cti_actors::model::lease::TakeoverReason;
use metrics::{Counter, counter, describe_counter, describe_gauge, gauge};
use strum::VariantArray;

/// Returns what counts the leases that were taken for this reason.
pub(super) fn takeovers(reason: TakeoverReason) -> Counter {
    counter!("cti_lease_takeovers_total", "reason" => reason.as_str())
}

/// Registers the metrics, every series with 0.
pub(crate) fn register_metrics() {
    describe_gauge!("cti_leases_owned", "Apps that this process works on");
    gauge!("cti_leases_owned").set(0.0);
    describe_counter!("cti_lease_takeovers_total", "Apps that this process has taken");
    for reason in TakeoverReason::VARIANTS {
        takeovers(*reason).absolute(0);
    }
    describe_counter!(
        "cti_fence_refusals_total",
        "Times that the database refused the work on an app because another process owned it by then"
    );
    counter!("cti_fence_refusals_total").absolute(0);
}
