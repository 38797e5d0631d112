//! The one handle on the engine that the rest of the server sees.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Addr};
use chrono::TimeDelta;
use dashmap::DashMap;
use futures_util::future::join_all;
use tracing::warn;

use crate::{
    app::{AppSupervisor, Drain, Inbox, Pipeline, Wake},
    arbiters::Arbiters,
    error::StoreError,
    feed::Feed,
    id::AppId,
    ports::{Bounds, Clock, EventLog, Gate, Journal, Ledger, PendingEvent},
    session::Sessions,
};

/// Everything the engine needs from outside.
#[derive(Clone)]
pub struct Ports {
    /// The durable queue of webhooks.
    pub journal: Arc<dyn Journal>,
    /// Calls, messages and the unit of work.
    pub ledger: Arc<dyn Ledger>,
    /// What was told.
    pub log: Arc<dyn EventLog>,
    /// Who may listen.
    pub gate: Arc<dyn Gate>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// How the engine runs.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// How many threads the actors share.
    pub threads: usize,
    /// How often the journal is looked through for webhooks that nobody was woken for.
    pub sweep_every: Duration,
    /// How many sessions an app may have.
    pub sessions_per_app: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { threads: 1, sweep_every: Duration::from_secs(5), sessions_per_app: 10_000 }
    }
}

/// How old a pending webhook must be for the sweep to care: younger ones are on their way.
const SWEEP_AGE: TimeDelta = TimeDelta::seconds(1);

/// The engine. Cheap to share; every method may be called from any thread.
pub struct Engine {
    ports: Ports,
    tuning: Tuning,
    apps: DashMap<AppId, Arc<Tenant>>,
    arbiters: Arbiters,
    draining: AtomicBool,
}

/// What the engine keeps of one app.
struct Tenant {
    inbox: Arc<Mutex<Inbox>>,
    feed: Arc<Feed>,
    sessions: Arc<Sessions>,
    /// Whether a wake is on its way; at most one ever is.
    awake: Arc<AtomicBool>,
    /// Replaced when it has died.
    supervisor: Mutex<Addr<AppSupervisor>>,
}

impl Engine {
    /// Starts the engine and its sweep, which takes up whatever an earlier run left pending.
    ///
    /// # Panics
    /// Outside an actix system: the actors' threads belong to one.
    #[must_use]
    pub fn start(ports: Ports, tuning: Tuning) -> Arc<Self> {
        let arbiters = Arbiters::start(tuning.threads);
        let engine = Arc::new(Self {
            ports,
            tuning,
            apps: DashMap::new(),
            arbiters,
            draining: AtomicBool::new(false),
        });
        let sweeping = Arc::downgrade(&engine);
        actix_rt::spawn(async move {
            let mut ticks = tokio::time::interval(tuning.sweep_every);
            // The first tick is immediate. Nothing is on its way yet, so whatever is pending was left.
            let mut age = TimeDelta::zero();
            loop {
                ticks.tick().await;
                let Some(engine) = sweeping.upgrade() else { return };
                engine.sweep_older_than(age).await;
                age = SWEEP_AGE;
            }
        });
        engine
    }

    /// Hands over webhooks of an app that have just become durable in the journal, in its order.
    pub fn offer(&self, app: AppId, events: Vec<PendingEvent>) {
        let tenant = self.tenant(app);
        tenant.inbox.lock().unwrap_or_else(PoisonError::into_inner).offer(events);
        self.rouse(app, &tenant);
    }

    /// Says that the journal may hold pending webhooks of an app.
    pub fn wake(&self, app: AppId) {
        let tenant = self.tenant(app);
        tenant.inbox.lock().unwrap_or_else(PoisonError::into_inner).doubt();
        self.rouse(app, &tenant);
    }

