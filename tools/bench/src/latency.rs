//! Measures how long an event takes from the time its webhook was meant to be sent to its arrival on a socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
pub(crate) async fn measure(plan: &Plan, bed: &Bed) -> Result<Latency, Failure> {
    let traffic = Traffic::prepare(plan, bed).await?.run().await?;
    Ok(Latency { spread: traffic.spread(|_| true), ..traffic.figures })
}

impl Latency {
    /// The number of faults of any kind.
    pub(crate) fn faults(&self) -> u64 {
        self.audit.faults() + self.refused.values().sum::<u64>()
    }
}

/// Events at a fixed rate for one app, and one socket that hears them: ready to begin.
pub(crate) struct Traffic {
    deck: Arc<Deck>,
    follower: Follower,
    connections: u32,
    rate: u32,
}

/// What became of it.
pub(crate) struct Travelled {
    /// Everything but the spread.
    pub(crate) figures: Latency,
    /// When each event was due, and how long after that it came.
    late: Vec<(Instant, Duration)>,
}

impl Traffic {
    /// Makes an app, signs its webhooks and opens its socket.
    pub(crate) async fn prepare(plan: &Plan, bed: &Bed) -> Result<Self, Failure> {
        let app = bed.app("bench latency").await?;
        let calls = plan.rate.saturating_mul(plan.seconds()).div_ceil(3).max(plan.rate.min(plan.connections));
        let deck = Arc::new(Deck::sign(bed.addr, &app.app_id, WEBHOOK_SECRET, calls));
        let follower = Follower::open(bed.addr, &app.api_key).await?;
        Ok(Self { deck, follower, connections: plan.connections, rate: plan.rate })
    }

    /// Sends all of it.
    pub(crate) async fn run(self) -> Result<Travelled, Failure> {
        let (posted, pace) = open_loop(self.deck, self.connections, self.rate).await?;
        let record = self.follower.finish(posted.count).await?;
        let late = record.arrivals.iter().map(|arrival| {
            let due = pace.due(arrival.event);
            (due, arrival.at.saturating_duration_since(due))
        });
        Ok(Travelled {
            late: late.collect(),
            figures: Latency {
                rate: self.rate,
                events: posted.count,
                spread: None,
                audit: record.audit(&posted.acknowledged),
                reconnects: record.reconnects,
                refused: posted.refused,
            },
        })
    }
}

impl Travelled {
    /// How late those events came that were due at such a time.
    pub(crate) fn spread(&self, is_meant: impl Fn(Instant) -> bool) -> Option<Spread> {
        Spread::of(self.late.iter().filter(|(due, _)| is_meant(*due)).map(|(_, late)| *late).collect())
    }
}
