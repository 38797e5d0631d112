//! Measures the time from when a webhook was due to the arrival of its event on a socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::audit::Audit;
use super::follower::Follower;
use super::http::RequestDeck;
use super::load::open_loop;
use super::server::{ServerUnderTest, WEBHOOK_SECRET};
use super::stats::Spread;
use super::{Failure, Plan};

/// Latency at a fixed rate.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// Events per second.
    pub rate: u32,
    /// How many events were acknowledged.
    pub events: u64,
    /// Webhook due → event on the socket, of all delivered events; `None` without any.
    pub spread: Option<Spread>,
    /// Faults of delivery.
    pub audit: Audit,
    /// How often the socket was reopened.
    pub reconnects: u32,
    /// Answers other than an acknowledgement.
    pub refused: BTreeMap<String, u64>,
}

/// Runs the measure.
pub(crate) async fn measure(plan: &Plan, server: &ServerUnderTest) -> Result<Latency, Failure> {
    let traffic = Traffic::prepare(plan, server).await?.run().await?;
    Ok(Latency { spread: traffic.spread(|_| true), ..traffic.figures })
}

impl Latency {
    /// Returns the number of faults of any kind.
    pub(crate) fn faults(&self) -> u64 {
        self.audit.faults() + self.refused.values().sum::<u64>()
    }
}

/// Events at a fixed rate for one app, and one socket that receives them: ready to start.
pub(crate) struct Traffic {
    deck: Arc<RequestDeck>,
    follower: Follower,
    connections: u32,
    rate: u32,
}

/// The result of the traffic.
pub(crate) struct TrafficResult {
    /// All figures but the spread.
    pub(crate) figures: Latency,
    /// When each event was due, and its latency.
    latencies: Vec<(Instant, Duration)>,
}

impl Traffic {
    /// Creates an app, signs its webhooks and opens its socket.
    pub(crate) async fn prepare(plan: &Plan, server: &ServerUnderTest) -> Result<Self, Failure> {
        let app = server.app("bench latency").await?;
        let calls = plan.rate.saturating_mul(plan.seconds()).div_ceil(3).max(plan.rate.min(plan.connections));
        let deck = Arc::new(RequestDeck::sign(server.addr, &app.app_id, WEBHOOK_SECRET, calls));
        let follower = Follower::open(server.addr, &app.api_key).await?;
        Ok(Self { deck, follower, connections: plan.connections, rate: plan.rate })
    }

    /// Posts all webhooks and waits for their events.
    pub(crate) async fn run(self) -> Result<TrafficResult, Failure> {
        let (posted, schedule) = open_loop(self.deck, self.connections, self.rate).await?;
        let record = self.follower.finish(posted.count).await?;
        let latencies = record.arrivals.iter().map(|arrival| {
            let due = schedule.due(arrival.event);
            (due, arrival.at.saturating_duration_since(due))
        });
        Ok(TrafficResult {
            latencies: latencies.collect(),
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

impl TrafficResult {
    /// Returns the latency of the events whose due time is selected.
    pub(crate) fn spread(&self, selects: impl Fn(Instant) -> bool) -> Option<Spread> {
        Spread::of(
            self.latencies.iter().filter(|(due, _)| selects(*due)).map(|(_, latencies)| *latencies).collect(),
        )
    }
}
