//! The rounds in which a process renews its life, takes what is free, and gives up what another process is to have.
//!
//! The table is the truth, and the engine follows it: what is held there and not known here is worked on, and what was lost
//! is given up. The fence in each unit of work makes all of that safe, however late this process is: see
//! `store/ledger/write`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use cti_actors::{
    error::StoreError,
    id::{AppId, Fence},
    model::lease::{ProcessId, Take, View},
};
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::{Cluster, LEASE, identity, metrics};
use crate::store::cluster::{Registered, Renewed};

/// The time from one round to the next: so late a process notices that something is free.
const ROUND_INTERVAL: Duration = Duration::from_millis(500);
/// After how long without a renewal a process renews beside a round that takes long.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// How often rows are looked for that nobody looks after otherwise.
const TIDY_ROUNDS: u32 = 20;
/// When a process that is dead is removed.
const DEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the work on apps has to come to its end before their leases are released. What is late is refused.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How many apps are handed over at a time when the process stops.
const HANDED_OVER: usize = 64;

/// Has the first round: whatever is free is owned when this returns.
pub(super) async fn first(cluster: &Cluster) {
    if let Err(error) = cluster.first_round().await {
        warn!(%error, "the apps could not be taken yet");
    }
}

/// Has rounds, and never returns.
pub(super) async fn run(cluster: Arc<Cluster>) {
    let mut is_failing = false;
    for number in 1u32.. {
        sleep(ROUND_INTERVAL).await;
        let mut done = cluster.round().await;
        if done.is_ok() && number.is_multiple_of(TIDY_ROUNDS) {
            done = cluster.tidy().await;
        }
        match &done {
            Err(error) if !is_failing => warn!(%error, "the leases can't be renewed now"),
            Ok(()) if is_failing => info!("the leases are renewed again"),
            Ok(()) | Err(_) => {}
        }
        is_failing = done.is_err();
    }
}

/// Renews while a round takes long, and never returns.
pub(super) async fn keep_alive(cluster: Arc<Cluster>) {
    loop {
        sleep(KEEP_ALIVE_INTERVAL / 4).await;
        if cluster.renewed_at.lock().elapsed() >= KEEP_ALIVE_INTERVAL {
            // The round says what is wrong.
            let _ = cluster.renew().await;
        }
    }
}

impl Cluster {
    /// Gives all apps up, for other processes to take: after this, they are worked on elsewhere.
    pub(crate) async fn leave(&self) {
        self.is_stopping.store(true, Ordering::Release);
        if !self.is_shared() {
            return;
        }
        // The round under way is completed; there is no other.
        let _machine = self.machine.lock().await;
        let left = async {
            self.renew().await?;
            let apps: Vec<AppId> = self.engine.owned().into_iter().map(|(app, _)| app).collect();
            for apps in apps.chunks(HANDED_OVER) {
                self.hand_over(apps).await?;
            }
            Ok::<(), StoreError>(())
        };
        if let Err(error) = left.await {
            warn!(%error, "the apps are not released; other processes take them when their leases end");
        }
    }

    /// Removes this process from those that run.
    pub(crate) async fn remove(&self) {
        if self.is_shared()
            && let Err(error) = self.store.processes().remove(self.process.incarnation).await
        {
            warn!(%error, "the process could not be removed from those that run; that happens by itself");
        }
    }

    async fn first_round(&self) -> Result<(), StoreError> {
        self.store.leases().add_missing().await?;
        self.round().await
    }

    async fn round(&self) -> Result<(), StoreError> {
        let mut machine = self.machine.lock().await;
        if self.is_stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        // Before the table is read: an app that this process creates meanwhile is in the table first.
        let owned: BTreeMap<AppId, Fence> = self.engine.owned().into_iter().collect();
        let Some(renewed) = self.renew().await? else { return self.rejoin().await };
        let held = self.held(&owned, renewed).await?;
        self.follow(&owned, &held).await;
        self.release_fenced(&held).await?;

        let processes = self.candidates().await?;
        let free = self.store.leases().free().await?;
        let view = View { now: renewed.now, processes: &processes, held: &held, free: &free };
        let decision = machine.decide(view);
        self.take(&decision.take).await?;
        self.hand_over(&decision.give_up).await
    }

