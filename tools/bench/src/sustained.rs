//! Measures how many events a second go the whole way — stored, processed, told on a socket — for as long as
//! the load lasts and until the last of them has arrived, so that no growing backlog can hide.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::events::Phase;
use super::follower::Follower;
use super::http::Deck;
use super::load::closed_loop;
use super::marks::Audit;
use super::reference::{Reference, Round};
use super::server::{Bed, WEBHOOK_SECRET};
use super::stats::{millis, per_second};
use super::{Failure, Plan};

/// Events that went the whole way.
#[derive(Debug, Serialize)]
pub struct Sustained {
    /// How many were told.
    pub told: u64,
    /// In so many seconds: from the first request to the last arrival.
    pub seconds: f64,
    /// The rate.
    pub per_s: f64,
    /// How long after the last answer the last event came.
    pub backlog_ms: f64,
    /// The database alone.
    pub reference: Reference,
    /// The rate in proportion to the reference.
    pub ratio: f64,
    /// What was lost or doubled.
    pub audit: Audit,
    /// How often the socket had to be opened again.
    pub reconnects: u32,
    /// Answers other than the promised one.
    pub refused: BTreeMap<String, u64>,
}

/// Runs it.
pub(crate) async fn measure(plan: &Plan, bed: &Bed) -> Result<Sustained, Failure> {
    let app = bed.app("bench sustained").await?;
    let deck = Arc::new(Deck::sign(bed.addr, &app.app_id, WEBHOOK_SECRET, plan.calls()));
    let before = Round::measure(&bed.scratch.database, plan.connections, plan.reference_time()).await?;
    let follower = Follower::open(bed.addr, &app.api_key).await?;
    let posted = closed_loop(deck, &Phase::ALL, plan.connections, plan.time).await?;
    let record = follower.finish(posted.count).await?;
    let after = Round::measure(&bed.scratch.database, plan.connections, plan.reference_time()).await?;

    let told = record.arrivals.len() as u64;
    let last_arrival = record.arrivals.last().map_or(posted.first_send, |arrival| arrival.at);
    let took: Duration = last_arrival - posted.first_send;
    let per_s = per_second(told, took);
    let reference = Reference::around(before, after);
    Ok(Sustained {
        told,
        seconds: took.as_secs_f64(),
        per_s,
        backlog_ms: millis(last_arrival.saturating_duration_since(posted.last_answer)),
        reference,
        ratio: reference.ratio(per_s),
        audit: record.audit(&posted.acknowledged),
        reconnects: record.reconnects,
        refused: posted.refused,
    })
}
