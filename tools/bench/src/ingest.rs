//! Measures how many webhooks a second are durably stored and acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::events::Phase;
use super::http::Deck;
use super::load::closed_loop;
use super::reference::{Reference, Round};
use super::server::{Bed, WEBHOOK_SECRET};
use super::stats::per_second;
use super::{Failure, Plan};

/// Acknowledged webhooks.
#[derive(Debug, Serialize)]
pub struct Ingest {
    /// How many were acknowledged as stored and new.
    pub acknowledged: u64,
    /// In so many seconds: from the first request to the last answer.
    pub seconds: f64,
    /// The rate.
    pub per_s: f64,
    /// The database alone.
    pub reference: Reference,
    /// The rate in proportion to the reference.
    pub ratio: f64,
    /// All other answers.
    pub refused: BTreeMap<String, u64>,
}

/// Runs it.
pub(crate) async fn measure(plan: &Plan, bed: &Bed) -> Result<Ingest, Failure> {
    let app = bed.app("bench ingest").await?;
    let deck = Arc::new(Deck::sign(bed.addr, &app.app_id, WEBHOOK_SECRET, plan.calls()));
    let before = Round::measure(&bed.scratch.database, plan.connections, plan.reference_time()).await?;
    let posted = closed_loop(deck, &Phase::ALL, plan.connections, plan.time).await?;
    let after = Round::measure(&bed.scratch.database, plan.connections, plan.reference_time()).await?;

    let took = posted.last_answer - posted.first_send;
    let per_s = per_second(posted.count, took);
    let reference = Reference::around(before, after);
    Ok(Ingest {
        acknowledged: posted.count,
        seconds: took.as_secs_f64(),
        per_s,
        reference,
        ratio: reference.ratio(per_s),
        refused: posted.refused,
    })
}
