//! What this process has done in the last minutes, for the plots of the live page: read from its metrics every two seconds.

use std::{collections::VecDeque, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::telemetry::metrics::Metrics;

const SAMPLE_INTERVAL: Duration = Duration::from_secs(2);
/// Five minutes.
pub(super) const MAX_SAMPLES: usize = 150;

/// The newest samples.
#[derive(Default)]
pub(super) struct Samples(Mutex<VecDeque<Sample>>);

/// What happened between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) webhooks_per_second: f64,
    pub(super) events_per_second: f64,
    /// The time until a webhook was acknowledged, in milliseconds: of half of them at most, and of 99 in 100. `None` if
    /// there was no webhook.
    pub(super) ack: Option<Quantiles>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantiles {
    pub(super) median: f64,
    pub(super) p99: f64,
}

/// The counters at one time.
#[derive(Clone, Debug, Default, PartialEq)]
struct Reading {
    webhooks: f64,
    events: f64,
    /// The upper bounds of the buckets in seconds, and how many acknowledgements took no longer.
    ack: Vec<(f64, f64)>,
}

impl Samples {
    /// Reads the metrics until it is dropped.
    pub(super) async fn collect(&self, metrics: &Metrics) {
        let mut ticks = interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<(Reading, Instant)> = None;
        loop {
            let now = ticks.tick().await;
            let reading = Reading::of(&metrics.render_counted());
            if let Some((last, at)) = &last {
                self.add(reading.since(last, now.duration_since(*at)));
            }
            last = Some((reading, now));
        }
    }

    fn add(&self, sample: Sample) {
        let mut samples = self.0.lock();
        if samples.len() >= MAX_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Returns the samples, the oldest first.
    pub(super) fn all(&self) -> Vec<Sample> {
        self.0.lock().iter().copied().collect()
    }
}

impl Reading {
    /// Reads the text format of Prometheus.
    fn of(text: &str) -> Self {
        let mut reading = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            if name.starts_with("cti_webhooks_total") {
                reading.webhooks += value;
            } else if name.starts_with("cti_events_emitted_total") {
                reading.events += value;
            } else if name.starts_with("cti_webhook_ack_seconds_bucket")
                && let Some((_, bound)) = name.split_once("le=\"")
            {
                let bound = bound.split('"').next().unwrap_or_default();
                let bound = if bound == "+Inf" { Ok(f64::INFINITY) } else { bound.parse() };
                reading.ack.extend(bound.ok().map(|bound| (bound, value)));
            }
        }
        reading
    }

    fn since(&self, last: &Self, passed: Duration) -> Sample {
        let seconds = passed.as_secs_f64().max(0.001);
        let new: Vec<(f64, f64)> = self
            .ack
            .iter()
            .enumerate()
            .map(|(index, (bound, count))| {
                let before = last.ack.get(index).map_or(0.0, |(_, before)| *before);
                (*bound, (count - before).max(0.0))
            })
            .collect();
        let ack = quantile(&new, 0.5).zip(quantile(&new, 0.99));
        Sample {
            webhooks_per_second: (self.webhooks - last.webhooks).max(0.0) / seconds,
            events_per_second: (self.events - last.events).max(0.0) / seconds,
            ack: ack.map(|(median, p99)| Quantiles { median: 1000.0 * median, p99: 1000.0 * p99 }),
        }
    }
}

/// Returns the value that so great a part of all does not exceed, by cumulative buckets. Within a bucket, all values are as
/// likely.
fn quantile(buckets: &[(f64, f64)], part: f64) -> Option<f64> {
    let total = buckets.last().map(|(_, count)| *count).filter(|total| *total > 0.0)?;
    let wanted = part * total;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= wanted {
            let is_open = bound.is_infinite() || *count <= below;
            return Some(if is_open {
                lower
            } else {
                lower + (bound - lower) * (wanted - below) / (count - below)
            });
        }
        (lower, below) = (*bound, *count);
    }
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "\
# HELP cti_webhooks_total Webhooks
cti_webhooks_total{family=\"call\",outcome=\"accepted\"} 10
cti_events_emitted_total{type=\"call.ring\"} 7
cti_webhook_ack_seconds_bucket{le=\"0.001\"} 4
cti_webhook_ack_seconds_bucket{le=\"0.005\"} 10
cti_webhook_ack_seconds_bucket{le=\"+Inf\"} 10
";
    const AFTER: &str = "\
cti_webhooks_total{family=\"call\",outcome=\"accepted\"} 20
cti_webhooks_total{family=\"sms\",outcome=\"accepted\"} 10
cti_events_emitted_total{type=\"call.ring\"} 17
cti_webhook_ack_seconds_bucket{le=\"0.001\"} 14
cti_webhook_ack_seconds_bucket{le=\"0.005\"} 30
cti_webhook_ack_seconds_bucket{le=\"+Inf\"} 30
";

    #[test]
    fn a_sample_is_what_happened_between_two_readings() {
        let sample = Reading::of(AFTER).since(&Reading::of(BEFORE), Duration::from_secs(2));
        assert_eq!((sample.webhooks_per_second, sample.events_per_second), (10.0, 5.0));
        let ack = sample.ack.expect("there were webhooks");
        assert!((ack.median - 1.0).abs() < 0.001, "half took 1 ms or less: {ack:?}");
        assert!((ack.p99 - 4.92).abs() < 0.001, "{ack:?}");
        let idle = Reading::of(AFTER).since(&Reading::of(AFTER), Duration::from_secs(2));
        assert_eq!(idle, Sample::default());
    }

    #[test]
    fn only_the_newest_samples_are_kept() {
        let samples = Samples::default();
        for count in 0..=MAX_SAMPLES {
            samples.add(Sample { webhooks_per_second: count as f64, ..Sample::default() });
        }
        let all = samples.all();
        assert_eq!((all.len(), all[0].webhooks_per_second), (MAX_SAMPLES, 1.0));
    }
}
