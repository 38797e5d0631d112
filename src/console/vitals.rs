//! The metrics that matter, with the range that is normal.

use maud::{Markup, html};

use super::{
    parts::{badge, table},
    samples::Sample,
};

/// A metric and what is normal.
struct Vital {
    metric: &'static str,
    /// Only series whose labels contain this.
    label: &'static str,
    meaning: &'static str,
    normal: Normal,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Normal {
    AtMost(f64),
    AtLeast(f64),
}

const fn none(metric: &'static str, label: &'static str, meaning: &'static str) -> Vital {
    Vital { metric, label, meaning, normal: Normal::AtMost(0.0) }
}

/// Counters are those since the start of the process.
const VITALS: [Vital; 15] = [
    none("cti_webhooks_given_up_total", "", "acknowledged webhooks that could not be applied"),
    none("cti_spool_webhooks", "", "webhooks that wait on the local disk"),
    none("cti_spool_damaged_total", "", "damaged records of the spool"),
    none("cti_gaps_given_up_total", "", "periods whose missed calls could not be fetched"),
    none("cti_token_refreshes_total", "outcome=\"failed\"", "renewals of tokens that failed"),
    none("cti_token_refreshes_total", "outcome=\"expired\"", "connections that Dialpad has ended"),
    none("cti_call_actor_crashes_total", "", "call actors that panicked"),
    none("cti_background_panics_total", "", "background tasks that panicked"),
    none("cti_feed_resets_total", "", "feeds that have gone back in the database"),
    none("cti_connections_refused_total", "", "connections closed because their address has too many"),
    none("cti_rate_limited_total", "", "requests refused after too many wrong credentials"),
    none("cti_log_lines_dropped_total", "", "lines of the log that were lost"),
    none("cti_clock_steps_total", "", "times that the wall clock was set"),
    Vital {
        metric: "cti_call_actors",
        label: "",
        meaning: "calls in memory",
        normal: Normal::AtMost(10_000.0),
    },
    Vital {
        metric: "cti_db_pool_connections",
        label: "state=\"idle\"",
        meaning: "connections to the database that are free",
        normal: Normal::AtLeast(1.0),
    },
];
/// Dialpad waits 5 s; a healthy database answers within this time, in milliseconds.
const MAX_ACK: f64 = 250.0;

impl Normal {
    fn includes(self, value: f64) -> bool {
        match self {
            Self::AtMost(max) => value <= max,
            Self::AtLeast(min) => value >= min,
        }
    }

    fn shown(self) -> String {
        match self {
            Self::AtMost(0.0) => "0".to_owned(),
            Self::AtMost(max) => format!("at most {max}"),
            Self::AtLeast(min) => format!("at least {min}"),
        }
    }
}

/// Shows them by the metrics in the text format of Prometheus, and what was sampled lately.
pub(super) fn vitals(metrics: &str, samples: &[Sample]) -> Markup {
    let mut rows: Vec<Markup> = Vec::with_capacity(VITALS.len() + 1);
    rows.extend(slowest(samples).map(|ack| {
        row(
            "cti_webhook_ack_seconds",
            "99 of 100 webhooks acknowledged within, in the worst 2 s of 5 minutes",
            &format!("{ack:.0} ms"),
            Normal::AtMost(MAX_ACK),
            ack,
        )
    }));
    rows.extend(VITALS.iter().map(|vital| {
        let value = sum(metrics, vital.metric, vital.label);
        row(vital.metric, vital.meaning, &value.to_string(), vital.normal, value)
    }));
    html! {
        section {
            h2 { "What matters" }
            p { "Of this process, since its start. All metrics are at " code { "/metrics" } "." }
            (table("Metrics with their normal range", &["Meaning", "Now", "Normal", "", "Metric"], &rows))
        }
    }
}

fn row(metric: &str, meaning: &str, shown: &str, normal: Normal, value: f64) -> Markup {
    html! {
        th scope="row" { (meaning) }
        td.number { (shown) }
        td { (normal.shown()) }
        td { (badge(if normal.includes(value) { "ok" } else { "unusual" })) }
        td { code { (metric) } }
    }
}

fn slowest(samples: &[Sample]) -> Option<f64> {
    samples.iter().filter_map(|sample| sample.ack.map(|ack| ack.p99)).reduce(f64::max)
}

/// Adds up the series of a metric whose labels contain a text.
fn sum(metrics: &str, metric: &str, label: &str) -> f64 {
    let values = metrics.lines().filter_map(|line| {
        let labels = line.strip_prefix(metric)?;
        let (labels, value) = labels.rsplit_once(' ')?;
        let is_this = labels.is_empty() || labels.starts_with('{');
        (is_this && labels.contains(label)).then(|| value.parse::<f64>().ok())?
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATIONS: &str = include_str!("../../docs/operations.md");

    #[test]
    fn every_metric_is_one_of_the_server() {
        for vital in &VITALS {
            assert!(OPERATIONS.contains(&format!("| `{}` |", vital.metric)), "{}", vital.metric);
        }
    }

    #[test]
    fn the_series_of_a_metric_are_added_up_by_their_labels() {
        let metrics = "# TYPE a counter\na{b=\"1\"} 2\na{b=\"2\"} 3\na_total 9\nc 4\n";
        assert_eq!(sum(metrics, "a", ""), 5.0);
        assert_eq!(sum(metrics, "a", "b=\"2\""), 3.0);
        assert_eq!(sum(metrics, "c", ""), 4.0);
    }

    #[test]
    fn what_is_outside_its_range_is_unusual() {
        assert!(Normal::AtMost(0.0).includes(0.0) && !Normal::AtMost(0.0).includes(1.0));
        assert!(!Normal::AtLeast(1.0).includes(0.0));
        let page = vitals("cti_clock_steps_total 2\n", &[]).into_string();
        assert!(page.contains(">unusual<"), "{page}");
    }
}
