//! Measures how long it takes until very many clients are back after the server was killed: all of them come the moment
//! it listens again, each behind the same cursor, while events of another app go on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::sleep;

use super::crowd::{Come, Crowd};
use super::events::Phase;
use super::follower::Follower;
use super::http::Deck;
use super::latency::{Latency, Traffic};
use super::load::closed_loop;
use super::server::{Bed, WEBHOOK_SECRET};
use super::stats::{Spread, millis};
use super::{Failure, GRACE, Plan};

/// What each has missed.
const MISSED: u32 = 30;

/// So many senders write that down.
const SENDERS: u32 = 4;

const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Everybody comes back.
#[derive(Debug, Serialize)]
pub struct Storm {
    /// How many there were.
    pub sockets: u32,
    /// How many events each had missed.
    pub missed: u32,
    /// From the first attempt until the server has greeted them all.
    pub greeted_ms: f64,
    /// From the first attempt until all have heard everything.
    pub caught_up_ms: f64,
    /// Live events of another app that were due meanwhile.
    pub live_meanwhile: Option<Spread>,
    /// Those that were due after it.
    pub live_afterwards: Option<Spread>,
    /// All of them.
    pub live: Latency,
    /// The most resident memory that the restarted server has had, in bytes.
    pub peak_bytes: u64,
    /// Deliveries that did not come.
    pub lost: u64,
    /// Deliveries too many.
    pub duplicated: u64,
    /// Sockets that the server closed.
    pub closed: u32,
}

/// Runs it.
pub(crate) async fn measure(plan: &Plan, bed: &mut Bed) -> Result<Storm, Failure> {
    let app = bed.app("bench storm").await?;
    let deck = Arc::new(Deck::sign(bed.addr, &app.app_id, WEBHOOK_SECRET, MISSED / Phase::ALL.len() as u32));
    let before = Crowd::open(bed.addr, &app.api_key, plan.storm).await?;
    let follower = Follower::open(bed.addr, &app.api_key).await?;
    let told = closed_loop(deck, &Phase::ALL, SENDERS, TIME_LIMIT).await?;
    let written = follower.finish(told.count).await?.audit(&told.acknowledged);
    let missed = u32::try_from(told.count)?;

    bed.kill_and_restart().await?;
    drop(before);
    let mut traffic = Box::pin(Traffic::prepare(plan, bed).await?.run());
    let began = Instant::now();
    let come = Come { size: plan.storm, at_once: plan.storm as usize, query: "?after=0".into() };
    let storming = async {
        let crowd = Crowd::come(bed.addr, &app.api_key, &come).await?;
        let greeted = began.elapsed();
        crowd.received(u64::from(plan.storm) * u64::from(missed)).await;
        Ok::<_, Failure>((crowd, greeted))
    };
    // The traffic goes on when the storm is over; it fails early if it fails.
    let (stormed, lived) = tokio::join!(storming, &mut traffic);
    let ((crowd, greeted), lived) = (stormed?, lived?);
    let (_, over) = crowd.arrivals();
    sleep(GRACE).await;
    let (lost, duplicated) = crowd.lost_and_duplicated(missed);
    Ok(Storm {
        sockets: plan.storm,
        missed,
        greeted_ms: millis(greeted),
        caught_up_ms: millis(over.saturating_duration_since(began)),
        live_meanwhile: lived.spread(|due| due <= over),
        live_afterwards: lived.spread(|due| due > over),
        peak_bytes: bed.peak_bytes()?,
        lost: lost + written.faults() + told.refusals(),
        duplicated,
        closed: crowd.closed(),
        live: Latency { spread: lived.spread(|_| true), ..lived.figures },
    })
}