    async fn renew(&self) -> Result<Option<Renewed>, StoreError> {
        let began = Instant::now();
        let is_stopping = self.is_stopping.load(Ordering::Acquire);
        let renewed = self.store.processes().renew(self.process.incarnation, is_stopping, LEASE).await?;
        *self.renewed_at.lock() = began;
        Ok(renewed)
    }

    /// Returns what this process holds. It is read only where its number shows that something has changed: nobody gives this
    /// process anything, so the same number is the same apps.
    async fn held(
        &self,
        owned: &BTreeMap<AppId, Fence>,
        renewed: Renewed,
    ) -> Result<BTreeMap<AppId, Fence>, StoreError> {
        if i64::try_from(owned.len()) == Ok(renewed.apps) {
            return Ok(owned.clone());
        }
        Ok(self.store.leases().held(self.process.incarnation).await?.into_iter().collect())
    }

    /// Makes the engine work on what is held, and on nothing else.
    async fn follow(&self, owned: &BTreeMap<AppId, Fence>, held: &BTreeMap<AppId, Fence>) {
        let lost: Vec<AppId> =
            owned.iter().filter(|(app, _)| !held.contains_key(*app)).map(|(app, _)| *app).collect();
        if !lost.is_empty() {
            warn!(apps = lost.len(), "apps of this process were taken by others, or deleted");
            self.drain(&lost).await;
        }
        for (app, fence) in held.iter().filter(|(app, fence)| owned.get(*app) != Some(*fence)) {
            self.engine.own(*app, *fence);
        }
    }

    /// Releases the apps whose work the database refuses although this process holds them: their next owner has a fence with
    /// which it is accepted.
    async fn release_fenced(&self, held: &BTreeMap<AppId, Fence>) -> Result<(), StoreError> {
        let fenced: Vec<AppId> =
            self.engine.fenced().into_iter().filter(|app| held.contains_key(app)).collect();
        self.hand_over(&fenced).await
    }

    /// Returns the processes that apps can belong to, in order. One that is certainly gone is none of them.
    async fn candidates(&self) -> Result<Vec<ProcessId>, StoreError> {
        let mut candidates = Vec::new();
        for process in self.store.processes().alive().await? {
            if identity::is_gone(&self.process, &process.machine, process.pid) {
                info!(process = process.process_id, "a process of this machine is gone");
                self.store.processes().expire(process.incarnation).await?;
            } else if !process.is_stopping {
                candidates.push(process.process_id.into());
            }
        }
        Ok(candidates)
    }

    async fn take(&self, wanted: &[Take]) -> Result<(), StoreError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let reasons: HashMap<AppId, _> = wanted.iter().map(|lease| (lease.app, lease.reason)).collect();
        let taken = self.store.leases().take(self.process.incarnation, wanted).await?;
        for (app, fence) in &taken {
            let reason = reasons[app];
            metrics::takeovers(reason).increment(1);
            debug!(app.id = %app, fence = fence.0, reason = reason.as_str(), "an app was taken");
            self.engine.own(*app, *fence);
        }
        if taken.is_empty() {
            return Ok(());
        }
        info!(apps = taken.len(), "this process works on more apps now");
        self.engine.take_up_pending().await
    }

    /// Ends the work on apps and releases their leases.
    async fn hand_over(&self, apps: &[AppId]) -> Result<(), StoreError> {
        if apps.is_empty() {
            return Ok(());
        }
        info!(apps = apps.len(), "apps are handed over");
        self.drain(apps).await;
        self.store.leases().release(self.process.incarnation, apps).await
    }

    async fn drain(&self, apps: &[AppId]) {
        let drained = join_all(apps.iter().map(|app| self.engine.give_up(*app)));
        if timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            warn!("the work on some apps takes long to end");
        }
    }

    /// Registers again, after this process was taken for dead for so long that it was removed.
    async fn rejoin(&self) -> Result<(), StoreError> {
        let owned: Vec<AppId> = self.engine.owned().into_iter().map(|(app, _)| app).collect();
        self.drain(&owned).await;
        match self.store.processes().register(&self.process, LEASE).await? {
            Registered::Done => Ok(()),
            Registered::NameTaken { .. } => Err(StoreError::Conflict(format!(
                "another process is called {} by now; this one works on no app",
                self.process.process_id
            ))),
        }
    }

    /// Looks after what no round does.
    async fn tidy(&self) -> Result<(), StoreError> {
        self.store.leases().add_missing().await?;
        self.store.processes().remove_dead(DEAD_TIMEOUT).await
    }
}
