//! The way to the token refresher, which is started again where it has died.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Addr};
use actix_rt::ArbiterHandle;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::token_refresher::{Drain, RefresherStats, Renew, RenewDue, TokenRefresher, UpdateFeed};
use crate::{
    error::StoreError,
    model::token::{Outcome, TokenPair},
    ports::Ports,
    state::TokenRefresherState,
};

/// The address of the refresher, and what it is started with.
pub(super) struct RefresherHandle {
    setup: RefresherSetup,
    /// Replaced when it has died.
    current: Mutex<Addr<TokenRefresher>>,
    /// Once cancelled, a refresher that has ended is not started again.
    stopping: CancellationToken,
    stats: Arc<RefresherStats>,
    restarts: AtomicUsize,
}

/// What a refresher is started with, as often as needed.
pub(super) struct RefresherSetup {
    pub(super) ports: Ports,
    pub(super) update_feed: UpdateFeed,
    pub(super) check_interval: Duration,
    /// The thread that it runs on.
    pub(super) arbiter: ArbiterHandle,
}

impl RefresherSetup {
    fn start(&self, stats: &Arc<RefresherStats>) -> Addr<TokenRefresher> {
        let refresher = TokenRefresher::new(
            self.ports.clone(),
            self.update_feed.clone(),
            self.check_interval,
            Arc::clone(stats),
        );
        TokenRefresher::start_in_arbiter(&self.arbiter, |_| refresher)
    }
}

impl RefresherHandle {
    pub(super) fn start(setup: RefresherSetup, stopping: CancellationToken) -> Self {
        let stats = Arc::default();
        let current = Mutex::new(setup.start(&stats));
        Self { setup, current, stopping, stats, restarts: AtomicUsize::new(0) }
    }

    /// Starts the refresher again if it has died, and returns its address.
    pub(super) fn revive(&self) -> Addr<TokenRefresher> {
        let mut current = self.current.lock();
        if !current.connected() && !self.stopping.is_cancelled() {
            warn!("the token refresher has died and is started again");
            self.restarts.fetch_add(1, Ordering::Relaxed);
            *current = self.setup.start(&self.stats);
        }
        current.clone()
    }

    /// Renews a pair of tokens and returns the outcome.
    pub(super) async fn renew(&self, pair: TokenPair) -> Result<Outcome, StoreError> {
        let interrupted = |_| StoreError::Unavailable("the renewal was interrupted".into());
        self.revive().send(Renew(pair)).await.map_err(interrupted)?
    }

    /// Renews the tokens that are due now.
    pub(super) async fn renew_due(&self) {
        // An error means that the refresher has died; the next sweep starts it again.
        let _ = self.revive().send(RenewDue).await;
    }

    pub(super) fn state(&self) -> TokenRefresherState {
        TokenRefresherState {
            renewals_in_progress: self.stats.renewals.get(),
            restarts: self.restarts.load(Ordering::Relaxed),
            last_error: self.stats.last_error.lock().clone(),
        }
    }

    /// Completes the renewals under way and ends the refresher.
    pub(super) async fn drain(&self) {
        let current = self.current.lock().clone();
        // An error means that the refresher has ended already.
        let _ = current.send(Drain).await;
    }
}
