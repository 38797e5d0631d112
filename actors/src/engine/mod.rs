//! The engine: the one handle that the rest of the server holds. Every background task of the engine lives in this folder.
//!
//! | task | does |
//! |---|---|
//! | `sweep` | wakes the apps whose webhooks have been pending for too long |
//! | `settle` | has the ends of human calls emitted for which nothing more came |
//! | `session_watch` | closes sessions that are stuck or whose key has ended, and looks for events of other processes |
//! | `cursor_flush` | writes the cursors of named consumers |
//! | `token_refresher` | keeps the tokens of all connections fresh (an actor) |

mod arbiters;
mod cursor_flush;
mod elsewhere;
mod owned_apps;
mod periodic;
mod refresher_handle;
mod renewal;
mod session_watch;
mod settle;
mod sweep;
mod tenant;
mod tenants;
mod token_refresher;

use std::{ops::Add, sync::Arc};

use chrono::TimeDelta;
use futures_util::future::{join, join_all};
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    arbiters::Arbiters,
    refresher_handle::{RefresherHandle, RefresherSetup},
    tenants::Tenants,
};
use crate::{
    app::{MissingLeg, MissingLegReporter, NotTaken, Submission},
    error::StoreError,
    event::Frame,
    feed::Feed,
    id::{AppId, Fence},
    model::token::{Outcome, TokenPair},
    ports::{Bounds, Inbound, PendingEvent, Ports},
    session::{CloseCode, SessionBacklog, TenantDirectory, TenantHandle},
    state::EngineState,
    tuning::Tuning,
    unit::IncomingWebhook,
};

/// The engine. Shared by reference count; every method may be called from any thread. Dropping the last reference stops
/// the engine without waiting for it; [`drain`](Self::drain) and [`stop`](Self::stop) wait.
pub struct Engine {
    tenants: Arc<Tenants>,
    refresher: Arc<RefresherHandle>,
    arbiters: Arc<Arbiters>,
    /// The receiver of missing legs, until it is taken.
    missing_legs: Mutex<Option<mpsc::Receiver<MissingLeg>>>,
    /// The background tasks.
    tasks: TaskTracker,
    /// Cancelled by a drain: background tasks end, and nothing that has ended is started again.
    stopping: CancellationToken,
}

impl Engine {
    /// Starts the engine. Its first sweep takes up the webhooks that an earlier process left pending.
    ///
    /// # Panics
    /// Outside an actix system, which the actors' threads belong to.
    #[must_use]
    pub fn start(ports: Ports, tuning: Tuning) -> Arc<Self> {
        let stopping = CancellationToken::new();
        let arbiters = Arc::new(Arbiters::start(tuning.threads));
        let (reporter, missing_legs) = MissingLegReporter::channel();
        let tenants = Tenants::new(ports.clone(), tuning, Arc::clone(&arbiters), reporter, stopping.clone());
        let feeds = Arc::clone(&tenants);
        let setup = RefresherSetup {
            ports,
            update_feed: Arc::new(move |app, update| feeds.update_feed(app, update)),
            check_interval: tuning.token_check_interval,
            arbiter: arbiters.first(),
        };
        let engine = Arc::new(Self {
            tenants,
            refresher: Arc::new(RefresherHandle::start(setup, stopping.clone())),
            arbiters,
            missing_legs: Mutex::new(Some(missing_legs)),
            tasks: TaskTracker::new(),
            stopping,
        });
        engine.start_tasks(tuning);
        engine
    }

    fn start_tasks(&self, tuning: Tuning) {
        let tenants = || Arc::clone(&self.tenants);
        let stop = || self.stopping.clone();
        let refresher = Arc::clone(&self.refresher);
        self.tasks.spawn_local(sweep::run(tenants(), refresher, tuning, stop()));
        self.tasks.spawn_local(settle::run(tenants(), tuning.settle_check_interval, stop()));
        self.tasks.spawn_local(session_watch::run(tenants(), tuning, stop()));
        self.tasks.spawn_local(cursor_flush::run(tenants(), stop()));
    }

