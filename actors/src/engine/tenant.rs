//! What the engine keeps of one app, and its supervisor, which is started again where it has died.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use actix::{Actor, Addr};
use actix_rt::ArbiterHandle;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::owned_apps::OwnedApps;
use crate::{
    app::{
        AppSupervisor, Drain, Forget, Incoming, MissingLegReporter, NotTaken, Ownership, Pipeline,
        PipelineTuning, Submission, SupervisorStats, Wake,
    },
    feed::Feed,
    id::{AppId, Fence, InteractionId},
    ports::{PendingEvent, Ports},
    session::TenantHandle,
    state::SupervisorState,
};

/// One app, from the first time that it is named.
pub(super) struct Tenant {
    /// What its sessions work with.
    pub(super) handle: Arc<TenantHandle>,
    setup: SupervisorSetup,
    owned: Arc<OwnedApps>,
    /// `None` before the first work, and while the app is not owned.
    work: Mutex<Option<Work>>,
    /// Once cancelled, no supervisor is started.
    stopping: CancellationToken,
}

/// The work on an app for as long as this process owns it.
struct Work {
    ownership: Ownership,
    /// Whether a wake is in the supervisor's mailbox; at most one ever is.
    awake: Arc<AtomicBool>,
    /// Replaced when it has died.
    supervisor: Addr<AppSupervisor>,
}

/// What a supervisor is started with, as often as needed.
pub(super) struct SupervisorSetup {
    pub(super) app_id: AppId,
    pub(super) ports: Ports,
    pub(super) feed: Arc<Feed>,
    pub(super) missing_legs: MissingLegReporter,
    /// The thread that it runs on.
    pub(super) arbiter: ArbiterHandle,
    pub(super) tuning: PipelineTuning,
    pub(super) stats: Arc<SupervisorStats>,
}

impl SupervisorSetup {
    fn begin(&self, fence: Fence) -> Work {
        let ownership = Ownership { fence, inbox: Arc::default(), due: Arc::default() };
        let awake = Arc::default();
        let supervisor = self.start(&ownership, &awake);
        Work { ownership, awake, supervisor }
    }

    fn start(&self, ownership: &Ownership, awake: &Arc<AtomicBool>) -> Addr<AppSupervisor> {
        let pipeline = Pipeline::new(
            self.app_id,
            self.ports.clone(),
            ownership.clone(),
            self.tuning,
            Arc::clone(&self.feed),
            self.missing_legs.clone(),
            Arc::clone(&self.stats),
        );
        let supervisor = AppSupervisor::new(
            pipeline,
            Arc::clone(&ownership.inbox),
            Arc::clone(awake),
            Arc::clone(&self.stats),
        );
        AppSupervisor::start_in_arbiter(&self.arbiter, |_| supervisor)
    }

    /// Wakes the supervisor, and starts it again where it has died.
    fn wake(&self, work: &mut Work) {
        if work.ownership.inbox.lock().has_ended() {
            return;
        }
        if !work.supervisor.connected() {
            warn!(app.id = %self.app_id, "a supervisor has died and is started again");
            self.stats.record_restart();
            self.stats.record_error("the supervisor died", self.ports.clock.now());
            work.ownership.inbox.lock().invalidate();
            work.supervisor = self.start(&work.ownership, &work.awake);
            work.awake.store(false, Ordering::Release);
        }
        if !work.awake.swap(true, Ordering::AcqRel) {
            work.supervisor.do_send(Wake);
        }
    }
}