    /// The feed of an app, up to date with the store, and what the store keeps of it.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn feed(&self, app: AppId) -> Result<(Arc<Feed>, Bounds), StoreError> {
        let feed = Arc::clone(&self.tenant(app).feed);
        let bounds = self.ports.log.bounds(app).await?;
        feed.advance(bounds.head);
        Ok((feed, bounds))
    }

    /// The open sessions of an app.
    #[must_use]
    pub fn sessions(&self, app: AppId) -> Arc<Sessions> {
        Arc::clone(&self.tenant(app).sessions)
    }

    /// Everything the engine was given.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Wakes every app that has had a webhook pending for longer than it should.
    pub async fn sweep(&self) {
        self.sweep_older_than(SWEEP_AGE).await;
    }

    async fn sweep_older_than(&self, age: TimeDelta) {
        let since = self.ports.clock.now() - age;
        match self.ports.journal.backlog(since).await {
            Ok(apps) => apps.into_iter().for_each(|app| self.wake(app)),
            Err(failure) => warn!(error = %failure, "the journal could not be swept"),
        }
    }

    /// Closes every session with this close code, for a planned stop.
    pub fn close_sessions(&self, code: u16, reason: &str) {
        for tenant in &self.apps {
            tenant.sessions.close_all(code, reason);
        }
    }

    /// How many sessions are open.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.apps.iter().map(|tenant| tenant.sessions.len()).sum()
    }

    /// Lets every app finish the batch it is at and begin no other. What is pending stays in the journal.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        let supervisors: Vec<_> = self.apps.iter().map(|tenant| tenant.supervisor()).collect();
        join_all(supervisors.iter().map(|supervisor| supervisor.send(Drain))).await;
    }

    /// Stops the actors' threads. The engine is of no use afterwards.
    pub fn stop(&self) {
        self.arbiters.stop();
    }

    fn rouse(&self, app: AppId, tenant: &Tenant) {
        let supervisor = tenant.supervisor();
        if !supervisor.connected() && !self.draining.load(Ordering::Acquire) {
            warn!(app.id = %app, "a supervisor had died and is started again");
            tenant.inbox.lock().unwrap_or_else(PoisonError::into_inner).doubt();
            let successor = self.supervisor(app, &tenant.inbox, &tenant.feed, &tenant.awake);
            tenant.awake.store(true, Ordering::Release);
            successor.do_send(Wake);
            *tenant.supervisor.lock().unwrap_or_else(PoisonError::into_inner) = successor;
        } else if !tenant.awake.swap(true, Ordering::AcqRel) {
            supervisor.do_send(Wake);
        }
    }

    fn tenant(&self, app: AppId) -> Arc<Tenant> {
        if let Some(tenant) = self.apps.get(&app) {
            return Arc::clone(&tenant);
        }
        let tenant = self.apps.entry(app).or_insert_with(|| {
            let (inbox, feed, awake) = (Arc::default(), Feed::new(app), Arc::default());
            let supervisor = Mutex::new(self.supervisor(app, &inbox, &feed, &awake));
            let sessions = Sessions::new(self.tuning.sessions_per_app);
            Arc::new(Tenant { inbox, feed, sessions, awake, supervisor })
        });
        Arc::clone(&tenant)
    }

    fn supervisor(
        &self,
        app: AppId,
        inbox: &Arc<Mutex<Inbox>>,
        feed: &Arc<Feed>,
        awake: &Arc<AtomicBool>,
    ) -> Addr<AppSupervisor> {
        let pipeline = Pipeline::new(app, self.ports.clone(), Arc::clone(inbox), Arc::clone(feed));
        let awake = Arc::clone(awake);
        AppSupervisor::start_in_arbiter(&self.arbiters.of(app), |_| AppSupervisor::new(pipeline, awake))
    }

    /// Makes the actor of a call panic, as a bug in it would; `false` when no such actor is awake.
    #[cfg(feature = "testing")]
    pub async fn crash_call(&self, app: AppId, call: crate::id::DialpadCallId) -> bool {
        let supervisor = self.tenant(app).supervisor();
        supervisor.send(crate::app::CrashCall(call)).await.unwrap_or(false)
    }
}

impl Tenant {
    fn supervisor(&self) -> Addr<AppSupervisor> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
