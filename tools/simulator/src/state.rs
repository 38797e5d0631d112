//! The state of the simulated Dialpad, shared by its HTTP worker and by the flows that run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::web;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::SimulatorOptions;
use super::call_log::CallLog;
use super::flow_request::{FlowRequest, InvalidFlowRequest};
use super::grants::Grants;
use super::rate_limiter::RateLimiter;
use super::registry::Registry;
use super::request_log::RequestLog;
use super::rest::records::Records;
use super::rest::share_links::ShareLinks;
use super::runs::{self, PlacedCall, Progress, Run};
use super::sender::WebhookSender;
use super::switches::Switches;

pub(crate) struct State {
    pub(crate) options: SimulatorOptions,
    /// The simulator's own address; links to recordings start with it.
    pub(crate) base_url: String,
    pub(crate) grants: Mutex<Grants>,
    pub(crate) registry: Mutex<Registry>,
    pub(crate) calls: Mutex<CallLog>,
    pub(crate) records: Mutex<Records>,
    pub(crate) share_links: Mutex<ShareLinks>,
    /// What was changed of each user's entry in the directory.
    pub(crate) user_settings: Mutex<HashMap<i64, Map<String, Value>>>,
    /// The caller id that each user chose.
    pub(crate) caller_ids: Mutex<HashMap<i64, String>>,
    /// Locked only to change a switch; readers call [`State::switches`].
    pub(crate) switches: Mutex<Switches>,
    pub(crate) requests: Mutex<RequestLog>,
    pub(crate) rate_limiter: Mutex<RateLimiter>,
    /// The HMAC key of the last link to a recording.
    pub(crate) blob_key: [u8; 32],
    pub(crate) sender: WebhookSender,
    /// The number of enabled subscriptions; runs with `wait_for_subscriber` watch it.
    pub(crate) enabled_subscriptions: watch::Sender<usize>,
    /// Every run since the start, ordered by number.
    runs: Mutex<Vec<Arc<Run>>>,
    /// The runtime of all flows and deliveries. A pooled connection must not outlive the runtime that opened it, so no
    /// delivery is spawned on an HTTP worker or on the caller's runtime.
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
            records: Mutex::default(),
            share_links: Mutex::default(),
            user_settings: Mutex::default(),
            caller_ids: Mutex::default(),
            requests: Mutex::default(),
            rate_limiter: Mutex::default(),
            blob_key: rand::random(),
            enabled_subscriptions: watch::Sender::new(0),
            runs: Mutex::default(),
            runtime,
        }
    }

    /// Returns a copy of the switches, so that their lock is not held while a request is handled.
    pub(crate) fn switches(&self) -> Switches {
        lock(&self.switches).clone()
    }

    /// Returns the company of new authorizations and flows.
    pub(crate) fn company_id(&self) -> i64 {
        self.switches().company_id.unwrap_or(self.options.company_id)
    }

    /// Publishes the number of enabled subscriptions to the runs that wait for one.
    pub(crate) fn publish_subscription_count(&self) {
        let count = lock(&self.registry).enabled_subscriptions();
        self.enabled_subscriptions.send_replace(count);
    }

    /// Starts a run and returns its id.
    pub(crate) fn play(state: &web::Data<Self>, request: FlowRequest) -> Result<String, InvalidFlowRequest> {
        request.check()?;
        let (run, run_seed) = state.new_run();
        let seed = request.seed.unwrap_or(run_seed);
        let id = run.id.clone();
        state.runtime.spawn(runs::play_run(state.clone(), run, Arc::new(request), seed));
        Ok(id)
    }

    /// Starts a call that was placed over the API. `first_delivered` fires once its first webhook was delivered.
    pub(crate) fn place(
        state: &web::Data<Self>,
        placed: PlacedCall,
        first_delivered: Option<oneshot::Sender<()>>,
    ) {
        let (run, _) = state.new_run();
        state.runtime.spawn(runs::play_placed_call(state.clone(), run, placed, first_delivered));
    }

    /// Returns the seed of the next run without starting it.
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

    /// Returns the progress of a run; `None` if there is no such run.
    pub(crate) fn progress(&self, run_id: &str) -> Option<Progress> {
        lock(&self.runs).iter().find(|run| run.id == run_id).map(|run| run.progress())
    }
}

/// Spreads the seeds of consecutive runs.
const SEED_STRIDE: u64 = 0xd1b5_4a32_d192_ed03;

/// Locks one part of the state. A part that a panicking handler left behind is consistent: every change is one insert,
/// remove or replace.
pub(crate) fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
