//! The metrics of announcements.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Registers the metrics, every series with 0.
pub(crate) fn register_metrics() {
    describe_histogram!(
        "cti_announce_lag_seconds",
        Unit::Seconds,
        "Time from a change at another process to its announcement here"
    );
    let _ = histogram!("cti_announce_lag_seconds");
    describe_gauge!(
        "cti_listener_connected",
        "Whether this process hears the announcements of others: 1, or 0 while it polls"
    );
    gauge!("cti_listener_connected").set(0.0);
    describe_counter!("cti_notifications_total", "Announcements of processes to each other");
    for direction in ["sent", "received"] {
        counter!("cti_notifications_total", "direction" => direction).absolute(0);
    }
}

pub(super) fn count_sent(payloads: usize) {
    counter!("cti_notifications_total", "direction" => "sent").increment(payloads as u64);
}

pub(super) fn count_received() {
    counter!("cti_notifications_total", "direction" => "received").increment(1);
}

pub(super) fn set_connected(is_connected: bool) {
    gauge!("cti_listener_connected").set(f64::from(u8::from(is_connected)));
}

pub(super) fn record_lag(seconds: f64) {
    histogram!("cti_announce_lag_seconds").record(seconds);
}