    /// Returns everything that the engine was given.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        self.tenants.ports()
    }

    /// Submits a webhook to the supervisor of its app. It is not in the journal yet: the unit of work that processes it
    /// writes it.
    ///
    /// # Errors
    /// The supervisor can't begin with it soon: append it to the journal, then [`notify`](Self::notify).
    pub fn submit(
        &self,
        app: AppId,
        webhook: IncomingWebhook,
        content: Inbound,
    ) -> Result<Submission, NotTaken> {
        let tenant = self.tenants.owned(app).ok_or(NotTaken)?;
        let id = webhook.id;
        let event = PendingEvent { id, attempts: 0, content: Ok(content), incoming: Some(Arc::new(webhook)) };
        tenant.submit(event)
    }

    /// Hands webhooks of an app to its supervisor that have just become durable, in the order of the journal. If another
    /// process owns the app, they are announced to it.
    pub fn push(&self, app: AppId, events: Vec<PendingEvent>) {
        match self.tenants.owned(app) {
            Some(tenant) => tenant.push(events),
            None => self.tenants.announcements().pending(app),
        }
    }

    /// Makes the supervisor of an app read the journal, at whatever process it is.
    pub fn notify(&self, app: AppId) {
        match self.tenants.owned(app) {
            Some(tenant) => tenant.notify(),
            None => self.tenants.announcements().pending(app),
        }
    }

    /// Works on an app from now on, under this fence. Its supervisor starts with its first work.
    pub fn own(&self, app: AppId, fence: Fence) {
        self.tenants.owned_apps().add(app, fence);
    }

    /// Whether this process works on an app.
    #[must_use]
    pub fn owns(&self, app: AppId) -> bool {
        self.tenants.owned_apps().fence(app).is_some()
    }

    /// Returns the apps that [`own`](Self::own) named and that were not given up since.
    #[must_use]
    pub fn owned(&self) -> Vec<(AppId, Fence)> {
        self.tenants.owned_apps().added()
    }

    /// Returns those of them for which the store has refused the work, because another process owned them.
    #[must_use]
    pub fn fenced(&self) -> Vec<AppId> {
        let fenced = self.tenants.all().into_iter().filter(|tenant| tenant.is_fenced());
        fenced.map(|tenant| tenant.handle.app_id).collect()
    }

    /// Works on an app no longer, and forgets what is in memory of its calls. When this returns, the batch under way is
    /// completed; what waited is appended to the journal by its requests.
    pub async fn give_up(&self, app: AppId) {
        self.tenants.owned_apps().remove(app);
        if let Some(tenant) = self.tenants.get(app) {
            tenant.give_up().await;
        }
    }

    /// Makes the supervisors of all apps read the journal that have a webhook pending for too long.
    ///
    /// # Errors
    /// The store failed.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        sweep::sweep(&self.tenants, sweep::MIN_AGE).await
    }

    /// Makes the supervisors of the apps that this process owns read the journal that have any pending webhook.
    ///
    /// # Errors
    /// The store failed.
    pub async fn take_up_pending(&self) -> Result<(), StoreError> {
        sweep::sweep(&self.tenants, TimeDelta::zero()).await
    }

    /// Makes the supervisors emit the ends of all human calls that are due.
    ///
    /// # Errors
    /// The store failed.
    pub async fn settle_interactions(&self) -> Result<(), StoreError> {
        settle::settle(&self.tenants).await
    }

    /// Publishes events to the sessions of an app that are durable and were not caused by its webhooks.
    pub fn publish(&self, app: AppId, frames: Vec<Frame>) {
        self.tenants.publish(app, frames);
    }

    /// Returns what sessions need of an app.
    #[must_use]
    pub fn tenant(&self, app: AppId) -> Arc<TenantHandle> {
        self.tenants.tenant(app)
    }

    /// Returns what the sessions of this process wait for.
    #[must_use]
    pub fn session_backlog(&self) -> SessionBacklog {
        let listened = self.tenants.with_sessions();
        listened.iter().map(|tenant| tenant.sessions.backlog()).fold(SessionBacklog::default(), Add::add)
    }

    /// Returns the runtimes of the threads of the actors.
    #[must_use]
    pub fn runtimes(&self) -> Vec<Handle> {
        self.arbiters.runtimes()
    }

    /// Returns what finds the app of a session.
    #[must_use]
    pub fn tenants(&self) -> Arc<dyn TenantDirectory> {
        Arc::clone(&self.tenants) as Arc<dyn TenantDirectory>
    }

    /// Returns the feed of an app, up to date with the store, and what the store keeps of it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn feed(&self, app: AppId) -> Result<(Arc<Feed>, Bounds), StoreError> {
        let tenant = self.tenant(app);
        let bounds = tenant.bounds().await?;
        Ok((Arc::clone(&tenant.feed), bounds))
    }

    /// Returns the receiver of legs that are named and were never received. Only the first caller gets it.
    #[must_use]
    pub fn missing_legs(&self) -> Option<mpsc::Receiver<MissingLeg>> {
        self.missing_legs.lock().take()
    }

    /// Writes the cursors of all named consumers. When this returns, they are durable.
    ///
    /// # Errors
    /// The store failed. Events that were acknowledged since the last flush may be delivered again.
    pub async fn flush_cursors(&self) -> Result<(), StoreError> {
        self.tenants.flush_cursors().await
    }

    /// Renews a pair of tokens and returns the outcome. All who ask at the same time share one renewal, which continues
    /// when they have gone.
    ///
    /// # Errors
    /// The store failed, or the engine is stopping.
    pub async fn renew(&self, pair: TokenPair) -> Result<Outcome, StoreError> {
        self.refresher.renew(pair).await
    }

    /// Renews the tokens that are due now, and returns when that is done.
    pub async fn refresh_due_tokens(&self) {
        self.refresher.renew_due().await;
    }

    /// Returns how many sessions are open.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.tenants.all().iter().map(|tenant| tenant.handle.sessions.len()).sum()
    }

    /// Returns how many sessions of an app are open.
    #[must_use]
    pub fn session_count_of(&self, app: AppId) -> usize {
        self.tenants.get(app).map_or(0, |tenant| tenant.handle.sessions.len())
    }

    /// Closes all sessions with this close code.
    pub fn close_sessions(&self, code: CloseCode, reason: &str) {
        for tenant in self.tenants.all() {
            tenant.handle.sessions.close_all(code, reason);
        }
    }

    /// Closes all sessions of an app with this close code. Other processes check theirs at once.
    pub fn close_sessions_of(&self, app: AppId, code: CloseCode, reason: &str) {
        self.announce_access(app);
        if let Some(tenant) = self.tenants.get(app) {
            tenant.handle.sessions.close_all(code, reason);
        }
    }

    /// Forgets the calls of an app that are in memory, because the store has changed them. When this returns, the batch
    /// under way is completed, and later ones read the calls anew.
    pub async fn forget_calls(&self, app: AppId) {
        if let Some(tenant) = self.tenants.get(app) {
            tenant.forget().await;
        }
    }

    /// Forgets the events and snapshots of an app that are in memory, because stored ones were changed. Other processes do
    /// the same.
    pub fn forget_feed(&self, app: AppId) {
        self.tenants.announcements().rewritten(app);
        if let Some(tenant) = self.tenants.get(app) {
            tenant.handle.feed.forget();
        }
    }

    /// Returns the state of the engine. Never waits for an actor.
    #[must_use]
    pub fn state(&self) -> EngineState {
        self.tenants.state(self.refresher.state())
    }

    /// Removes an app: closes its sessions with this code, completes the batch under way and ends its actors.
    pub async fn remove_app(&self, app: AppId, code: CloseCode, reason: &str) {
        let Some(tenant) = self.tenants.remove(app) else { return };
        tenant.handle.sessions.close_all(code, reason);
        tenant.drain().await;
    }

    /// Completes the batches and the renewals under way, begins no others, and ends the background tasks. What is
    /// pending stays in the journal. Renewals are waited for, because Dialpad may have invalidated the old tokens.
    pub async fn drain(&self) {
        self.stopping.cancel();
        self.tasks.close();
        let tenants = self.tenants.all();
        let supervisors = join_all(tenants.iter().map(|tenant| tenant.drain()));
        join(supervisors, self.refresher.drain()).await;
        self.tasks.wait().await;
    }

    /// Stops the background tasks and the actors' threads, and waits for them. A batch that was not drained before is
    /// cut off; the journal has it. The engine can't be used afterwards.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.arbiters.stop().await;
    }

    /// Makes the actor of a call panic, as a bug in it would; `false` when the call has none.
    #[cfg(feature = "testing")]
    pub async fn crash_call(&self, app: AppId, call: crate::id::DialpadCallId) -> bool {
        let Some(supervisor) = self.tenants.of(app).supervisor() else { return false };
        supervisor.send(crate::app::CrashCall(call)).await.unwrap_or(false)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.arbiters.request_stop();
    }
}
