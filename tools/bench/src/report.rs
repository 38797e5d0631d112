//! The figures of one run, as JSON or as a table.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::audit::Audit;
use super::catchup::{self, CatchUp};
use super::ceiling::BesideCeiling;
use super::fanout::{self, Fanout};
use super::ingest::{self, Ingest};
use super::latency::{self, Latency};
use super::memory::{self, Memory};
use super::reconnect::{self, Reconnect};
use super::reference::Reference;
use super::server::ServerUnderTest;
use super::stats::Spread;
use super::sustained::{self, Sustained};
use super::{Failure, Measure, Plan};

/// The figures.
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
    /// Webhook to socket under full load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sustained: Option<Sustained>,
    /// One event to many sockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fanout: Option<Fanout>,
    /// Reading a long feed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catchup: Option<CatchUp>,
    /// Reconnecting at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconnect: Option<Reconnect>,
    /// Bytes per session and call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

impl Report {
    pub(crate) fn of(plan: &Plan) -> Self {
        Self {
            database: plan.database.to_string(),
            connections: plan.connections,
            seconds: plan.time.as_secs_f64(),
            ingest: None,
            latency: None,
            sustained: None,
            fanout: None,
            catchup: None,
            reconnect: None,
            memory: None,
        }
    }

    /// Runs one measure and stores its figures.
    pub(crate) async fn add(
        &mut self,
        measure: Measure,
        plan: &Plan,
        server: &mut ServerUnderTest,
    ) -> Result<(), Failure> {
        match measure {
            Measure::Ingest => self.ingest = Some(ingest::measure(plan, server).await?),
            Measure::Latency => self.latency = Some(latency::measure(plan, server).await?),
            Measure::Sustained => self.sustained = Some(sustained::measure(plan, server).await?),
            Measure::Fanout => self.fanout = Some(fanout::measure(plan, server).await?),
            Measure::Catchup => self.catchup = Some(catchup::measure(plan, server).await?),
            Measure::Reconnect => self.reconnect = Some(reconnect::measure(plan, server).await?),
            Measure::Memory => self.memory = Some(memory::measure(plan, server).await?),
        }
        Ok(())
    }

    /// Returns the number of faults: events lost, duplicated or out of sequence, and webhooks not acknowledged.
    pub fn faults(&self) -> u64 {
        let answers = |refused: &BTreeMap<String, u64>| refused.values().sum::<u64>();
        let faults = [
            self.ingest.as_ref().map(|ingest| answers(&ingest.refused)),
            self.latency.as_ref().map(Latency::faults),
            self.sustained.as_ref().map(|sustained| sustained.audit.faults() + answers(&sustained.refused)),
            self.fanout
                .as_ref()
                .map(|fanout| fanout.lost + fanout.duplicated + u64::from(fanout.closed) + fanout.refused),
            self.catchup.as_ref().map(|catchup| {
                catchup.faults + catchup.live_alone.faults() + catchup.live_concurrent.faults()
            }),
            self.reconnect.as_ref().map(|reconnect| {
                reconnect.lost + reconnect.duplicated + u64::from(reconnect.closed) + reconnect.live.faults()
            }),
            self.memory.as_ref().map(|memory| memory.audit.faults() + memory.refused),
        ];
        faults.into_iter().flatten().sum()
    }
}

/// Formats the table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {} connections, {} s per load", self.database, self.connections, self.seconds)?;
        if let Some(ingest) = &self.ingest {
            row(f, "ingest", &rate(ingest.per_s, "acknowledged/s", ingest.ratio))?;
            ceiling(f, &ingest.beside)?;
            reference(f, &ingest.reference)?;
            refusals(f, &ingest.refused)?;
        }
        if let Some(latency) = &self.latency {
            latency_rows(f, "latency", latency)?;
        }
        if let Some(sustained) = &self.sustained {
            row(f, "sustained", &rate(sustained.per_s, "delivered/s", sustained.ratio))?;
            row(f, "", &format!("backlog {} ms after the last answer", sustained.backlog_ms))?;
            ceiling(f, &sustained.beside)?;
            reference(f, &sustained.reference)?;
            audit(f, sustained.delivered, &sustained.audit, sustained.reconnects)?;
            refusals(f, &sustained.refused)?;
        }
        if let Some(fanout) = &self.fanout {
            fan_out_rows(f, fanout)?;
        }
        if let Some(catchup) = &self.catchup {
            catch_up_rows(f, catchup)?;
        }
        if let Some(reconnect) = &self.reconnect {
            reconnect_rows(f, reconnect)?;
        }
        if let Some(memory) = &self.memory {
            row(
                f,
                "memory",
                &format!("{} per idle session ({})", bytes(memory.bytes_per_session), memory.sessions),
            )?;
            row(f, "", &format!("{} with all of them", bytes(memory.with_sessions_bytes.cast_signed())))?;
            row(f, "", &format!("{} per ringing call ({})", bytes(memory.bytes_per_call), memory.calls))?;
            row(f, "", &format!("{} at the start", bytes(memory.start_bytes.cast_signed())))?;
            row(f, "", &format!("{} faults", memory.audit.faults() + memory.refused))?;
        }
        Ok(())
    }
}

