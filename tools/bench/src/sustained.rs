//! Measures how many events per second go from webhook to socket, until the last one has arrived, so that a growing
//! backlog counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::audit::Audit;
use super::ceiling::{BesideCeiling, Ceiling};
use super::cpu::CpuMeter;
use super::events::Phase;
use super::follower::Follower;
use super::http::RequestDeck;
use super::load::closed_loop;
use super::reference::{Reference, Round};
use super::server::{ServerUnderTest, WEBHOOK_SECRET};
use super::stats::{millis, per_second};
use super::{Failure, Plan};

/// Events from webhook to socket under full load.
#[derive(Debug, Serialize)]
pub struct Sustained {
    /// How many were delivered.
    pub delivered: u64,
    /// From the first request to the last arrival.
    pub seconds: f64,
    /// Delivered events per second.
    pub per_s: f64,
    /// From the last answer to the last event.
    pub backlog_ms: f64,
    /// The database alone.
    pub reference: Reference,
    /// `per_s` as a ratio to the reference.
    pub ratio: f64,
    /// What is reachable, and the CPU time until the last event has arrived.
    #[serde(flatten)]
    pub beside: BesideCeiling,
    /// Faults of delivery.
    pub audit: Audit,
    /// How often the socket was reopened.
    pub reconnects: u32,
    /// Answers other than an acknowledgement.
    pub refused: BTreeMap<String, u64>,
}

/// Runs the measure.
pub(crate) async fn measure(plan: &Plan, server: &ServerUnderTest) -> Result<Sustained, Failure> {
    let app = server.app("bench sustained").await?;
    let deck = Arc::new(RequestDeck::sign(server.addr, &app.app_id, WEBHOOK_SECRET, plan.calls()));
    let before = Round::measure(&server.scratch.database, plan.connections, plan.reference_time()).await?;
    let follower = Follower::open(server.addr, &app.api_key).await?;
    let meter = CpuMeter::start(server.process_id(), &server.scratch.database).await?;
    let posted = closed_loop(deck, &Phase::ALL, plan.connections, plan.time).await?;
    let record = follower.finish(posted.count).await?;
    let cpu = meter.stop(posted.count).await?;
    let ceiling = Ceiling::measure(&server.scratch, plan.connections, plan.reference_time()).await?;
    let after = Round::measure(&server.scratch.database, plan.connections, plan.reference_time()).await?;

    let delivered = record.arrivals.len() as u64;
    let last_arrival = record.arrivals.last().map_or(posted.first_send, |arrival| arrival.at);
    let took: Duration = last_arrival - posted.first_send;
    let per_s = per_second(delivered, took);
    let reference = Reference::around(before, after);
    Ok(Sustained {
        delivered,
        seconds: took.as_secs_f64(),
        per_s,
        backlog_ms: millis(last_arrival.saturating_duration_since(posted.last_answer)),
        reference,
        ratio: reference.ratio(per_s),
        beside: BesideCeiling::of(per_s, cpu, ceiling),
        audit: record.audit(&posted.acknowledged),
        reconnects: record.reconnects,
        refused: posted.refused,
    })
}
