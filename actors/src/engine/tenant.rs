//! What the engine keeps of one app, and its supervisor, which is started again where it has died.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use actix::{Actor, Addr};
use actix_rt::ArbiterHandle;
use chrono::TimeDelta;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    app::{
        AppSupervisor, Drain, Forget, Incoming, MissingLegReporter, NotTaken, Pipeline, Queues, SharedDue,
        SharedInbox, Submission, SupervisorStats, Wake,
    },
    feed::Feed,
    id::{AppId, InteractionId},
    ports::{PendingEvent, Ports},
    session::TenantHandle,
    state::SupervisorState,
};

/// One app, from the first time that it is named.
pub(super) struct Tenant {
    /// What its sessions work with.
    pub(super) handle: Arc<TenantHandle>,
    setup: SupervisorSetup,
    /// Replaced when it has died.
    supervisor: Mutex<Addr<AppSupervisor>>,
    /// Once cancelled, a supervisor that has ended is not started again.
    stopping: CancellationToken,
}

/// What a supervisor is started with, as often as needed.
pub(super) struct SupervisorSetup {
    pub(super) app_id: AppId,
    pub(super) ports: Ports,
    pub(super) feed: Arc<Feed>,
    pub(super) missing_legs: MissingLegReporter,
    /// The thread that it runs on.
    pub(super) arbiter: ArbiterHandle,
    pub(super) inbox: SharedInbox,
    /// The interactions whose end may be due.
    pub(super) due: SharedDue,
    /// How long nothing must come of an interaction that is over before its end is emitted.
    pub(super) settle: TimeDelta,
    /// Whether a wake is in its mailbox; at most one ever is.
    pub(super) awake: Arc<AtomicBool>,
    pub(super) stats: Arc<SupervisorStats>,
}

impl SupervisorSetup {
    fn start(&self) -> Addr<AppSupervisor> {
        let pipeline = Pipeline::new(
            self.app_id,
            self.ports.clone(),
            Queues { inbox: Arc::clone(&self.inbox), due: Arc::clone(&self.due) },
            self.settle,
            Arc::clone(&self.feed),
            self.missing_legs.clone(),
            Arc::clone(&self.stats),
        );
        let supervisor = AppSupervisor::new(
            pipeline,
            Arc::clone(&self.inbox),
            Arc::clone(&self.awake),
            Arc::clone(&self.stats),
        );
        AppSupervisor::start_in_arbiter(&self.arbiter, |_| supervisor)
    }
}

impl Tenant {
    pub(super) fn start(
        handle: Arc<TenantHandle>,
        setup: SupervisorSetup,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        let supervisor = Mutex::new(setup.start());
        Arc::new(Self { handle, setup, supervisor, stopping })
    }

    /// Submits a webhook that is not in the journal yet.
    ///
    /// # Errors
    /// It must be appended to the journal instead.
    pub(super) fn submit(&self, event: PendingEvent) -> Result<Submission, NotTaken> {
        let id = event.id;
        let (webhook, answer) = Incoming::new(event);
        let inbox = &self.setup.inbox;
        if self.stopping.is_cancelled() {
            return Err(NotTaken);
        }
        inbox.lock().submit(webhook)?;
        self.wake();
        Ok(Submission::new(id, answer, Arc::clone(inbox)))
    }

    /// Hands webhooks that have just become durable to the supervisor, in the order of the journal.
    pub(super) fn push(&self, events: Vec<PendingEvent>) {
        self.setup.inbox.lock().push(events);
        self.wake();
    }

    /// Makes the supervisor read the journal.
    pub(super) fn notify(&self) {
        self.setup.inbox.lock().invalidate();
        self.wake();
    }

    /// Makes the supervisor emit the end of this interaction, if it is due.
    pub(super) fn settle(&self, interaction: InteractionId) {
        self.setup.due.lock().insert(interaction);
        self.wake();
    }

    /// Forgets what its supervisor has in memory, after the batch under way.
    pub(super) async fn forget(&self) {
        let (answer, forgotten) = oneshot::channel();
        self.supervisor().do_send(Forget(answer));
        // An error means that the supervisor has ended: the next one begins with nothing.
        let _ = forgotten.await;
    }

    pub(super) fn state(&self) -> SupervisorState {
        let stats = &self.setup.stats;
        // In this order: a wake is counted as a batch before its flag is cleared.
        let is_woken = self.setup.awake.load(Ordering::Acquire) && !self.stopping.is_cancelled();
        SupervisorState {
            app_id: self.setup.app_id,
            owned: true,
            batch_in_progress: is_woken || stats.batches.get() > 0,
            inbox: self.setup.inbox.lock().len(),
            live_calls: stats.calls.get(),
            restarts: stats.restarts(),
            quarantined: stats.quarantined(),
            sessions: self.handle.sessions.len(),
            last_error: stats.last_error(),
        }
    }

    /// Completes the batch under way and ends the supervisor.
    pub(super) async fn drain(&self) {
        self.stopping.cancel();
        let supervisor = self.supervisor();
        // An error means that the supervisor has ended already.
        let _ = supervisor.send(Drain).await;
    }

    pub(super) fn supervisor(&self) -> Addr<AppSupervisor> {
        self.supervisor.lock().clone()
    }

    fn wake(&self) {
        let mut supervisor = self.supervisor.lock();
        if !supervisor.connected() && !self.stopping.is_cancelled() {
            warn!(app.id = %self.setup.app_id, "a supervisor has died and is started again");
            self.setup.stats.record_restart();
            self.setup.stats.record_error("the supervisor died", self.setup.ports.clock.now());
            self.setup.inbox.lock().invalidate();
            *supervisor = self.setup.start();
            self.setup.awake.store(false, Ordering::Release);
        }
        if !self.setup.awake.swap(true, Ordering::AcqRel) {
            supervisor.do_send(Wake);
        }
    }
}
