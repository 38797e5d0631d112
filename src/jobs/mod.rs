//! Background work: what runs without a request. To add a job: write its `run` and a line in [`start`]. Of the processes
//! on one database, one does the job on `periodic_once`, and each of them the one on [`periodic`].

pub mod app_deletion;
mod numbers;
pub(crate) mod periodic;
pub mod person_erasure;
mod prune;
mod recovery;
mod reencrypt;
mod resolve_organizations;
pub mod unrouted;
mod webhooks;

use std::sync::Arc;

use cti_actors::{Engine, clock::Clock};

use self::app_deletion::AppDeletion;
use crate::{
    config::Config,
    dialpad::{api::Dialpad, webhooks::WebhookReconciler},
    recovery::{Recovery, missing_legs},
    store::Store,
    tasks::Tasks,
};

/// What the jobs work with.
pub(crate) struct Services {
    pub(crate) store: Store,
    pub(crate) engine: Arc<Engine>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dialpad: Dialpad,
    pub(crate) webhook_reconciler: WebhookReconciler,
    pub(crate) app_deletion: AppDeletion,
    pub(crate) recovery: Recovery,
}

/// Starts every job of a server that is listening.
pub(crate) fn start(tasks: &Tasks, config: &Config, services: Services) {
    let Services { store, engine, clock, dialpad, webhook_reconciler, app_deletion, recovery } = services;
    let interval = config.retention.interval;

    // What was missed while no server was listening.
    recovery::start(tasks, &recovery);
    if let Some(legs) = engine.missing_legs() {
        let state = (dialpad.clone(), store.clone(), legs);
        tasks.keep("request missing legs", state, |(dialpad, store, legs)| {
            Box::pin(missing_legs::run(dialpad, store, legs))
        });
    }

    // What Dialpad has to know, or to say.
    tasks.spawn(webhooks::run(store.clone(), webhook_reconciler));
    if let Some(key) = config.dialpad.api_key.clone() {
        let state = (store.clone(), Arc::clone(&engine), dialpad.client.clone(), key);
        tasks.keep("resolve the organization of the key", state, |(store, engine, client, key)| {
            Box::pin(resolve_organizations::of_static_key(store, engine, client, key))
        });
    }
    tasks.spawn(resolve_organizations::of_connections(store.clone(), Arc::clone(&engine), dialpad, interval));

    // What the database has to lose or to change.
    tasks.spawn(app_deletion.run());
    tasks.spawn(unrouted::run(store.clone(), engine, interval));
    tasks.spawn(prune::run(store.clone(), clock, config.retention));
    tasks.spawn(reencrypt::run(store.clone(), interval));
    tasks.spawn(numbers::run(store, interval));
}
