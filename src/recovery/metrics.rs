//! The metrics of the recovery.

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// Registers the metrics, every series with 0.
pub(crate) fn register_metrics() {
    describe_counter!(
        "cti_calls_repaired_total",
        "Calls whose end was missed and then found by asking Dialpad"
    );
    counter!("cti_calls_repaired_total").absolute(0);
    describe_counter!(
        "cti_calls_inferred_total",
        "Calls that were presumed ended because there was no news of them"
    );
    counter!("cti_calls_inferred_total").absolute(0);
    describe_counter!(
        "cti_gaps_given_up_total",
        "Gaps (periods with missed webhooks) that could not be recovered"
    );
    counter!("cti_gaps_given_up_total").absolute(0);
    describe_gauge!(
        "cti_apps_silent",
        "Apps that receive no webhooks, although they usually do at this hour of the week"
    );
    gauge!("cti_apps_silent").set(0.0);
}
