//! Measures how many webhooks per second are durably stored and acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::ceiling::{BesideCeiling, Ceiling};
use super::cpu::CpuMeter;
use super::events::Phase;
use super::http::RequestDeck;
use super::load::closed_loop;
use super::reference::{Reference, Round};
use super::server::{ServerUnderTest, WEBHOOK_SECRET};
use super::stats::per_second;
use super::{Failure, Plan};

/// Acknowledged webhooks.
#[derive(Debug, Serialize)]
pub struct Ingest {
    /// How many were acknowledged as stored and new.
    pub acknowledged: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Acknowledged webhooks per second.
    pub per_s: f64,
    /// The database alone.
    pub reference: Reference,
    /// `per_s` as a ratio to the reference.
    pub ratio: f64,
    /// What is reachable, and the CPU time from the first request to the last answer.
    #[serde(flatten)]
    pub beside: BesideCeiling,
    /// All other answers, counted.
    pub refused: BTreeMap<String, u64>,
}

/// Runs the measure.
pub(crate) async fn measure(plan: &Plan, server: &ServerUnderTest) -> Result<Ingest, Failure> {
    let app = server.app("bench ingest").await?;
    let deck = Arc::new(RequestDeck::sign(server.addr, &app.app_id, WEBHOOK_SECRET, plan.calls()));
    let before = Round::measure(&server.scratch.database, plan.connections, plan.reference_time()).await?;
    let meter = CpuMeter::start(server.process_id(), &server.scratch.database).await?;
    let posted = closed_loop(deck, &Phase::ALL, plan.connections, plan.time).await?;
    let cpu = meter.stop(posted.count).await?;
    let ceiling = Ceiling::measure(&server.scratch, plan.connections, plan.reference_time()).await?;
    let after = Round::measure(&server.scratch.database, plan.connections, plan.reference_time()).await?;

    let took = posted.last_answer - posted.first_send;
    let per_s = per_second(posted.count, took);
    let reference = Reference::around(before, after);
    Ok(Ingest {
        acknowledged: posted.count,
        seconds: took.as_secs_f64(),
        per_s,
        reference,
        ratio: reference.ratio(per_s),
        beside: BesideCeiling::of(per_s, cpu, ceiling),
        refused: posted.refused,
    })
}
