//! Plays flows: calls begin at a steady rate and overlap, while the steps of each call stay strictly in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix_web::web;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::clock;
use super::dispatch::{Dispatch, Recipients};
use super::flow_request::{FlowChoice, FlowRequest};
use super::flows::{self, Family, Flow, FlowOptions, Overrides, Playback};
use super::{State, lock};

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Calls (or text exchanges) that began.
    pub calls_started: u64,
    /// Calls whose last step was delivered or given up.
    pub calls_finished: u64,
    /// Webhooks that were sent, each counted once for each receiver.
    pub sent: u64,
    /// Webhooks that were answered with a 2xx.
    pub acknowledged: u64,
    /// Webhooks that were given up.
    pub failed: u64,
    /// Whether nothing more will happen.
    pub done: bool,
}

/// One request for flows while it is played, and afterwards.
pub(crate) struct Run {
    pub(crate) id: String,
    calls_started: AtomicU64,
    calls_finished: AtomicU64,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    done: AtomicBool,
}

impl Run {
    pub(crate) fn new(id: String) -> Self {
        Self {
            id,
            calls_started: AtomicU64::new(0),
            calls_finished: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            done: AtomicBool::new(false),
        }
    }

    /// A webhook was sent to a receiver.
    pub(crate) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::AcqRel);
    }

    /// It was answered with a 2xx.
    pub(crate) fn acknowledged(&self) {
        self.acknowledged.fetch_add(1, Ordering::AcqRel);
    }

    /// It was given up.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn progress(&self) -> Progress {
        // `done` is read first and set last: whoever sees it also sees the final counts.
        let done = self.done.load(Ordering::Acquire);
        Progress {
            calls_started: self.calls_started.load(Ordering::Acquire),
            calls_finished: self.calls_finished.load(Ordering::Acquire),
            sent: self.sent.load(Ordering::Acquire),
            acknowledged: self.acknowledged.load(Ordering::Acquire),
            failed: self.failed.load(Ordering::Acquire),
            done,
        }
    }
}

