//! The one handle on the engine that the rest of the server sees.

mod arbiters;
pub(crate) mod session_watch;
mod tenant;
pub(crate) mod token_refresher;

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicBool, Ordering},
};

use actix::{Actor, Addr};
use chrono::TimeDelta;
use dashmap::DashMap;
use futures_util::future::{join, join_all};
use metrics::counter;
use tokio::sync::{Semaphore, mpsc};
use tracing::warn;

use self::tenant::Tenant;
use crate::{
    app::Drain,
    consumer::{Consumers, CursorStore, flush_cursors},
    engine::{
        arbiters::Arbiters,
        session_watch::{Listened, watch},
        token_refresher::{Renew, Settle, Tend, TokenRefresher},
    },
    error::StoreError,
    event::Frame,
    feed::Feed,
    id::{AppId, DialpadCallId},
    model::token::{Outcome, TokenPair},
    ports::{Bounds, PendingEvent, Ports},
    session::{CloseCode, Sessions},
    tuning::Tuning,
};

/// An operator's leg that a group's leg names and that was never heard from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MissingLeg {
    /// Whose call it is.
    pub app_id: AppId,
    /// The operator's leg.
    pub call: DialpadCallId,
}

/// How many missing_legs legs wait to be asked for.
const MAX_MISSING_LEGS: usize = 1024;

/// How old a pending webhook must be for the sweep to care: younger ones are on their way.
const SWEEP_AGE: TimeDelta = TimeDelta::seconds(1);

/// The engine. Cheap to share; every method may be called from any thread.
pub struct Engine {
    ports: Ports,
    tuning: Tuning,
    apps: DashMap<AppId, Arc<Tenant>>,
    arbiters: Arbiters,
    /// The places of those who read the past.
    past: Arc<Semaphore>,
    /// Keeps the cursors of named consumers.
    cursor_store: Arc<CursorStore>,
    /// Replaced when it has died.
    refresher: Mutex<Addr<TokenRefresher>>,
    draining: AtomicBool,
    /// Legs that the supervisors miss.
    missing_legs: mpsc::Sender<MissingLeg>,
    /// Where they come out, until somebody listens.
    missing_legs_rx: Mutex<Option<mpsc::Receiver<MissingLeg>>>,
}

impl Engine {
    /// Starts the engine and its sweep, which takes up whatever an earlier run left pending.
    ///
    /// # Panics
    /// Outside an actix system: the actors' threads belong to one.
    #[must_use]
    pub fn start(ports: Ports, tuning: Tuning) -> Arc<Self> {
        let arbiters = Arbiters::start(tuning.threads);
        let (missing_legs, listener) = mpsc::channel(MAX_MISSING_LEGS);
        let engine = Arc::new_cyclic(|engine| Self {
            refresher: Mutex::new(refresher(&ports, tuning, &arbiters, engine.clone())),
            cursor_store: CursorStore::new(Arc::clone(&ports.log), Arc::clone(&ports.clock)),
            ports,
            tuning,
            apps: DashMap::new(),
            arbiters,
            past: Arc::new(Semaphore::new(tuning.max_store_readers.max(1))),
            draining: AtomicBool::new(false),
            missing_legs,
            missing_legs_rx: Mutex::new(Some(listener)),
        });
        actix_rt::spawn(watch(
            Arc::downgrade(&engine),
            tuning.session_watch_interval,
            tuning.stuck_session_timeout,
        ));
        actix_rt::spawn(flush_cursors(Arc::downgrade(&engine), Arc::clone(&engine.cursor_store)));
        let sweeping = Arc::downgrade(&engine);
        actix_rt::spawn(async move {
            let mut ticks = tokio::time::interval(tuning.sweep_interval);
            // The first tick is immediate. Nothing is on its way yet, so whatever is pending was left.
            let mut age = TimeDelta::zero();
            loop {
                ticks.tick().await;
                let Some(engine) = sweeping.upgrade() else { return };
                engine.sweep_older_than(age).await;
                engine.revive_refresher();
                age = SWEEP_AGE;
            }
        });
        engine
    }

    /// Hands over webhooks of an app that have just become durable in the journal, in its order.
    pub fn offer(&self, app: AppId, events: Vec<PendingEvent>) {
        self.tenant(app).offer(events, self);
    }

