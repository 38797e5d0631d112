//! Measures what an idle session and an active call cost the server in resident memory.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use super::Failure;
use super::Plan;
use super::crowd::Crowd;
use super::events::Phase;
use super::follower::Follower;
use super::http::Deck;
use super::load::closed_loop;
use super::marks::Audit;
use super::server::{Bed, WEBHOOK_SECRET};

/// Sockets and calls come first that are not counted: they fill pools, caches and tables that are there only once.
const WARM_SESSIONS: u32 = 500;
const WARM_CALLS: u32 = 5_000;
const CALLS: u32 = 20_000;

/// What is freed late gets so long to be freed.
const SETTLE: Duration = Duration::from_secs(2);

/// Longer than any server that works needs for the calls.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// Resident memory of the server's process.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// Right after the start, in bytes.
    pub start_bytes: u64,
    /// The idle sessions that were counted.
    pub sessions: u32,
    /// With all idle sessions open, in bytes.
    pub with_sessions_bytes: u64,
    /// Growth by those that were counted, divided by their number.
    pub bytes_per_session: i64,
    /// The ringing calls that were counted.
    pub calls: u32,
    /// Growth by these, divided by their number.
    pub bytes_per_call: i64,
    /// What was lost or doubled of all calls, also of those that are not counted.
    pub audit: Audit,
    /// Webhooks that were not acknowledged.
    pub refused: u64,
}

/// Runs it.
pub(crate) async fn measure(plan: &Plan, bed: &Bed) -> Result<Memory, Failure> {
    let start_bytes = bed.resident_bytes()?;
    // Of another app, so that the counted ones may be as many as an app may have. All stay open to the end: memory that
    // they freed would be used again by the calls and hide these.
    let warm = bed.app("bench first sessions").await?;
    let _warm = Crowd::open(bed.addr, &warm.api_key, WARM_SESSIONS).await?;
    let idle = bed.app("bench idle sessions").await?;
    let before = settled(bed).await?;
    let _counted = Crowd::open(bed.addr, &idle.api_key, plan.idle).await?;
    let with_sessions = settled(bed).await?;
    let bytes_per_session = (with_sessions - before) / i64::from(plan.idle);

    let (warm_audit, warm_refused) = ring(plan, bed, WARM_CALLS).await?;
    let before = settled(bed).await?;
    let (audit, refused) = ring(plan, bed, CALLS).await?;
    let bytes_per_call = (settled(bed).await? - before) / i64::from(CALLS);

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

/// Lets so many calls of a new app ring and waits until all have been told.
async fn ring(plan: &Plan, bed: &Bed, calls: u32) -> Result<(Audit, u64), Failure> {
    let app = bed.app("bench calls").await?;
    let deck = Arc::new(Deck::sign(bed.addr, &app.app_id, WEBHOOK_SECRET, calls));
    let follower = Follower::open(bed.addr, &app.api_key).await?;
    let posted = closed_loop(deck, &[Phase::Ring], plan.connections, TIME_LIMIT).await?;
    let record = follower.finish(posted.count).await?;
    Ok((record.audit(&posted.acknowledged), posted.refusals()))
}

async fn settled(bed: &Bed) -> Result<i64, Failure> {
    sleep(SETTLE).await;
    Ok(i64::try_from(bed.resident_bytes()?)?)
}
