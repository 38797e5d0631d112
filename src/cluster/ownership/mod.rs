//! Which process works on which app. PostgreSQL is what the processes agree by: each talks to it and not to the others. On
//! SQLite there is one process, which owns everything; there, nothing of this runs.
//!
//! | file | does |
//! |---|---|
//! | `identity` | says who this process is, and whether another one of the same machine is gone |
//! | `join` | makes this process one of those that run |
//! | `rounds` | renews, takes and gives up leases |
//! | `view` | shows all of it to administrators |

mod identity;
mod join;
pub(crate) mod metrics;
mod rounds;
mod view;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cti_actors::{
    Engine, Owned,
    id::AppId,
    model::lease::{LeaseMachine, ProcessId},
};
use parking_lot::Mutex;

pub use self::join::JoinError;
pub(crate) use self::{
    join::{Membership, join},
    view::{ClusterState, ProcessView},
};
use crate::{
    store::{Store, cluster::NewProcess},
    tasks::Tasks,
};

/// For how long a process is alive after a renewal. With the rounds of the others, its apps have another owner less than
/// 5 s after it was killed.
pub(crate) const LEASE: Duration = Duration::from_millis(3500);

/// This process among those that share the database.
pub struct Cluster {
    store: Store,
    engine: Arc<Engine>,
    process: NewProcess,
    /// Held during a round; the stop waits for it.
    machine: tokio::sync::Mutex<LeaseMachine>,
    /// Once set, nothing is taken any more.
    is_stopping: AtomicBool,
    renewed_at: Mutex<Instant>,
}

impl Cluster {
    /// Takes what is free, and continues with that in the background.
    pub(crate) async fn start(
        store: Store,
        engine: Arc<Engine>,
        membership: Membership,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let process = membership.process;
        let cluster = Arc::new(Self {
            machine: tokio::sync::Mutex::new(LeaseMachine::new(ProcessId::from(process.process_id.clone()))),
            store,
            engine,
            process,
            is_stopping: AtomicBool::new(false),
            renewed_at: Mutex::new(Instant::now()),
        });
        if cluster.is_shared() {
            rounds::first(&cluster).await;
            tasks.spawn(rounds::run(Arc::clone(&cluster)));
            tasks.spawn(rounds::keep_alive(Arc::clone(&cluster)));
        }
        cluster
    }

    /// Returns the name of this process.
    #[must_use]
    pub fn process_id(&self) -> &str {
        &self.process.process_id
    }

    /// Whether other processes can use the database at the same time.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.store.processes().are_shared()
    }

    /// Works on an app that this process has just created: nobody else can own it.
    pub(crate) fn created(&self, app: AppId) {
        if !self.is_stopping.load(Ordering::Acquire) {
            self.engine.own(app, crate::store::cluster::FIRST_FENCE);
        }
    }
}

/// Returns which apps an engine on this database works on.
pub(crate) fn owned_apps(store: &Store) -> Owned {
    if store.processes().are_shared() { Owned::LeasedApps } else { Owned::AllApps }
}
