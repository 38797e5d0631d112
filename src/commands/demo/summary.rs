//! The output of the demo besides the event lines: events as JSON, disconnections, the summary.

use anstyle::AnsiColor;
use chrono::{DateTime, SecondsFormat};

use super::reconcile::Summary;
use crate::commands::event::Arrival;
use crate::commands::output::ColorChoice;
use cti_simulator::Progress;

/// Formats one event as JSON: what is known about it around the message as received.
pub(super) fn json(arrival: &Arrival, latency: Option<i64>) -> String {
    let at = DateTime::from_timestamp_micros(arrival.at).expect("a clock reading is a valid time");
    let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let latency = match latency {
        #[expect(clippy::cast_precision_loss, reason = "a latency is far shorter than 2^53 µs")]
        Some(micros) => (micros as f64 / 1_000.0).to_string(),
        None => "null".to_owned(),
    };
    format!(r#"{{"received_at":"{at}","latency_ms":{latency},"event":{}}}"#, arrival.text)
}

/// Formats a latency.
pub(super) fn milliseconds(micros: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a latency is far shorter than 2^53 µs")]
    let millis = micros as f64 / 1_000.0;
    format!("{millis:.1} ms")
}

/// Formats a broken connection.
pub(super) fn disconnected(color: ColorChoice, reason: &str) -> String {
    color.dim(&format!("the WebSocket broke ({reason}); reconnecting after the last event"))
}

/// Formats the end of a server, and what it leaves to the others.
pub(super) fn killed(color: ColorChoice, server: &str, webhooks: u64, calls: u64) -> String {
    let done = format!(
        "{server}, which ran this app, was killed after {webhooks} webhooks, with {calls} calls under way"
    );
    color.apply(AnsiColor::Yellow.on_default().bold(), &done)
}

/// Formats the summary.
pub(super) fn text(color: ColorChoice, summary: &Summary, progress: &Progress) -> String {
    let Summary { webhooks, events_sent, received, lost, duplicated, updates, .. } = summary;
    let calls = progress.calls_finished;
    let verdict = format!("{lost} lost, {duplicated} duplicated");
    let colour = if lost + duplicated == 0 { AnsiColor::Green } else { AnsiColor::Red };
    let verdict = color.apply(colour.on_default().bold(), &verdict);
    let mut text = format!("\ncalls complete: {calls}, webhooks: {webhooks}, other updates: {updates}\n");
    text += &format!("{events_sent} events sent, {received} received, {verdict}");
    if let (Some(median), Some(max)) = (summary.median_latency_ms, summary.worst_latency_ms) {
        text += &format!("; webhook → socket: median {median:.1} ms, max {max:.1} ms");
    }
    for missing in &summary.missing {
        text += &format!("\n  lost: {missing}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_the_event_as_received() {
        let json_text = r#"{"type":"call.ring","seq":1,"new_field":[1]}"#;
        let event = serde_json::from_str(json_text).expect("an event");
        let arrival = Arrival { at: 1_704_110_403_512_000, text: json_text.to_owned(), event };
        assert_eq!(
            json(&arrival, Some(1_840)),
            r#"{"received_at":"2024-01-01T12:00:03.512000Z","latency_ms":1.84,"event":{"type":"call.ring","seq":1,"new_field":[1]}}"#
        );
    }
}