/// Plays a request to its end.
pub(crate) async fn play_run(state: web::Data<State>, run: Arc<Run>, request: Arc<FlowRequest>, seed: u64) {
    if request.wait_for_subscriber {
        let mut enabled_subscriptions = state.enabled_subscriptions.subscribe();
        // An error means that the simulator is going away, and this task with it.
        let _ = enabled_subscriptions.wait_for(|count| *count > 0).await;
    }
    let began = Instant::now();
    let mut calls = JoinSet::new();
    for index in 0..request.calls.unwrap_or(u64::MAX) {
        #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 calls")]
        let due = began + Duration::from_secs_f64(index as f64 / request.rate);
        sleep_until(due).await;
        run.calls_started.fetch_add(1, Ordering::AcqRel);
        calls.spawn(play_call(state.clone(), run.clone(), request.clone(), call_seed(seed, index)));
        // An endless run must not keep what has ended.
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
    run.done.store(true, Ordering::Release);
}

/// A call that was placed over the API.
pub(crate) struct PlacedCall {
    pub(crate) company_id: i64,
    pub(crate) seed: u64,
    /// Its life has its pace already.
    pub(crate) playback: Playback,
    /// How long it waits before it begins.
    pub(crate) after: Duration,
}

/// Plays a call that was placed over the API. `first_delivered` hears when its first webhook was delivered.
pub(crate) async fn play_placed_call(
    state: web::Data<State>,
    run: Arc<Run>,
    placed: PlacedCall,
    first_delivered: Option<oneshot::Sender<()>>,
) {
    sleep(placed.after).await;
    run.calls_started.fetch_add(1, Ordering::AcqRel);
    let recipients = Recipients::Subscribers(placed.company_id);
    let dispatch = Dispatch::new(&state, &run, recipients, placed.seed);
    play(&state, placed.company_id, placed.playback, 1.0, dispatch, first_delivered).await;
    run.calls_finished.fetch_add(1, Ordering::AcqRel);
    run.done.store(true, Ordering::Release);
}

async fn play_call(state: web::Data<State>, run: Arc<Run>, request: Arc<FlowRequest>, seed: u64) {
    let flow = match request.flow {
        FlowChoice::Single(flow) => flow,
        FlowChoice::Mixed => drawn(seed),
    };
    let company_id = request.company_id.unwrap_or_else(|| state.company_id());
    let natural = flows::duration(flow, request.family, seed);
    let options = FlowOptions {
        start: flows::start_for(clock::now(), natural, request.pace),
        organization_id: organization(company_id, &request),
        media_base: state.base_url.clone(),
        time_scale: 1.0,
        overrides: Overrides::default(),
    };
    let playback = Playback::new(flow, request.family, seed, options);
    let recipients = match &request.target {
        Some(target) => Recipients::Target(target),
        None => Recipients::Subscribers(company_id),
    };
    let dispatch = Dispatch::new(&state, &run, recipients, seed);
    play(&state, company_id, playback, request.pace, dispatch, None).await;
    run.calls_finished.fetch_add(1, Ordering::AcqRel);
}

/// Plays one call to its end, or until somebody hangs up. `first_delivered` hears when the first webhook was delivered.
async fn play(
    state: &State,
    company_id: i64,
    mut playback: Playback,
    pace: f64,
    mut dispatch: Dispatch<'_>,
    mut first_delivered: Option<oneshot::Sender<()>>,
) {
    let hang_up = Arc::new(Notify::new());
    let mut began = Instant::now();
    let mut elapsed = Duration::ZERO;
    while let Some(after) = playback.wait() {
        // Counted from the beginning of the call: a slow receiver does not make the call longer.
        let due = began + (elapsed + after).mul_f64(pace);
        tokio::select! {
            biased;
            () = hang_up.notified() => if playback.hang_up(clock::now()) {
                // What follows is counted from here.
                (began, elapsed) = (Instant::now(), Duration::ZERO);
            } else {
                continue;
            },
            () = sleep_until(due) => elapsed += after,
        }
        let Some(played) = playback.next() else { break };
        // The platform knows it before it expected_event it.
        if let Some(call) = &played.call {
            lock(&state.calls).record(company_id, call, &hang_up);
        }
        if let Some(webhook) = played.webhook {
            dispatch.submit(webhook).await;
        }
        if let Some(first_delivered) = first_delivered.take() {
            // Nobody listens any more where the caller has gone away.
            let _ = first_delivered.send(());
        }
    }
    dispatch.close().await;
}

/// Dialpad's own events never name the company.
fn organization(company_id: i64, request: &FlowRequest) -> Option<i64> {
    match request.family {
        Family::Dialpad => None,
        Family::Workflow => {
            let named = request.target.as_ref().and_then(|target| target.organization_id);
            Some(named.unwrap_or(company_id))
        }
    }
}

/// What a day at the company is made of, in percent.
const MIX: [(Flow, u32); 11] = [
    (Flow::Answered, 36),
    (Flow::Outbound, 20),
    (Flow::Missed, 12),
    (Flow::Hold, 8),
    (Flow::Voicemail, 8),
    (Flow::Queue, 5),
    (Flow::Message, 4),
    (Flow::Transfer, 3),
    (Flow::Park, 2),
    (Flow::WarmTransfer, 1),
    (Flow::Merge, 1),
];

fn drawn(seed: u64) -> Flow {
    let mut left = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x006d_6978).random_range(0..100);
    for (flow, share) in MIX {
        if left < share {
            return flow;
        }
        left -= share;
    }
    Flow::Answered
}

/// Spreads the seed of a run over its calls.
fn call_seed(seed: u64, index: u64) -> u64 {
    seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(17)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_mix_adds_up_and_every_flow_comes_up() {
        assert_eq!(MIX.iter().map(|(_, share)| share).sum::<u32>(), 100);
        let seen: HashSet<Flow> = (0..2_000).map(|index| drawn(call_seed(1, index))).collect();
        assert_eq!(seen.len(), Flow::ALL.len());
    }
}
