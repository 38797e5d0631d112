//! The apps of this process, and what they share. Background tasks hold this and not the engine.

use std::sync::Arc;

use chrono::TimeDelta;
use dashmap::DashMap;
use metrics::counter;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    arbiters::Arbiters,
    owned_apps::OwnedApps,
    tenant::{SupervisorSetup, Tenant},
    token_refresher::FeedUpdate,
};
use crate::{
    app::{MissingLegReporter, PipelineTuning, ProcessCalls, SupervisorStats},
    consumer::{Consumers, CursorStore},
    error::StoreError,
    event::Frame,
    feed::{Announcements, Feed},
    id::{AppId, Seq},
    ports::{Authenticator, Ports},
    session::{Sessions, TenantDirectory, TenantHandle},
    state::{EngineState, SupervisorState, TokenRefresherState},
    tuning::Tuning,
};

/// How many feeds are read at a time because another process has announced new events: half of what may read.
const MAX_TAIL_READERS: usize = 4;

/// The registry of apps. An app is entered when it is first named.
pub(super) struct Tenants {
    ports: Ports,
    apps: DashMap<AppId, Arc<Tenant>>,
    owned: Arc<OwnedApps>,
    arbiters: Arc<Arbiters>,
    max_sessions_per_app: usize,
    process_calls: ProcessCalls,
    /// Limits how many readers read old events from the store at a time, over all feeds.
    store_readers: Arc<Semaphore>,
    /// Limits how many feeds are read at a time because another process has announced new events.
    tail_readers: Arc<Semaphore>,
    announcements: Arc<Announcements>,
    /// Notified when the session watch is to look at once.
    watch_now: Notify,
    cursor_store: Arc<CursorStore>,
    missing_legs: MissingLegReporter,
    pipeline_tuning: PipelineTuning,
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
        let announcements = Arc::<Announcements>::default();
        Arc::new(Self {
            cursor_store: CursorStore::new(
                Arc::clone(&ports.log),
                Arc::clone(&ports.clock),
                Arc::clone(&announcements),
            ),
            ports,
            apps: DashMap::new(),
            owned: Arc::new(OwnedApps::new(tuning.owned)),
            arbiters,
            max_sessions_per_app: tuning.max_sessions_per_app,
            process_calls: ProcessCalls::new(tuning.max_call_actors),
            store_readers: Arc::new(Semaphore::new(tuning.max_store_readers.max(1))),
            tail_readers: Arc::new(Semaphore::new(MAX_TAIL_READERS)),
            announcements,
            watch_now: Notify::new(),
            missing_legs,
            pipeline_tuning: PipelineTuning {
                settle: TimeDelta::from_std(tuning.interaction_settle).unwrap_or(TimeDelta::MAX),
                min_ahead: tuning.min_ahead,
            },
            stopping,
        })
    }

    pub(super) fn ports(&self) -> &Ports {
        &self.ports
    }

    pub(super) fn cursor_store(&self) -> &CursorStore {
        &self.cursor_store
    }

    pub(super) fn announcements(&self) -> &Arc<Announcements> {
        &self.announcements
    }

    /// What makes the session watch look at once.
    pub(super) fn watch_now(&self) -> &Notify {
        &self.watch_now
    }

    /// Lets the sessions of an app have what another process has emitted, up to this event.
    pub(super) fn follow(&self, app: AppId, newest: Seq) {
        let Some(tenant) = self.get(app) else { return };
        let TenantHandle { feed, follower, log, sessions, .. } = &*tenant.handle;
        if !sessions.is_empty() {
            follower.follow(feed, log, &self.tail_readers, newest);
        }
    }

    /// Returns an app, which is entered where it is new.
    pub(super) fn of(&self, app: AppId) -> Arc<Tenant> {
        if let Some(tenant) = self.apps.get(&app) {
            return Arc::clone(&tenant);
        }
        Arc::clone(&self.apps.entry(app).or_insert_with(|| self.start(app)))
    }

    /// Returns an app that this process owns, which is entered where it is new.
    pub(super) fn owned(&self, app: AppId) -> Option<Arc<Tenant>> {
        self.owned.fence(app).map(|_| self.of(app))
    }

    pub(super) fn owned_apps(&self) -> &OwnedApps {
        &self.owned
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
    pub(super) fn with_sessions(&self) -> Vec<Arc<TenantHandle>> {
        let handles = self.apps.iter().map(|tenant| Arc::clone(&tenant.handle));
        handles.filter(|handle| !handle.sessions.is_empty()).collect()
    }

    /// Publishes events that are durable to the sessions of an app.
    pub(super) fn publish(&self, app: AppId, frames: Vec<Frame>) {
        for frame in &frames {
            counter!("cti_events_emitted_total", "type" => frame.event_type.to_string()).increment(1);
        }
        self.of(app).handle.feed.publish(frames);
    }

    /// Applies what a renewal of tokens changes in the feed of an app.
    pub(super) fn update_feed(&self, app: AppId, update: FeedUpdate) {
        match update {
            FeedUpdate::Events(frames) => self.publish(app, frames),
            FeedUpdate::Bounds(bounds) => {
                let feed = &self.of(app).handle.feed;
                feed.observe(feed.known(), bounds.epoch, bounds.head);
            }
        }
    }

    pub(super) fn state(&self, token_refresher: TokenRefresherState) -> EngineState {
        let tenants = self.all();
        let mut apps: Vec<SupervisorState> = tenants.iter().map(|tenant| tenant.state()).collect();
        apps.sort_by_key(|app| app.app_id);
        EngineState {
            sessions: apps.iter().map(|app| app.sessions).sum(),
            apps,
            consumers: tenants.iter().map(|tenant| tenant.handle.consumers.held()).sum(),
            token_refresher,
        }
    }

    /// Writes the cursors of all named consumers. When this returns, they are durable.
    pub(super) async fn flush_cursors(&self) -> Result<(), StoreError> {
        let consumers = self.held_consumers();
        self.cursor_store.flush(&consumers.iter().map(|of_app| &**of_app).collect::<Vec<_>>()).await
    }

    /// Ends the connections of consumers that another process has taken over.
    pub(super) async fn evict_lost_consumers(&self) -> Result<(), StoreError> {
        self.cursor_store.evict_lost(&self.held_consumers()).await
    }

    fn held_consumers(&self) -> Vec<Arc<Consumers>> {
        let all = self.apps.iter().map(|tenant| Arc::clone(&tenant.handle.consumers));
        all.filter(|consumers| !consumers.is_idle()).collect()
    }

    fn start(&self, app_id: AppId) -> Arc<Tenant> {
        let sessions = Sessions::new(self.max_sessions_per_app);
        let log = Arc::clone(&self.ports.log);
        let cursor_store = Arc::clone(&self.cursor_store);
        let handle = Arc::new(TenantHandle {
            app_id,
            feed: Feed::sharing(app_id, &self.store_readers, &self.announcements),
            follower: Arc::default(),
            consumers: Consumers::new(app_id, Arc::clone(&log), sessions.clone(), cursor_store),
            log,
            sessions,
        });
        let setup = SupervisorSetup {
            app_id,
            ports: self.ports.clone(),
            feed: Arc::clone(&handle.feed),
            missing_legs: self.missing_legs.clone(),
            arbiter: self.arbiters.of(app_id),
            tuning: self.pipeline_tuning,
            stats: Arc::new(SupervisorStats::new(self.process_calls.clone())),
        };
        Tenant::new(handle, setup, Arc::clone(&self.owned), self.stopping.child_token())
    }
}

impl TenantDirectory for Tenants {
    fn tenant(&self, app: AppId) -> Arc<TenantHandle> {
        Arc::clone(&self.of(app).handle)
    }

    fn authenticator(&self) -> Arc<dyn Authenticator> {
        Arc::clone(&self.ports.gate)
    }
}
