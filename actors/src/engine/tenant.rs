//! What the engine keeps of one app from the first time that anybody has to do with it, and its supervisor, which is
//! started again where it has died.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use actix::{Actor, Addr};
use tracing::warn;

use super::Engine;
use crate::{
    app::{AppSupervisor, Pipeline, SharedInbox, Wake},
    consumer::Consumers,
    feed::Feed,
    id::AppId,
    ports::PendingEvent,
    session::Sessions,
};

pub(super) struct Tenant {
    app: AppId,
    inbox: SharedInbox,
    pub(super) feed: Arc<Feed>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) consumers: Arc<Consumers>,
    /// Whether a wake is on its way; at most one ever is.
    awake: Arc<AtomicBool>,
    /// Replaced when it has died.
    supervisor: Mutex<Addr<AppSupervisor>>,
}

impl Tenant {
    pub(super) fn new(app: AppId, engine: &Engine) -> Arc<Self> {
        let (inbox, feed, awake) = (Arc::default(), Feed::beside(app, &engine.past), Arc::default());
        let supervisor = Mutex::new(supervisor(app, engine, &inbox, &feed, &awake));
        let sessions = Sessions::new(engine.tuning.max_sessions_per_app);
        let (log, cursor_store) = (Arc::clone(&engine.ports.log), Arc::clone(&engine.cursor_store));
        let consumers = Consumers::new(app, log, Arc::clone(&sessions), cursor_store);
        Arc::new(Self { app, inbox, feed, sessions, consumers, awake, supervisor })
    }

    /// Hands webhooks over to its supervisor.
    pub(super) fn offer(&self, events: Vec<PendingEvent>, engine: &Engine) {
        self.inbox.lock().push(events);
        self.notify(engine);
    }

    /// Sends its supervisor to the journal.
    pub(super) fn wake(&self, engine: &Engine) {
        self.inbox.lock().invalidate();
        self.notify(engine);
    }

    pub(super) fn supervisor(&self) -> Addr<AppSupervisor> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn notify(&self, engine: &Engine) {
        let current = self.supervisor();
        if !current.connected() && !engine.draining.load(Ordering::Acquire) {
            warn!(app.id = %self.app, "a supervisor had died and is started again");
            self.inbox.lock().invalidate();
            let successor = supervisor(self.app, engine, &self.inbox, &self.feed, &self.awake);
            self.awake.store(true, Ordering::Release);
            successor.do_send(Wake);
            *self.supervisor.lock().unwrap_or_else(PoisonError::into_inner) = successor;
        } else if !self.awake.swap(true, Ordering::AcqRel) {
            current.do_send(Wake);
        }
    }
}

fn supervisor(
    app: AppId,
    engine: &Engine,
    inbox: &SharedInbox,
    feed: &Arc<Feed>,
    awake: &Arc<AtomicBool>,
) -> Addr<AppSupervisor> {
    let (ports, missing_legs) = (engine.ports.clone(), engine.missing_legs.clone());
    let pipeline = Pipeline::new(app, ports, Arc::clone(inbox), Arc::clone(feed), missing_legs);
    let awake = Arc::clone(awake);
    AppSupervisor::start_in_arbiter(&engine.arbiters.of(app), |_| AppSupervisor::new(pipeline, awake))
}
