//! Plays flows: calls start at a steady rate and overlap, while the steps of each call stay in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix_web::web;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::clock;
use super::dispatch::{Dispatch, Recipients};
use super::flow_request::{FlowChoice, FlowRequest};
use super::flows::{self, Family, Flow, FlowOptions, Overrides, Playback};
use super::{State, lock};

/// The progress of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Calls (or text exchanges) that started.
    pub calls_started: u64,
    /// Calls whose last webhook was delivered or given up.
    pub calls_finished: u64,
    /// Webhooks that were sent, counted once per receiver.
    pub sent: u64,
    /// Webhooks that were answered with 2xx.
    pub acknowledged: u64,
    /// Webhooks that were given up.
    pub failed: u64,
    /// Whether the run has ended.
    pub done: bool,
}

/// One run of flows.
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

    /// Counts a webhook that was sent to a receiver.
    pub(crate) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a webhook that was answered with 2xx.
    pub(crate) fn acknowledged(&self) {
        self.acknowledged.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a webhook that was given up.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn progress(&self) -> Progress {
        // `done` is read first and set last: if it is set, the counts are final.
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

/// Plays a run to its end.
pub(crate) async fn play_run(state: web::Data<State>, run: Arc<Run>, request: Arc<FlowRequest>, seed: u64) {
    if request.wait_for_subscriber {
        let mut enabled_subscriptions = state.enabled_subscriptions.subscribe();
        // An error means that the simulator is stopping, and this task with it.
        let _ = enabled_subscriptions.wait_for(|count| *count > 0).await;
    }
    let started = Instant::now();
    let mut calls = JoinSet::new();
    for index in 0..request.calls.unwrap_or(u64::MAX) {
        #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 calls")]
        let due = started + Duration::from_secs_f64(index as f64 / request.rate);
        sleep_until(due).await;
        run.calls_started.fetch_add(1, Ordering::AcqRel);
        calls.spawn(play_call(state.clone(), run.clone(), request.clone(), call_seed(seed, index)));
        // An endless run must not keep the tasks that have ended.
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
    run.done.store(true, Ordering::Release);
}

/// A call that was placed over the API.
pub(crate) struct PlacedCall {
    pub(crate) company_id: i64,
    pub(crate) seed: u64,
    /// Its steps are already scaled by `placed_call_pace`.
    pub(crate) playback: Playback,
    /// The delay before it starts.
    pub(crate) after: Duration,
}

/// Plays a call that was placed over the API. `first_delivered` fires once its first webhook was delivered.
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
        FlowChoice::Mixed => pick_flow(seed),
    };
    let company_id = request.company_id.unwrap_or_else(|| state.company_id());
    let natural_duration = flows::duration(flow, request.family, seed);
    let options = FlowOptions {
        start: flows::start_for(clock::now(), natural_duration, request.pace),
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

/// Plays one call until it ends or is hung up. `first_delivered` fires once the first webhook was delivered.
async fn play(
    state: &State,
    company_id: i64,
    mut playback: Playback,
    pace: f64,
    mut dispatch: Dispatch<'_>,
    mut first_delivered: Option<oneshot::Sender<()>>,
) {
    // This end stays open, so that the receiver never ends.
    let (sender, mut commands) = mpsc::unbounded_channel();
    let mut started = Instant::now();
    let mut elapsed = Duration::ZERO;
    while let Some(after) = playback.wait() {
        // Due times count from the start of the call: a slow receiver does not make the call longer.
        let due = started + (elapsed + after).mul_f64(pace);
        tokio::select! {
            biased;
            Some(command) = commands.recv() => if playback.apply(command, clock::now()) {
                // The steps that follow count from here.
                (started, elapsed) = (Instant::now(), Duration::ZERO);
            } else {
                continue;
            },
            () = sleep_until(due) => elapsed += after,
        }
        let Some(played) = playback.next() else { break };
        // The REST API shows a step before its webhook is sent.
        if let Some(call) = &played.call {
            lock(&state.calls).record(company_id, call, &sender);
        }
        if let Some(webhook) = played.webhook {
            dispatch.submit(webhook).await;
        }
        if let Some(first_delivered) = first_delivered.take() {
            // The caller may have stopped waiting.
            let _ = first_delivered.send(());
        }
    }
    dispatch.close().await;
}

/// Returns the organization that payloads name: none in Dialpad's family, whose events never name the company.
fn organization(company_id: i64, request: &FlowRequest) -> Option<i64> {
    match request.family {
        Family::Dialpad => None,
        Family::Workflow => {
            let named = request.target.as_ref().and_then(|target| target.organization_id);
            Some(named.unwrap_or(company_id))
        }
    }
}

/// The mix of flows on an ordinary day, in percent.
const MIX: [(Flow, u32); 15] = [
    (Flow::Answered, 34),
    (Flow::Outbound, 17),
    (Flow::Missed, 12),
    (Flow::Hold, 8),
    (Flow::Voicemail, 8),
    (Flow::Queue, 5),
    (Flow::Message, 4),
    (Flow::Transfer, 3),
    (Flow::Park, 2),
    (Flow::WarmTransfer, 1),
    (Flow::Merge, 1),
    (Flow::Unanswered, 2),
    (Flow::Abandoned, 1),
    (Flow::QueueVoicemail, 1),
    (Flow::Blocked, 1),
];

fn pick_flow(seed: u64) -> Flow {
    let mut remaining = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x006d_6978).random_range(0..100);
    for (flow, percent) in MIX {
        if remaining < percent {
            return flow;
        }
        remaining -= percent;
    }
    Flow::Answered
}

/// Returns the seed of one call of a run.
fn call_seed(seed: u64, index: u64) -> u64 {
    seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(17)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_mix_adds_up_to_100_and_contains_every_flow() {
        assert_eq!(MIX.iter().map(|(_, percent)| percent).sum::<u32>(), 100);
        let seen: HashSet<Flow> = (0..2_000).map(|index| pick_flow(call_seed(1, index))).collect();
        assert_eq!(seen.len(), Flow::ALL.len());
    }
}
