//! What the simulated Dialpad knows: its HTTP workers and the flows that are playing all see the same.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::web;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::SimulatorOptions;
use super::call_log::CallLog;
use super::flow_request::{FlowRequest, InvalidFlowRequest};
use super::grants::Grants;
use super::rate_limiter::RateLimiter;
use super::registry::Registry;
use super::request_log::RequestLog;
use super::runs::{self, PlacedCall, Progress, Run};
use super::sender::WebhookSender;
use super::switches::Switches;

pub(crate) struct State {
    pub(crate) options: SimulatorOptions,
    /// How the outside reaches the simulator; links to recordings begin with it.
    pub(crate) base_url: String,
    pub(crate) grants: Mutex<Grants>,
    pub(crate) registry: Mutex<Registry>,
    pub(crate) calls: Mutex<CallLog>,
    /// To be turned; whoever only reads them asks [`State::switches`].
    pub(crate) switches: Mutex<Switches>,
    pub(crate) requests: Mutex<RequestLog>,
    pub(crate) rate_limiter: Mutex<RateLimiter>,
    /// What signs the last link to a recording.
    pub(crate) blob_key: [u8; 32],
    pub(crate) sender: WebhookSender,
    /// How many enabled subscriptions there are; runs that wait for the first one watch it.
    pub(crate) enabled_subscriptions: watch::Sender<usize>,
    /// Every run since the start, in the order of their numbers.
    runs: Mutex<Vec<Arc<Run>>>,
    /// The runtime that all flows and deliveries live on. A pooled connection must not outlive the runtime that opened
    /// it, so none of them is spawned on an HTTP worker or on the caller's runtime.
    runtime: Handle,
}

impl State {
    pub(crate) fn new(options: SimulatorOptions, base_url: String, runtime: Handle) -> Self {
        Self {
            sender: WebhookSender::new(options.backoff.clone()),
            switches: Mutex::new(options.switches.clone()),
            options,
            base_url,
            grants: Mutex::default(),
            registry: Mutex::default(),
            calls: Mutex::default(),
            requests: Mutex::default(),
            rate_limiter: Mutex::default(),
            blob_key: rand::random(),
            enabled_subscriptions: watch::Sender::new(0),
            runs: Mutex::default(),
            runtime,
        }
    }

    /// How the switches stand now. A copy: nobody must hold their lock while the state does anything else.
    pub(crate) fn switches(&self) -> Switches {
        lock(&self.switches).clone()
    }

    /// The company that new authorisations and flows belong to.
    pub(crate) fn company_id(&self) -> i64 {
        self.switches().company_id.unwrap_or(self.options.company_id)
    }

    /// Tells waiting runs how many subscriptions are enabled now.
    pub(crate) fn publish_subscription_count(&self) {
        let count = lock(&self.registry).enabled_subscriptions();
        self.enabled_subscriptions.send_replace(count);
    }

    /// Begins a run and returns its id.
    pub(crate) fn play(state: &web::Data<Self>, request: FlowRequest) -> Result<String, InvalidFlowRequest> {
        request.check()?;
        let (run, run_seed) = state.new_run();
        let seed = request.seed.unwrap_or(run_seed);
        let id = run.id.clone();
        state.runtime.spawn(runs::play_run(state.clone(), run, Arc::new(request), seed));
        Ok(id)
    }

    /// Begins a call that was placed over the API. `first_delivered` hears when its first webhook was delivered.
    pub(crate) fn place(
        state: &web::Data<Self>,
        placed: PlacedCall,
        first_delivered: Option<oneshot::Sender<()>>,
    ) {
        let (run, _) = state.new_run();
        state.runtime.spawn(runs::play_placed_call(state.clone(), run, placed, first_delivered));
    }

    /// The seed of the next run, without beginning one.
    pub(crate) fn next_seed(&self) -> u64 {
        self.seed_of(lock(&self.runs).len() as u64 + 1)
    }

    fn new_run(&self) -> (Arc<Run>, u64) {
        let mut all = lock(&self.runs);
        let number = all.len() as u64 + 1;
        let run = Arc::new(Run::new(format!("run-{number}")));
        all.push(run.clone());
        (run, self.seed_of(number))
    }

    fn seed_of(&self, number: u64) -> u64 {
        self.options.seed.wrapping_add(number.wrapping_mul(SEED_STRIDE))
    }

    /// How far a run has come.
    pub(crate) fn progress(&self, run_id: &str) -> Option<Progress> {
        lock(&self.runs).iter().find(|run| run.id == run_id).map(|run| run.progress())
    }
}

/// Keeps the runs of neighbouring seeds apart.
const SEED_STRIDE: u64 = 0xd1b5_4a32_d192_ed03;

/// Locks one of the state's parts. What a panicking handler left behind is still whole: every change is one insert,
/// remove or replace.
pub(crate) fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
