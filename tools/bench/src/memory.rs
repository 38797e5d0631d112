//! Measures the resident memory per idle session and per live call.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use super::Failure;
use super::Plan;
use super::audit::Audit;
use super::events::Phase;
use super::follower::Follower;
use super::http::RequestDeck;
use super::load::closed_loop;
use super::server::{ServerUnderTest, WEBHOOK_SECRET};
use super::socket_pool::SocketPool;

/// Sessions and calls of the warm-up: they fill pools, caches and tables that exist only once.
const WARM_SESSIONS: u32 = 500;
const WARM_CALLS: u32 = 5_000;
const CALLS: u32 = 20_000;

/// How long to wait for memory that is freed late.
const SETTLE: Duration = Duration::from_secs(2);

/// A load that takes longer has failed.
const LOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// Resident memory of the server's process.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// Right after the start, in bytes.
    pub start_bytes: u64,
    /// The number of idle sessions, without the warm-up.
    pub sessions: u32,
    /// With all idle sessions open, in bytes.
    pub with_sessions_bytes: u64,
    /// Growth per idle session, in bytes.
    pub bytes_per_session: i64,
    /// The number of ringing calls, without the warm-up.
    pub calls: u32,
    /// Growth per ringing call, in bytes.
    pub bytes_per_call: i64,
    /// Faults of delivery over all calls, including the warm-up.
    pub audit: Audit,
    /// Webhooks that were not acknowledged.
    pub refused: u64,
}

/// Runs the measure.
pub(crate) async fn measure(plan: &Plan, server: &ServerUnderTest) -> Result<Memory, Failure> {
    let start_bytes = server.resident_bytes()?;
    // The warm-up uses another app, so that the measured app can have its maximum of sessions. All sessions stay open to the
    // end: memory that they freed would be reused by the calls.
    let warm = server.app("bench first sessions").await?;
    let _warm = SocketPool::open(server.addr, &warm.api_key, WARM_SESSIONS).await?;
    let idle = server.app("bench idle sessions").await?;
    let before = settled(server).await?;
    let _counted = SocketPool::open(server.addr, &idle.api_key, plan.idle).await?;
    let with_sessions = settled(server).await?;
    let bytes_per_session = (with_sessions - before) / i64::from(plan.idle);

    let (warm_audit, warm_refused) = ring(plan, server, WARM_CALLS).await?;
    let before = settled(server).await?;
    let (audit, refused) = ring(plan, server, CALLS).await?;
    let bytes_per_call = (settled(server).await? - before) / i64::from(CALLS);

    Ok(Memory {
        start_bytes,
        sessions: plan.idle,
        with_sessions_bytes: with_sessions.cast_unsigned(),
        bytes_per_session,
        calls: CALLS,
        bytes_per_call,
        audit: warm_audit + audit,
        refused: warm_refused + refused,
    })
}

/// Lets calls of a new app ring and waits until all events have arrived.
async fn ring(plan: &Plan, server: &ServerUnderTest, calls: u32) -> Result<(Audit, u64), Failure> {
    let app = server.app("bench calls").await?;
    let deck = Arc::new(RequestDeck::sign(server.addr, &app.app_id, WEBHOOK_SECRET, calls));
    let follower = Follower::open(server.addr, &app.api_key).await?;
    let posted = closed_loop(deck, &[Phase::Ring], plan.connections, LOAD_TIMEOUT).await?;
    let record = follower.finish(posted.count).await?;
    Ok((record.audit(&posted.acknowledged), posted.refusals()))
}

async fn settled(server: &ServerUnderTest) -> Result<i64, Failure> {
    sleep(SETTLE).await;
    Ok(i64::try_from(server.resident_bytes()?)?)
}
