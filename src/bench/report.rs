//! All figures of one run: for machines as JSON, for people as a table.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::fanout::{self, Fanout};
use super::ingest::{self, Ingest};
use super::latency::{self, Latency};
use super::marks::Audit;
use super::memory::{self, Memory};
use super::reference::Reference;
use super::server::Bed;
use super::sustained::{self, Sustained};
use super::{Failure, Measure, Plan};

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The kind of database, without credentials.
    pub database: String,
    /// Posting connections, and writers of the reference.
    pub connections: u32,
    /// How long each load lasted.
    pub seconds: f64,
    /// Acknowledged webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingest: Option<Ingest>,
    /// Webhook to socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// The whole way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sustained: Option<Sustained>,
    /// One event to many sockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fanout: Option<Fanout>,
    /// Bytes per session and call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

impl Report {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            database: plan.database.to_string(),
            connections: plan.connections,
            seconds: plan.time.as_secs_f64(),
            ingest: None,
            latency: None,
            sustained: None,
            fanout: None,
            memory: None,
        }
    }

    /// Makes one measure on the server and keeps its figures.
    pub(super) async fn add(&mut self, measure: Measure, plan: &Plan, bed: &Bed) -> Result<(), Failure> {
        match measure {
            Measure::Ingest => self.ingest = Some(ingest::measure(plan, bed).await?),
            Measure::Latency => self.latency = Some(latency::measure(plan, bed).await?),
            Measure::Sustained => self.sustained = Some(sustained::measure(plan, bed).await?),
            Measure::Fanout => self.fanout = Some(fanout::measure(plan, bed).await?),
            Measure::Memory => self.memory = Some(memory::measure(plan, bed).await?),
        }
        Ok(())
    }

    /// How often the server broke its promise: events lost, duplicated, out of sequence, or not acknowledged.
    pub fn faults(&self) -> u64 {
        let answers = |refused: &BTreeMap<String, u64>| refused.values().sum::<u64>();
        let faults = [
            self.ingest.as_ref().map(|it| answers(&it.refused)),
            self.latency.as_ref().map(|it| it.audit.faults() + answers(&it.refused)),
            self.sustained.as_ref().map(|it| it.audit.faults() + answers(&it.refused)),
            self.fanout.as_ref().map(|it| it.lost + it.duplicated + u64::from(it.closed) + it.refused),
            self.memory.as_ref().map(|it| it.audit.faults() + it.refused),
        ];
        faults.into_iter().flatten().sum()
    }
}

/// The table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {} connections, {} s per load", self.database, self.connections, self.seconds)?;
        if let Some(it) = &self.ingest {
            row(f, "ingest", &rate(it.per_s, "acknowledged/s", it.ratio))?;
            reference(f, &it.reference)?;
            refusals(f, &it.refused)?;
        }
        if let Some(it) = &self.latency {
            let figures = it.spread.map_or_else(
                || "no event arrived".to_owned(),
                |s| format!("p50 {} · p90 {} · p99 {} · max {} ms", s.p50_ms, s.p90_ms, s.p99_ms, s.max_ms),
            );
            row(f, "latency", &format!("{figures} at {}/s", it.rate))?;
            audit(f, it.events, &it.audit, it.reconnects)?;
            refusals(f, &it.refused)?;
        }
        if let Some(it) = &self.sustained {
            row(f, "sustained", &rate(it.per_s, "told/s", it.ratio))?;
            row(f, "", &format!("backlog {} ms after the last answer", it.backlog_ms))?;
            reference(f, &it.reference)?;
            audit(f, it.told, &it.audit, it.reconnects)?;
            refusals(f, &it.refused)?;
        }
        if let Some(it) = &self.fanout {
            fan_out(f, it)?;
        }
        if let Some(it) = &self.memory {
            row(f, "memory", &format!("{} per idle session ({})", bytes(it.bytes_per_session), it.sessions))?;
            row(f, "", &format!("{} per ringing call ({})", bytes(it.bytes_per_call), it.calls))?;
            row(f, "", &format!("{} at the start", bytes(it.start_bytes.cast_signed())))?;
            row(f, "", &format!("{} faults", it.audit.faults() + it.refused))?;
        }
        Ok(())
    }
}

fn fan_out(f: &mut fmt::Formatter<'_>, it: &Fanout) -> fmt::Result {
    let Fanout { single, burst, .. } = it;
    let deliveries = format!("{:.0} deliveries/s to {} sockets", single.deliveries_per_s, it.sockets);
    row(f, "fan-out", &format!("{deliveries}, one event at a time"))?;
    row(
        f,
        "",
        &format!("webhook → last socket {} ms, first → last {} ms", single.last_ms, single.spread_ms),
    )?;
    let from_send = format!("{:.0} from the first send", burst.deliveries_per_s_from_send);
    row(
        f,
        "burst",
        &format!("{:.0} deliveries/s of {} events at once", burst.deliveries_per_s, burst.events),
    )?;
    row(f, "", &format!("{from_send}, first → last {} ms", burst.spread_ms))?;
    let verdict = format!("{} lost, {} duplicated, {} closed", it.lost, it.duplicated, it.closed);
    row(f, "", &format!("{verdict}, {} refused", it.refused))
}

fn rate(per_s: f64, unit: &str, ratio: f64) -> String {
    format!("{per_s:.0} {unit} = {ratio:.2} × reference")
}

fn reference(f: &mut fmt::Formatter<'_>, reference: &Reference) -> fmt::Result {
    let Reference { before_per_s, after_per_s, per_s, single_connection_per_s } = reference;
    let figures = format!("{per_s:.0} inserts/s (before {before_per_s:.0}, after {after_per_s:.0})");
    let single = single_connection_per_s.map_or(String::new(), |rate| format!("; one writer {rate:.0}"));
    row(f, "  reference", &format!("{figures}{single}"))
}

fn audit(f: &mut fmt::Formatter<'_>, events: u64, audit: &Audit, reconnects: u32) -> fmt::Result {
    let Audit { lost, duplicated, unasked, seq_holes, seq_repeats } = audit;
    let told = format!("{events} events: {lost} lost, {duplicated} duplicated, {unasked} unasked");
    row(f, "", &format!("{told}; seq: {seq_holes} holes, {seq_repeats} repeats; {reconnects} reconnects"))
}

fn refusals(f: &mut fmt::Formatter<'_>, refused: &BTreeMap<String, u64>) -> fmt::Result {
    refused.iter().try_for_each(|(answer, times)| row(f, "", &format!("answered {answer}: {times}")))
}

fn bytes(count: i64) -> String {
    const KIBIBYTE: f64 = 1_024.0;
    let size = count as f64;
    if size < 10.0 * KIBIBYTE {
        format!("{count} B")
    } else if size < 10.0 * KIBIBYTE * KIBIBYTE {
        format!("{:.1} KiB", size / KIBIBYTE)
    } else {
        format!("{:.1} MiB", size / KIBIBYTE / KIBIBYTE)
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, figures: &str) -> fmt::Result {
    writeln!(f, "{name:<12} {figures}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_units_that_can_be_read() {
        assert_eq!(bytes(-12), "-12 B");
        assert_eq!(bytes(4_096), "4096 B");
        assert_eq!(bytes(20_480), "20.0 KiB");
        assert_eq!(bytes(52_428_800), "50.0 MiB");
    }
}
