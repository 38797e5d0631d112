//! Several processes on one PostgreSQL: what they announce to each other.
//!
//! An announcement is a hint and nothing more. The process that gets one asks the database, and each process polls the database
//! once a second all the same: a lost announcement costs that second, and a wrong one costs a query. On SQLite there
//! is nothing to announce, because one process has the file.

mod listener;
mod message;
pub(crate) mod metrics;
mod sender;

use std::sync::Arc;

use cti_actors::{
    Engine,
    clock::{Clock, new_uuid},
    feed::Announcements,
};
use tracing::info;
use uuid::Uuid;

use crate::{config::Config, store::Store, tasks::Tasks};

/// What sending and listening share.
#[derive(Clone)]
struct Bus {
    store: Store,
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    announcements: Arc<Announcements>,
    /// A random id, by which a process knows its own announcements.
    process: Uuid,
}

impl Bus {
    /// Records whether another process listens. While none does, nothing is sent.
    fn set_others(&self, has_others: bool) {
        if self.announcements.set_wanted(has_others) {
            info!(has_others, "other processes on the database listen to announcements, or no longer do");
        }
    }
}

/// Begins to announce to other processes and to listen to them.
pub(crate) fn start(
    tasks: &Tasks,
    config: &Config,
    store: &Store,
    engine: &Arc<Engine>,
    clock: &Arc<dyn Clock>,
) {
    if !store.processes().are_shared() {
        return;
    }
    let bus = Bus {
        store: store.clone(),
        engine: Arc::clone(engine),
        clock: Arc::clone(clock),
        announcements: engine.announcements(),
        process: new_uuid(),
    };
    tasks.keep("announce", bus.clone(), |bus| Box::pin(sender::run(bus)));
    let is_pooled = store.notifications().are_pooled();
    let url = config.database_listen_url.as_ref().or((!is_pooled).then_some(&config.database_url));
    match url {
        Some(url) => {
            let state = (bus, url.clone());
            tasks.keep("listen to announcements", state, |(bus, url)| Box::pin(listener::run(bus, url)));
        }
        None => {
            info!(
                "DATABASE_LISTEN_URL is not set, and DATABASE_URL leads to a pooler: what other processes \
                 announce is found by polling, within a second"
            );
            tasks.keep("look for listeners", bus, |bus| Box::pin(listener::poll_others(bus)));
        }
    }
}
