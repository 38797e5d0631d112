//! Measures how fast a client reads a long feed from its beginning, and how that affects the latency of live events.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::events::Phase;
use super::follower::Follower;
use super::http::RequestDeck;
use super::latency::{self, Latency};
use super::load::closed_loop;
use super::replay::{Replay, by_pages, by_sockets, by_stream};
use super::server::{ServerUnderTest, WEBHOOK_SECRET};
use super::stats::median;
use super::{Failure, Plan};

/// How often the feed is read over each transport.
const REPLAYS: u32 = 5;

/// How many clients catch up at the same time during the live events.
const CONCURRENT_CLIENTS: u32 = 4;

/// A load that takes longer has failed.
const LOAD_TIMEOUT: Duration = Duration::from_secs(1_200);

/// Reading a long feed.
#[derive(Debug, Serialize)]
pub struct CatchUp {
    /// The number of events to read.
    pub events: u64,
    /// Events / (request → last event) over one idle WebSocket; median.
    pub websocket_per_s: f64,
    /// As server-sent events.
    pub stream_per_s: f64,
    /// Page by page over REST.
    pub pages_per_s: f64,
    /// Live events of another app while no client catches up.
    pub live_alone: Latency,
    /// Live events of another app while clients catch up.
    pub live_beside: Latency,
    /// The number of clients that catch up at the same time.
    pub beside: u32,
    /// Events per second that these clients read together.
    pub beside_per_s: f64,
    /// How often they read the whole feed.
    pub beside_readings: u32,
    /// Events that were missing or duplicated when the feed was read or filled.
    pub faults: u64,
}

/// Runs the measure.
pub(crate) async fn measure(plan: &Plan, server: &ServerUnderTest) -> Result<CatchUp, Failure> {
    let app = server.app("bench catch-up").await?;
    let calls = plan.history.div_ceil(Phase::ALL.len() as u32);
    let deck = Arc::new(RequestDeck::sign(server.addr, &app.app_id, WEBHOOK_SECRET, calls));
    let follower = Follower::open(server.addr, &app.api_key).await?;
    let posted = closed_loop(deck, &Phase::ALL, plan.connections, LOAD_TIMEOUT).await?;
    let record = follower.finish(posted.count).await?;
    let mut faults = record.audit(&posted.acknowledged).faults() + posted.refusals();

    // A webhook that was refused because it timed out may still have been posted.
    let (addr, key, events) = (server.addr, app.api_key.as_str(), record.arrivals.len() as u64);
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..REPLAYS {
        let results = [
            by_sockets(addr, key, events, 1).await?,
            by_stream(addr, key, events).await?,
            by_pages(addr, key, events).await?,
        ];
        for (rates, replay) in rates.iter_mut().zip(results) {
            rates.push(replay.per_s);
            faults += replay.faults;
        }
    }
    let [websocket_per_s, stream_per_s, pages_per_s] = rates.map(median);

    let live_alone = latency::measure(plan, server).await?;
    let mut replays: Vec<Replay> = Vec::new();
    let live_beside = {
        let mut live = Box::pin(latency::measure(plan, server));
        loop {
            tokio::select! {
                measured = &mut live => break measured?,
                replay = by_sockets(addr, key, events, CONCURRENT_CLIENTS) => replays.push(replay?),
            }
        }
    };
    faults += replays.iter().map(|replay| replay.faults).sum::<u64>();
    Ok(CatchUp {
        events,
        websocket_per_s,
        stream_per_s,
        pages_per_s,
        live_alone,
        live_beside,
        beside: CONCURRENT_CLIENTS,
        beside_per_s: median(replays.iter().map(|replay| replay.per_s).collect()),
        beside_readings: u32::try_from(replays.len())?,
        faults,
    })
}