fn spread(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "no event arrived".to_owned(),
        |Spread { min_ms, p50_ms, p90_ms, p99_ms, max_ms }| {
            format!("min {min_ms} · p50 {p50_ms} · p90 {p90_ms} · p99 {p99_ms} · max {max_ms} ms")
        },
    )
}

fn latency_rows(f: &mut fmt::Formatter<'_>, name: &str, latency: &Latency) -> fmt::Result {
    row(f, name, &format!("{} at {}/s", spread(latency.spread), latency.rate))?;
    audit(f, latency.events, &latency.audit, latency.reconnects)?;
    refusals(f, &latency.refused)
}

fn catch_up_rows(f: &mut fmt::Formatter<'_>, catch_up: &CatchUp) -> fmt::Result {
    let CatchUp { events, websocket_per_s, stream_per_s, pages_per_s, .. } = catch_up;
    row(f, "catch-up", &format!("{websocket_per_s:.0} events/s over a WebSocket, {events} in all"))?;
    row(f, "", &format!("{stream_per_s:.0} as server-sent events, {pages_per_s:.0} by pages"))?;
    latency_rows(f, "  live alone", &catch_up.live_alone)?;
    latency_rows(f, "  live during", &catch_up.live_concurrent)?;
    let clients = format!(
        "{} clients, {:.0} events/s in total",
        catch_up.concurrent_clients, catch_up.concurrent_per_s
    );
    row(f, "", &format!("{clients}, {} times; {} faults", catch_up.concurrent_reads, catch_up.faults))
}

fn reconnect_rows(f: &mut fmt::Formatter<'_>, reconnect: &Reconnect) -> fmt::Result {
    row(
        f,
        "reconnect",
        &format!("{} sockets at once, each {} events behind", reconnect.sockets, reconnect.missed),
    )?;
    row(
        f,
        "",
        &format!(
            "all connected after {} ms, all caught up after {} ms",
            reconnect.connected_ms, reconnect.caught_up_ms
        ),
    )?;
    let faults =
        format!("{} lost, {} duplicated, {} closed", reconnect.lost, reconnect.duplicated, reconnect.closed);
    row(f, "", &format!("{faults}; at most {} resident", bytes(reconnect.peak_bytes.cast_signed())))?;
    row(
        f,
        "  live meanwhile",
        &format!("{} at {}/s", spread(reconnect.live_meanwhile), reconnect.live.rate),
    )?;
    row(f, "  live after", &spread(reconnect.live_afterwards))?;
    audit(f, reconnect.live.events, &reconnect.live.audit, reconnect.live.reconnects)?;
    refusals(f, &reconnect.live.refused)
}

fn fan_out_rows(f: &mut fmt::Formatter<'_>, fan_out: &Fanout) -> fmt::Result {
    let Fanout { single, burst, .. } = fan_out;
    let deliveries = format!("{:.0} deliveries/s to {} sockets", single.deliveries_per_s, fan_out.sockets);
    row(f, "fan-out", &format!("{deliveries}, one event at a time"))?;
    row(f, "", &format!("webhook → last socket {} ms", single.last_ms))?;
    row(f, "", &format!("first → last socket {}", spread(single.spread)))?;
    let from_send = format!("{:.0} from the first send", burst.deliveries_per_s_from_send);
    row(
        f,
        "burst",
        &format!("{:.0} deliveries/s of {} events at once", burst.deliveries_per_s, burst.events),
    )?;
    row(f, "", &format!("{from_send}, first → last {} ms", burst.spread_ms))?;
    let faults =
        format!("{} lost, {} duplicated, {} closed", fan_out.lost, fan_out.duplicated, fan_out.closed);
    row(f, "", &format!("{faults}, {} refused", fan_out.refused))
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

fn ceiling(f: &mut fmt::Formatter<'_>, beside: &BesideCeiling) -> fmt::Result {
    let BesideCeiling { cpu, ceiling, ceiling_ratio: rate_ratio, cpu_ratio } = *beside;
    row(f, "  ceiling", &format!("{:.0} webhooks/s by a bare server; {rate_ratio:.2} of it", ceiling.per_s))?;
    let Some(((cpu, bare), cpu_ratio)) = cpu.zip(ceiling.cpu).zip(cpu_ratio) else { return Ok(()) };
    let database = cpu.database_us.map_or(String::new(), |us| format!(", of them the database {us:.0}"));
    let figures = format!("{:.0} µs per webhook{database}; bare {:.0}", cpu.us, bare.us);
    row(f, "  CPU", &format!("{figures}; {cpu_ratio:.1} times it"))
}

fn audit(f: &mut fmt::Formatter<'_>, events: u64, audit: &Audit, reconnects: u32) -> fmt::Result {
    let Audit { lost, duplicated, unexpected, seq_holes, seq_repeats } = audit;
    let faults = format!("{events} events: {lost} lost, {duplicated} duplicated, {unexpected} unexpected");
    row(f, "", &format!("{faults}; seq: {seq_holes} holes, {seq_repeats} repeats; {reconnects} reconnects"))
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
    writeln!(f, "{name:<16} {figures}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_readable_units() {
        assert_eq!(bytes(-12), "-12 B");
        assert_eq!(bytes(4_096), "4096 B");
        assert_eq!(bytes(20_480), "20.0 KiB");
        assert_eq!(bytes(52_428_800), "50.0 MiB");
    }
}