    /// Says that the journal may hold pending webhooks of an app.
    pub fn wake(&self, app: AppId) {
        self.tenant(app).wake(self);
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

    /// The legs that are named and were never heard from, as they come up. Only the first caller gets them.
    #[must_use]
    pub fn missing_legs(&self) -> Option<mpsc::Receiver<MissingLeg>> {
        self.missing_legs_rx.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The open sessions of an app.
    #[must_use]
    pub fn sessions(&self, app: AppId) -> Arc<Sessions> {
        Arc::clone(&self.tenant(app).sessions)
    }

    /// The named consumers of an app.
    #[must_use]
    pub fn consumers(&self, app: AppId) -> Arc<Consumers> {
        Arc::clone(&self.tenant(app).consumers)
    }

    /// Keeps where the named consumers stand. When this returns, it is durable.
    ///
    /// # Errors
    /// The store could not be asked. What was acknowledged since the last time may be told again.
    pub async fn keep_consumers(&self) -> Result<(), StoreError> {
        let consumers = self.all_consumers();
        self.cursor_store.keep(&consumers.iter().map(|of_app| &**of_app).collect::<Vec<_>>()).await
    }

    /// Lets go of the consumers that another process has taken over.
    pub(crate) async fn evict_lost_consumers(&self) -> Result<(), StoreError> {
        self.cursor_store.evict_lost(&self.all_consumers()).await
    }

    fn all_consumers(&self) -> Vec<Arc<Consumers>> {
        self.apps.iter().map(|tenant| Arc::clone(&tenant.consumers)).filter(|it| !it.is_idle()).collect()
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

    /// Shows events to the sessions of an app that were told beside its webhooks and are durable.
    pub fn show(&self, app: AppId, told: Vec<Frame>) {
        for frame in &told {
            counter!("cti_events_emitted_total", "type" => frame.event_type.to_string()).increment(1);
        }
        self.tenant(app).feed.publish(told);
    }

    /// Sees to it that this pair of tokens is replaced, and says what came of it. All who ask for it at the same time
    /// share one renewal, which goes on when they have gone.
    ///
    /// # Errors
    /// The store could not be asked, or the server is stopping.
    pub async fn renew(self: &Arc<Self>, pair: TokenPair) -> Result<Outcome, StoreError> {
        let interrupted = |_| StoreError::Unavailable("the renewal was interrupted".into());
        self.revive_refresher().send(Renew(pair)).await.map_err(interrupted)?
    }

    /// Looks after the tokens that are due now, and returns when that is done.
    pub async fn tend(self: &Arc<Self>) {
        // An error means that the refresher has died; the next sweep revives it.
        let _ = self.revive_refresher().send(Tend).await;
    }

    /// The refresher; a new one where it has died.
    fn revive_refresher(self: &Arc<Self>) -> Addr<TokenRefresher> {
        let mut current = self.refresher.lock().unwrap_or_else(PoisonError::into_inner);
        if !current.connected() && !self.draining.load(Ordering::Acquire) {
            warn!("the token refresher had died and is started again");
            *current = refresher(&self.ports, self.tuning, &self.arbiters, Arc::downgrade(self));
        }
        current.clone()
    }

    /// Closes every session with this close code, for a planned stop.
    pub fn close_sessions(&self, code: CloseCode, reason: &str) {
        for tenant in &self.apps {
            tenant.sessions.close_all(code, reason);
        }
    }

    /// Closes every session of one app with this close code.
    pub fn close_sessions_of(&self, app: AppId, code: CloseCode, reason: &str) {
        if let Some(tenant) = self.apps.get(&app) {
            tenant.sessions.close_all(code, reason);
        }
    }

    /// How many sessions one app has open.
    #[must_use]
    pub fn session_count_of(&self, app: AppId) -> usize {
        self.apps.get(&app).map_or(0, |tenant| tenant.sessions.len())
    }

    /// Lets go of an app that is removed: its sessions are closed with this code, the batch that it is at is finished,
    /// and what it had awake is gone when this returns.
    pub async fn forget(&self, app: AppId, code: CloseCode, reason: &str) {
        let Some((_, tenant)) = self.apps.remove(&app) else { return };
        tenant.sessions.close_all(code, reason);
        // An error means that the supervisor has died, and what it was at with it.
        let _ = tenant.supervisor().send(Drain).await;
    }

    /// The apps that somebody listens to.
    pub(crate) fn listened(&self) -> Listened {
        let listened = self.apps.iter().filter(|tenant| !tenant.sessions.is_empty());
        listened
            .map(|tenant| (*tenant.key(), (Arc::clone(&tenant.sessions), Arc::clone(&tenant.feed))))
            .collect()
    }

    /// How many sessions are open.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.apps.iter().map(|tenant| tenant.sessions.len()).sum()
    }

    /// Lets every app finish the batch it is at and begin no other. What is pending stays in the journal. Tokens that
    /// are being renewed are waited for: Dialpad may have spent the old ones already.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        let supervisors: Vec<_> = self.apps.iter().map(|tenant| tenant.supervisor()).collect();
        let drained = join_all(supervisors.iter().map(|supervisor| supervisor.send(Drain)));
        let refresher = self.refresher.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // An error means that the refresher has died, and what it was at with it.
        let _ = join(drained, refresher.send(Settle)).await;
    }

    /// Stops the actors' threads. The engine is of no use afterwards.
    pub fn stop(&self) {
        self.arbiters.stop();
    }

    fn tenant(&self, app: AppId) -> Arc<Tenant> {
        if let Some(tenant) = self.apps.get(&app) {
            return Arc::clone(&tenant);
        }
        Arc::clone(&self.apps.entry(app).or_insert_with(|| Tenant::new(app, self)))
    }

    /// Makes the actor of a call panic, as a bug in it would; `false` when no such actor is awake.
    #[cfg(feature = "testing")]
    pub async fn crash_call(&self, app: AppId, call: DialpadCallId) -> bool {
        let supervisor = self.tenant(app).supervisor();
        supervisor.send(crate::app::CrashCall(call)).await.unwrap_or(false)
    }
}

fn refresher(
    ports: &Ports,
    tuning: Tuning,
    arbiters: &Arbiters,
    engine: Weak<Engine>,
) -> Addr<TokenRefresher> {
    let refresher = TokenRefresher::new(ports.clone(), engine, tuning.token_check_interval);
    TokenRefresher::start_in_arbiter(&arbiters.first(), |_| refresher)
}