impl Tenant {
    pub(super) fn new(
        handle: Arc<TenantHandle>,
        setup: SupervisorSetup,
        owned: Arc<OwnedApps>,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self { handle, setup, owned, work: Mutex::default(), stopping })
    }

    /// Calls `change` with the work on the app, which begins where it is new, and wakes the supervisor after it. `None`: the
    /// app is not owned, or the engine is stopping.
    fn with_work<T>(&self, change: impl FnOnce(&mut Work) -> T) -> Option<T> {
        let mut current = self.work.lock();
        // Under the lock: an app that is given up at this moment is given up before or after all of this.
        let fence = self.owned.fence(self.setup.app_id)?;
        if self.stopping.is_cancelled() {
            return None;
        }
        if current.as_ref().is_some_and(|work| work.ownership.fence != fence)
            && let Some(former) = current.take()
        {
            former.supervisor.do_send(Drain);
        }
        let work = current.get_or_insert_with(|| self.setup.begin(fence));
        let changed = change(work);
        self.setup.wake(work);
        Some(changed)
    }

    /// Submits a webhook that is not in the journal yet.
    ///
    /// # Errors
    /// It must be appended to the journal instead.
    pub(super) fn submit(&self, event: PendingEvent) -> Result<Submission, NotTaken> {
        let id = event.id;
        let (webhook, answer) = Incoming::new(event);
        let submitted = self.with_work(|work| {
            let inbox = &work.ownership.inbox;
            inbox.lock().submit(webhook)?;
            Ok(Submission::new(id, answer, Arc::clone(inbox)))
        });
        submitted.unwrap_or(Err(NotTaken))
    }

    /// Hands webhooks that have just become durable to the supervisor, in the order of the journal.
    pub(super) fn push(&self, events: Vec<PendingEvent>) {
        self.with_work(|work| work.ownership.inbox.lock().push(events));
    }

    /// Makes the supervisor read the journal.
    pub(super) fn notify(&self) {
        self.with_work(|work| work.ownership.inbox.lock().invalidate());
    }

    /// Makes the supervisor emit the end of this interaction, if it is due.
    pub(super) fn settle(&self, interaction: InteractionId) {
        self.with_work(|work| work.ownership.due.lock().insert(interaction));
    }

    /// Forgets what its supervisor has in memory, after the batch under way.
    pub(super) async fn forget(&self) {
        let Some(supervisor) = self.supervisor() else { return };
        let (answer, forgotten) = oneshot::channel();
        supervisor.do_send(Forget(answer));
        // An error means that the supervisor has ended: the next one begins with nothing.
        let _ = forgotten.await;
    }

    /// Returns the state. An app of which the work has ended because of its fence is not owned.
    pub(super) fn state(&self) -> SupervisorState {
        let stats = &self.setup.stats;
        let fence = self.owned.fence(self.setup.app_id);
        let (is_woken, inbox, is_fenced) = self.work.lock().as_ref().map_or((false, 0, false), |work| {
            let inbox = work.ownership.inbox.lock();
            let is_fenced = inbox.has_ended() && fence == Some(work.ownership.fence);
            (work.awake.load(Ordering::Acquire), inbox.len(), is_fenced)
        });
        SupervisorState {
            app_id: self.setup.app_id,
            owned: fence.is_some() && !is_fenced,
            // In this order: a wake is counted as a batch before its flag is cleared.
            batch_in_progress: is_woken && !self.stopping.is_cancelled() || stats.batches.get() > 0,
            inbox,
            live_calls: stats.calls.get(),
            restarts: stats.restarts(),
            quarantined: stats.quarantined(),
            sessions: self.handle.sessions.len(),
            last_error: stats.last_error(),
        }
    }

    /// Whether the store has refused the work under the present fence.
    pub(super) fn is_fenced(&self) -> bool {
        let fence = self.owned.fence(self.setup.app_id);
        let current = self.work.lock();
        current.as_ref().is_some_and(|work| {
            fence == Some(work.ownership.fence) && work.ownership.inbox.lock().has_ended()
        })
    }

    /// Completes the batch under way and ends the supervisor. The app is not owned any more.
    pub(super) async fn give_up(&self) {
        let former = self.work.lock().take();
        if let Some(work) = former {
            // An error means that the supervisor has ended already.
            let _ = work.supervisor.send(Drain).await;
        }
    }

    /// Completes the batch under way and ends the supervisor, for good.
    pub(super) async fn drain(&self) {
        self.stopping.cancel();
        if let Some(supervisor) = self.supervisor() {
            // An error means that the supervisor has ended already.
            let _ = supervisor.send(Drain).await;
        }
    }

    /// Returns the supervisor, if there is one.
    pub(super) fn supervisor(&self) -> Option<Addr<AppSupervisor>> {
        self.work.lock().as_ref().map(|work| work.supervisor.clone())
    }
}
