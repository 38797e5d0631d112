//! Measures how long many clients need to reconnect after the server was killed: all of them connect the moment it listens
//! again, each from the same cursor, while events of another app continue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::sleep;

use super::events::Phase;
use super::follower::Follower;
use super::http::RequestDeck;
use super::latency::{Latency, Traffic};
use super::load::closed_loop;
use super::server::{ServerUnderTest, WEBHOOK_SECRET};
use super::socket_pool::{ConnectOptions, SocketPool};
use super::stats::{Spread, millis};
use super::{DUPLICATE_WAIT, Failure, Plan};

/// How many events each client has missed.
const MISSED: u32 = 30;

/// Connections that post these events.
const SENDERS: u32 = 4;

const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The reconnect of many clients.
#[derive(Debug, Serialize)]
pub struct Reconnect {
    /// The number of sockets.
    pub sockets: u32,
    /// How many events each had missed.
    pub missed: u32,
    /// From the first attempt until all sockets have received `connected`.
    pub connected_ms: f64,
    /// From the first attempt until all sockets have received everything.
    pub caught_up_ms: f64,
    /// Live events of another app that were due during the reconnect.
    pub live_meanwhile: Option<Spread>,
    /// Live events that were due afterwards.
    pub live_afterwards: Option<Spread>,
    /// All live events.
    pub live: Latency,
    /// The peak resident memory of the restarted server, in bytes.
    pub peak_bytes: u64,
    /// Deliveries that did not arrive.
    pub lost: u64,
    /// Duplicate deliveries.
    pub duplicated: u64,
    /// Sockets that the server closed.
    pub closed: u32,
}

/// Runs the measure.
pub(crate) async fn measure(plan: &Plan, server: &mut ServerUnderTest) -> Result<Reconnect, Failure> {
    let app = server.app("bench reconnect").await?;
    let deck = Arc::new(RequestDeck::sign(
        server.addr,
        &app.app_id,
        WEBHOOK_SECRET,
        MISSED / Phase::ALL.len() as u32,
    ));
    let before = SocketPool::open(server.addr, &app.api_key, plan.reconnect).await?;
    let follower = Follower::open(server.addr, &app.api_key).await?;
    let posted = closed_loop(deck, &Phase::ALL, SENDERS, LOAD_TIMEOUT).await?;
    let initial_audit = follower.finish(posted.count).await?.audit(&posted.acknowledged);
    let missed = u32::try_from(posted.count)?;

    server.kill_and_restart().await?;
    drop(before);
    let mut traffic = Box::pin(Traffic::prepare(plan, server).await?.run());
    let started = Instant::now();
    let options =
        ConnectOptions { size: plan.reconnect, at_once: plan.reconnect as usize, query: "?after=0".into() };
    let connecting = async {
        let pool = SocketPool::connect(server.addr, &app.api_key, &options).await?;
        let connected_after = started.elapsed();
        pool.received(u64::from(plan.reconnect) * u64::from(missed)).await;
        Ok::<_, Failure>((pool, connected_after))
    };
    // The traffic continues after the reconnect; it fails early if it fails.
    let (connected, live) = tokio::join!(connecting, &mut traffic);
    let ((pool, connected_after), live) = (connected?, live?);
    let (_, last_arrival) = pool.arrivals();
    sleep(DUPLICATE_WAIT).await;
    let (lost, duplicated) = pool.lost_and_duplicated(missed);
    Ok(Reconnect {
        sockets: plan.reconnect,
        missed,
        connected_ms: millis(connected_after),
        caught_up_ms: millis(last_arrival.saturating_duration_since(started)),
        live_meanwhile: live.spread(|due| due <= last_arrival),
        live_afterwards: live.spread(|due| due > last_arrival),
        peak_bytes: server.peak_bytes()?,
        lost: lost + initial_audit.faults() + posted.refusals(),
        duplicated,
        closed: pool.closed(),
        live: Latency { spread: live.spread(|_| true), ..live.figures },
    })
}
