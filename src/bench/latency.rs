//! Measures how long an event takes from the time its webhook was meant to be sent to its arrival on a socket.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::follower::Follower;
use super::http::Deck;
use super::load::open_loop;
use super::marks::Audit;
use super::server::{Bed, WEBHOOK_SECRET};
use super::stats::Spread;
use super::{Failure, Plan};

/// The way of events at a fixed rate.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// The pace in events a second.
    pub rate: u32,
    /// How many events were acknowledged.
    pub events: u64,
    /// Webhook due → event on the socket, over all events told; `None` if none was.
    pub spread: Option<Spread>,
    /// What was lost or doubled.
    pub audit: Audit,
    /// How often the socket had to be opened again.
    pub reconnects: u32,
    /// Answers other than the promised one.
    pub refused: BTreeMap<String, u64>,
}

/// Runs it.
pub(super) async fn measure(plan: &Plan, bed: &Bed) -> Result<Latency, Failure> {
    let app = bed.app("bench latency").await?;
    let calls = plan.rate.saturating_mul(plan.seconds()).div_ceil(3).max(plan.rate.min(plan.connections));
    let deck = Arc::new(Deck::sign(bed.addr, &app.app_id, WEBHOOK_SECRET, calls));
    let follower = Follower::open(bed.addr, &app.api_key).await?;
    let (posted, pace) = open_loop(deck, plan.connections, plan.rate).await?;
    let record = follower.finish(posted.count).await?;

    let late =
        record.arrivals.iter().map(|arrival| arrival.at.saturating_duration_since(pace.due(arrival.event)));
    Ok(Latency {
        rate: plan.rate,
        events: posted.count,
        spread: Spread::of(late.collect()),
        audit: record.audit(&posted.acknowledged),
        reconnects: record.reconnects,
        refused: posted.refused,
    })
}
