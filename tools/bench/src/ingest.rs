//! Measures how many webhooks per second are durably stored and acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::ceiling::Ceiling;
use super::cpu::{CpuPerWebhook, CpuReading};
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
    /// CPU time of the server and its database.
    pub cpu: Option<CpuPerWebhook>,
    /// The bare server with the same load.
    pub ceiling: Ceiling,
    /// `per_s` as a ratio to the ceiling.
    pub ceiling_ratio: f64,
    /// `cpu` as a ratio to the ceiling's.
    pub cpu_ratio: Option<f64>,
    /// All other answers, counted.
    pub refused: BTreeMap<String, u64>,
}

/// Runs the measure.
pub(crate) async fn measure(plan: &Plan, server: &ServerUnderTest) -> Result<Ingest, Failure> {
    let app = server.app("bench ingest").await?;
    let deck = Arc::new(RequestDeck::sign(server.addr, &app.app_id, WEBHOOK_SECRET, plan.calls()));
    let before = Round::measure(&server.scratch.database, plan.connections, plan.reference_time()).await?;
    let cpu_before = CpuReading::take(server.process_id(), &server.scratch.database).await?;
    let posted = closed_loop(deck, &Phase::ALL, plan.connections, plan.time).await?;
    let cpu_after = CpuReading::take(server.process_id(), &server.scratch.database).await?;
    let ceiling = Ceiling::measure(&server.scratch, plan.connections, plan.reference_time()).await?;
    let after = Round::measure(&server.scratch.database, plan.connections, plan.reference_time()).await?;

    let took = posted.last_answer - posted.first_send;
    let per_s = per_second(posted.count, took);
    let reference = Reference::around(before, after);
    let cpu = cpu_before.zip(cpu_after).map(|(before, after)| after.since(&before, posted.count));
    Ok(Ingest {
        acknowledged: posted.count,
        seconds: took.as_secs_f64(),
        per_s,
        reference,
        ratio: reference.ratio(per_s),
        cpu,
        ceiling,
        ceiling_ratio: ceiling.ratio(per_s),
        cpu_ratio: ceiling.cpu_ratio(cpu),
        refused: posted.refused,
    })
}
