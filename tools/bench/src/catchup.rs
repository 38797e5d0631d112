//! Measures how fast a client that was away reads what it has missed, and what that costs those who are there.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::events::Phase;
use super::follower::Follower;
use super::http::Deck;
use super::latency::{self, Latency};
use super::load::closed_loop;
use super::past::{Reading, by_pages, by_sockets, by_stream};
use super::server::{Bed, WEBHOOK_SECRET};
use super::stats::median;
use super::{Failure, Plan};

/// How often the feed is read from its beginning over each way.
const READINGS: u32 = 5;

/// How many clients catch up at a time beside the live events.
const BESIDE: u32 = 4;

/// Longer than any server that works needs to write down what is to be read.
const TIME_LIMIT: Duration = Duration::from_secs(1_200);

/// Reading the past.
#[derive(Debug, Serialize)]
pub struct CatchUp {
    /// How many events there were to read.
    pub events: u64,
    /// Events / (request → last event) over one WebSocket while nothing else happens; median of some readings.
    pub websocket_per_s: f64,
    /// As server-sent events.
    pub stream_per_s: f64,
    /// Page by page over REST.
    pub pages_per_s: f64,
    /// Live events of another app while nobody caught up.
    pub live_alone: Latency,
    /// And while clients caught up all the time.
    pub live_beside: Latency,
    /// How many clients that were at a time.
    pub beside: u32,
    /// How fast these read, all together.
    pub beside_per_s: f64,
    /// How often they read everything.
    pub beside_readings: u32,
    /// Events that were missing or came twice when the past was read or written.
    pub faults: u64,
}

/// Runs it.
pub(crate) async fn measure(plan: &Plan, bed: &Bed) -> Result<CatchUp, Failure> {
    let past = bed.app("bench past").await?;
    let calls = plan.history.div_ceil(Phase::ALL.len() as u32);
    let deck = Arc::new(Deck::sign(bed.addr, &past.app_id, WEBHOOK_SECRET, calls));
    let follower = Follower::open(bed.addr, &past.api_key).await?;
    let told = closed_loop(deck, &Phase::ALL, plan.connections, TIME_LIMIT).await?;
    let written = follower.finish(told.count).await?;
    let mut faults = written.audit(&told.acknowledged).faults() + told.refusals();

    // What was refused because it took too long may have been told all the same.
    let (addr, key, events) = (bed.addr, past.api_key.as_str(), written.arrivals.len() as u64);
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..READINGS {
        let by_each_way = [
            by_sockets(addr, key, events, 1).await?,
            by_stream(addr, key, events).await?,
            by_pages(addr, key, events).await?,
        ];
        for (rates, reading) in rates.iter_mut().zip(by_each_way) {
            rates.push(reading.per_s);
            faults += reading.faults;
        }
    }
    let [websocket_per_s, stream_per_s, pages_per_s] = rates.map(median);

    let live_alone = latency::measure(plan, bed).await?;
    let mut readings: Vec<Reading> = Vec::new();
    let live_beside = {
        let mut living = Box::pin(latency::measure(plan, bed));
        loop {
            tokio::select! {
                lived = &mut living => break lived?,
                reading = by_sockets(addr, key, events, BESIDE) => readings.push(reading?),
            }
        }
    };
    faults += readings.iter().map(|reading| reading.faults).sum::<u64>();
    Ok(CatchUp {
        events,
        websocket_per_s,
        stream_per_s,
        pages_per_s,
        live_alone,
        live_beside,
        beside: BESIDE,
        beside_per_s: median(readings.iter().map(|reading| reading.per_s).collect()),
        beside_readings: u32::try_from(readings.len())?,
        faults,
    })
}
