//! The apps of this process, and what they share. Background tasks hold this and not the engine.

use std::sync::Arc;

use dashmap::DashMap;
use metrics::counter;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    arbiters::Arbiters,
    tenant::{SupervisorSetup, Tenant},
};
use crate::{
    app::MissingLegReporter,
    consumer::{Consumers, CursorStore},
    error::StoreError,
    event::Frame,
    feed::Feed,
    id::AppId,
    ports::Ports,
    session::Sessions,
    tuning::Tuning,
};

/// The registry of apps. An app is entered when it is first named.
pub(super) struct Tenants {
    ports: Ports,
    apps: DashMap<AppId, Arc<Tenant>>,
    arbiters: Arc<Arbiters>,
    max_sessions_per_app: usize,
    /// Limits how many readers read old events from the store at a time, over all feeds.
    store_readers: Arc<Semaphore>,
    cursor_store: Arc<CursorStore>,
    missing_legs: MissingLegReporter,
    stopping: CancellationToken,
}

impl Tenants {
    pub(super) fn new(
        ports: Ports,
        tuning: Tuning,
        arbiters: Arc<Arbiters>,
        missing_legs: MissingLegReporter,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            cursor_store: CursorStore::new(Arc::clone(&ports.log), Arc::clone(&ports.clock)),
            ports,
            apps: DashMap::new(),
            arbiters,
            max_sessions_per_app: tuning.max_sessions_per_app,
            store_readers: Arc::new(Semaphore::new(tuning.max_store_readers.max(1))),
            missing_legs,
            stopping,
        })
    }

    pub(super) fn ports(&self) -> &Ports {
        &self.ports
    }

    pub(super) fn cursor_store(&self) -> &CursorStore {
        &self.cursor_store
    }

    /// Returns an app, which is entered where it is new.
    pub(super) fn of(&self, app: AppId) -> Arc<Tenant> {
        if let Some(tenant) = self.apps.get(&app) {
            return Arc::clone(&tenant);
        }
        Arc::clone(&self.apps.entry(app).or_insert_with(|| self.start(app)))
    }

    /// Returns an app, if it was entered.
    pub(super) fn get(&self, app: AppId) -> Option<Arc<Tenant>> {
        self.apps.get(&app).map(|tenant| Arc::clone(&tenant))
    }

    /// Takes an app out of the registry.
    pub(super) fn remove(&self, app: AppId) -> Option<Arc<Tenant>> {
        self.apps.remove(&app).map(|(_, tenant)| tenant)
    }

    pub(super) fn all(&self) -> Vec<Arc<Tenant>> {
        self.apps.iter().map(|tenant| Arc::clone(&tenant)).collect()
    }

    /// Returns the apps that have open sessions.
    pub(super) fn with_sessions(&self) -> Vec<Arc<Tenant>> {
        let mut tenants = self.all();
        tenants.retain(|tenant| !tenant.sessions.is_empty());
        tenants
    }

    /// Publishes events that are durable to the sessions of an app.
    pub(super) fn publish(&self, app: AppId, frames: Vec<Frame>) {
        for frame in &frames {
            counter!("cti_events_emitted_total", "type" => frame.kind.clone()).increment(1);
        }
        self.of(app).feed.publish(frames);
    }

    /// Writes the cursors of all named consumers. When this returns, they are durable.
    pub(super) async fn flush_cursors(&self) -> Result<(), StoreError> {
        let consumers = self.held_consumers();
        self.cursor_store.keep(&consumers.iter().map(|of_app| &**of_app).collect::<Vec<_>>()).await
    }

    /// Ends the connections of consumers that another process has taken over.
    pub(super) async fn evict_lost_consumers(&self) -> Result<(), StoreError> {
        self.cursor_store.evict_lost(&self.held_consumers()).await
    }

    fn held_consumers(&self) -> Vec<Arc<Consumers>> {
        let all = self.apps.iter().map(|tenant| Arc::clone(&tenant.consumers));
        all.filter(|consumers| !consumers.is_idle()).collect()
    }

    fn start(&self, app_id: AppId) -> Arc<Tenant> {
        let feed = Feed::beside(app_id, &self.store_readers);
        let sessions = Sessions::new(self.max_sessions_per_app);
        let log = Arc::clone(&self.ports.log);
        let consumers = Consumers::new(app_id, log, Arc::clone(&sessions), Arc::clone(&self.cursor_store));
        let setup = SupervisorSetup {
            app_id,
            ports: self.ports.clone(),
            feed,
            missing_legs: self.missing_legs.clone(),
            arbiter: self.arbiters.of(app_id),
            inbox: Arc::default(),
            awake: Arc::default(),
        };
        Tenant::start(setup, sessions, consumers, self.stopping.child_token())
    }
}
