//! The canary: a webhook of the server's own that takes the path of every webhook at short intervals, so that somebody
//! notices a path that is broken before a call does. It is signed and verified, read, routed, processed by the engine,
//! committed, and awaited in the feed.
//!
//! It belongs to a hidden app ([`AppId::CANARY`]), is counted in no other metric, and leaves nothing behind.

use std::{sync::Arc, time::Duration};

use actix_web::web::Data;
use cti_actors::{
    Stored,
    error::StoreError,
    event::Filter,
    feed::FeedReader,
    id::{AppId, JournalId, Seq},
    session::CloseCode,
};
use metrics::{Counter, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use parking_lot::Mutex;
use secrecy::SecretString;
use serde_json::json;
use tokio::time::{Instant, interval, timeout};

use super::store_one;
use crate::{
    http::state::AppState,
    jobs::periodic::{every_after, periodic},
    store::canary::CanaryRun,
    webhook::{
        new_webhook::NewWebhook,
        payload,
        routing::{self, Addressee, Route},
        signature,
    },
};

/// How long a run may take: Dialpad waits as long for an answer.
const RUN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the feed is compared with the database: another process may have emitted the event.
const FEED_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How the canary is.
#[derive(Debug, Default)]
pub struct CanaryVerdict {
    /// Why the last run failed.
    problem: Mutex<Option<String>>,
}

impl CanaryVerdict {
    /// Returns why the last run failed, if it did.
    pub(in crate::http) fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }
}

/// Lets the canary run at these intervals and never returns.
pub(crate) async fn run(state: Data<AppState>, interval: Duration) {
    periodic("canary", every_after(interval), state, |state| {
        Box::pin(async move {
            let done = run_once(state).await;
            outcome(done.is_ok()).increment(1);
            *state.canary.problem.lock() = done.clone().err();
            done
        })
    })
    .await;
}

async fn run_once(state: &AppState) -> Result<(), String> {
    if let Some(problem) = state.spool.database_problem() {
        return Err(problem);
    }
    let began = Instant::now();
    let mut stored = None;
    let done = match timeout(RUN_TIMEOUT, walk(state, &mut stored)).await {
        Ok(done) => done,
        Err(_) if stored.is_none() => Err("a webhook was not stored within 5 s".to_owned()),
        Err(_) => Err("the event of a webhook did not come within 5 s".to_owned()),
    };
    // Before the rows: nothing may remember what is removed.
    state.engine.remove_app(AppId::CANARY, CloseCode::GoingAway, "the canary is back").await;
    let run = done?;
    histogram!("cti_canary_seconds").record(began.elapsed());
    gauge!("cti_canary_last_success_timestamp_seconds")
        .set(state.clock.now().timestamp_millis() as f64 / 1000.0);
    state.store.canary().clear(run).await.map_err(|failure| failure.to_string())
}

/// Takes the whole path. Sets `stored` on the way.
async fn walk(state: &AppState, stored: &mut Option<JournalId>) -> Result<CanaryRun, String> {
    let failed = |failure: StoreError| failure.to_string();
    if state.store.canary().prepare().await.map_err(failed)? {
        state.cluster.created(AppId::CANARY);
    }
    let (feed, bounds) = state.engine.feed(AppId::CANARY).await.map_err(failed)?;
    let log = Arc::clone(&state.engine.ports().log);
    let mut reader = FeedReader::new(feed, log, bounds.head, Filter::default());

    let call = 1 + i64::from(rand::random::<u32>()) * i64::from(u16::MAX) + i64::from(rand::random::<u16>());
    let received_at = state.clock.now();
    let body = json!({
        "event_type": "call.ended", "call_id": call, "direction": "inbound", "timestamp": received_at.timestamp(),
    });
    let body = body.to_string();
    let secret = SecretString::from(hex::encode(rand::random::<[u8; 32]>()));
    let header = signature::sign(body.as_bytes(), &secret);
    let verified = signature::verify(body.as_bytes(), Some(&header), &[secret])
        .map_err(|_| "the signature of a webhook could not be verified".to_owned())?;
    let reading = payload::read_webhook(&verified, received_at);
    let route = Route { app_id: AppId::CANARY, is_active: true };
    let addressee = Addressee::App { route, organization: None };
    let destination = routing::route(&reading, &addressee).pop().ok_or("a webhook was routed nowhere")?;
    let webhook = NewWebhook::new(&reading, destination, verified.into(), received_at);
    let webhook = match store_one(state, webhook).await.map_err(failed)? {
        Stored::New(id) | Stored::Duplicate(id) => id,
    };
    *stored = Some(webhook);
    let seq = event_of(call, &mut reader, state).await?;
    Ok(CanaryRun { webhook: webhook.into(), call, seq: seq.0 })
}

/// Waits for the event of a call.
async fn event_of(call: i64, reader: &mut FeedReader, state: &AppState) -> Result<Seq, String> {
    let name = format!("\"dialpad_call_id\":{call},");
    let mut checks = interval(FEED_CHECK_INTERVAL);
    loop {
        let batch = tokio::select! {
            batch = reader.next() => batch,
            _ = checks.tick() => {
                // What it returns is of no interest: the reader follows the feed.
                state.engine.feed(AppId::CANARY).await.map_err(|failure| failure.to_string())?;
                continue;
            }
        };
        let batch = batch.map_err(|failure| failure.to_string())?.ok_or("the feed has ended")?;
        if let Some(frame) = batch.frames.iter().find(|frame| frame.text.contains(&name)) {
            return Ok(frame.seq);
        }
        // The canary of another process may have removed it together with its own.
        if batch.gap.is_some() {
            return Ok(batch.cursor);
        }
    }
}

fn outcome(is_ok: bool) -> Counter {
    counter!("cti_canary_runs_total", "outcome" => if is_ok { "ok" } else { "failed" })
}

/// Registers the metrics, every series with 0.
pub(in crate::http) fn register_metrics() {
    describe_counter!("cti_canary_runs_total", "Webhooks of the server's own that took the whole path");
    for is_ok in [true, false] {
        outcome(is_ok).absolute(0);
    }
    describe_histogram!(
        "cti_canary_seconds",
        "Time from a webhook of the server's own to its event in the feed"
    );
    let _ = histogram!("cti_canary_seconds");
    describe_gauge!(
        "cti_canary_last_success_timestamp_seconds",
        "When the canary last came through, in Unix time; 0 before the first time"
    );
    gauge!("cti_canary_last_success_timestamp_seconds").set(0.0);
}
