//! All figures of one run: for machines as JSON, for people as a table.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::catchup::{self, CatchUp};
use super::fanout::{self, Fanout};
use super::ingest::{self, Ingest};
use super::latency::{self, Latency};
use super::marks::Audit;
use super::memory::{self, Memory};
use super::reference::Reference;
use super::server::Bed;
use super::stats::Spread;
use super::storm::{self, Storm};
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
    /// Reading the past.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catchup: Option<CatchUp>,
    /// Everybody comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
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
            storm: None,
            memory: None,
        }
    }

    /// Makes one measure on the server and keeps its figures.
    pub(crate) async fn add(&mut self, measure: Measure, plan: &Plan, bed: &mut Bed) -> Result<(), Failure> {
        match measure {
            Measure::Ingest => self.ingest = Some(ingest::measure(plan, bed).await?),
            Measure::Latency => self.latency = Some(latency::measure(plan, bed).await?),
            Measure::Sustained => self.sustained = Some(sustained::measure(plan, bed).await?),
            Measure::Fanout => self.fanout = Some(fanout::measure(plan, bed).await?),
            Measure::Catchup => self.catchup = Some(catchup::measure(plan, bed).await?),
            Measure::Storm => self.storm = Some(storm::measure(plan, bed).await?),
            Measure::Memory => self.memory = Some(memory::measure(plan, bed).await?),
        }
        Ok(())
    }

    /// How often the server broke its promise: events lost, duplicated, out of sequence, or not acknowledged.
    pub fn faults(&self) -> u64 {
        let answers = |refused: &BTreeMap<String, u64>| refused.values().sum::<u64>();
        let faults = [
            self.ingest.as_ref().map(|it| answers(&it.refused)),
            self.latency.as_ref().map(Latency::faults),
            self.sustained.as_ref().map(|it| it.audit.faults() + answers(&it.refused)),
            self.fanout.as_ref().map(|it| it.lost + it.duplicated + u64::from(it.closed) + it.refused),
            self.catchup.as_ref().map(|it| it.faults + it.live_alone.faults() + it.live_beside.faults()),
            self.storm.as_ref().map(|it| it.lost + it.duplicated + u64::from(it.closed) + it.live.faults()),
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
            latency_rows(f, "latency", it)?;
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
        if let Some(it) = &self.catchup {
            catch_up(f, it)?;
        }
        if let Some(it) = &self.storm {
            stormed(f, it)?;
        }
        if let Some(it) = &self.memory {
            row(f, "memory", &format!("{} per idle session ({})", bytes(it.bytes_per_session), it.sessions))?;
            row(f, "", &format!("{} with all of them", bytes(it.with_sessions_bytes.cast_signed())))?;
            row(f, "", &format!("{} per ringing call ({})", bytes(it.bytes_per_call), it.calls))?;
            row(f, "", &format!("{} at the start", bytes(it.start_bytes.cast_signed())))?;
            row(f, "", &format!("{} faults", it.audit.faults() + it.refused))?;
        }
        Ok(())
    }
}

fn spread(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "no event arrived".to_owned(),
        |s| {
            let Spread { min_ms, p50_ms, p90_ms, p99_ms, max_ms } = s;
            format!("min {min_ms} · p50 {p50_ms} · p90 {p90_ms} · p99 {p99_ms} · max {max_ms} ms")
        },
    )
}

fn latency_rows(f: &mut fmt::Formatter<'_>, name: &str, it: &Latency) -> fmt::Result {
    row(f, name, &format!("{} at {}/s", spread(it.spread), it.rate))?;
    audit(f, it.events, &it.audit, it.reconnects)?;
    refusals(f, &it.refused)
}

fn catch_up(f: &mut fmt::Formatter<'_>, it: &CatchUp) -> fmt::Result {
    let CatchUp { events, websocket_per_s, stream_per_s, pages_per_s, .. } = it;
    row(f, "catch-up", &format!("{websocket_per_s:.0} events/s over a WebSocket, {events} in all"))?;
    row(f, "", &format!("{stream_per_s:.0} as server-sent events, {pages_per_s:.0} by pages"))?;
    latency_rows(f, "  live alone", &it.live_alone)?;
    latency_rows(f, "  beside", &it.live_beside)?;
    let beside = format!("{} clients, {:.0} events/s together", it.beside, it.beside_per_s);
    row(f, "", &format!("beside {beside}, {} times; {} faults", it.beside_readings, it.faults))
}

fn stormed(f: &mut fmt::Formatter<'_>, it: &Storm) -> fmt::Result {
    row(f, "storm", &format!("{} sockets at once, each {} events behind", it.sockets, it.missed))?;
    row(
        f,
        "",
        &format!("all greeted after {} ms, all caught up after {} ms", it.greeted_ms, it.caught_up_ms),
    )?;
    let verdict = format!("{} lost, {} duplicated, {} closed", it.lost, it.duplicated, it.closed);
    row(f, "", &format!("{verdict}; at most {} resident", bytes(it.peak_bytes.cast_signed())))?;
    row(f, "  live then", &format!("{} at {}/s", spread(it.live_meanwhile), it.live.rate))?;
    row(f, "  after it", &spread(it.live_afterwards))?;
    audit(f, it.live.events, &it.live.audit, it.live.reconnects)?;
    refusals(f, &it.live.refused)
}

fn fan_out(f: &mut fmt::Formatter<'_>, it: &Fanout) -> fmt::Result {
    let Fanout { single, burst, .. } = it;
    let deliveries = format!("{:.0} deliveries/s to {} sockets", single.deliveries_per_s, it.sockets);
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
