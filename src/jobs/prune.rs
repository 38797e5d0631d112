//! Removes what is older than its retention. Nothing is removed while the clock may be wrong.

use std::sync::Arc;

use cti_actors::{clock::Clock, error::StoreError};
use tracing::{info, warn};

use super::periodic::{every, periodic_once};
use crate::{
    config::Retention,
    recovery::traffic,
    store::{
        Store,
        retention::{Pace, Pruned, PrunedCalls},
    },
};

pub(super) async fn run(store: Store, clock: Arc<dyn Clock>, retention: Retention) {
    let ticks = every(retention.interval);
    let pruning = Pruning { store: store.clone(), clock, retention, waits: false, feeds_ahead: 0 };
    periodic_once(store, "prune", ticks, pruning, |pruning| Box::pin(pruning.prune())).await;
}

struct Pruning {
    store: Store,
    clock: Arc<dyn Clock>,
    retention: Retention,
    /// Whether the last run removed nothing because the clock may be wrong.
    waits: bool,
    /// Of how many feeds the last run removed nothing, because their newest event is ahead of the clock.
    feeds_ahead: u64,
}

impl Pruning {
    /// Removes each kind of old rows, also when another kind could not be removed.
    async fn prune(&mut self) -> Result<(), StoreError> {
        let waits = !self.clock.is_steady();
        if std::mem::replace(&mut self.waits, waits) != waits {
            match waits {
                true => warn!("the clock may be wrong: nothing is removed for its age"),
                false => info!("the clock is steady again: what is too old is removed"),
            }
        }
        if waits {
            return Ok(());
        }
        let keys = self.store.idempotency().prune().await;
        let authorizations = self.store.oauth_sessions().prune().await;
        let console = self.store.console_endings().prune().await;
        let hours = self.store.webhook_hours().prune(traffic::oldest_hour(self.clock.now())).await;
        let processed = self.prune_processed().await;
        let unrouted = self.prune_unrouted().await;
        let calls = self.prune_calls().await;
        processed.and(unrouted).and(calls).and(keys).and(authorizations).and(console).and(hours)?;
        self.store.retention().completed();
        Ok(())
    }

    async fn prune_processed(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Retention { events, journal, .. } = self.retention;
        let pace = Pace::default();
        let pruned = self.store.retention().prune(now - events, now - journal, &pace).await?;
        let Pruned { events, webhooks, feeds_ahead } = pruned;
        if events > 0 || webhooks > 0 {
            info!(events, webhooks, "old events and webhooks were removed");
        }
        if std::mem::replace(&mut self.feeds_ahead, feeds_ahead) != feeds_ahead {
            warn!(
                feeds = feeds_ahead,
                "feeds whose newest event is ahead of the clock: nothing of them is removed"
            );
        }
        Ok(())
    }

    async fn prune_unrouted(&self) -> Result<(), StoreError> {
        let before = self.clock.now() - self.retention.unrouted;
        let webhooks = self.store.retention().prune_unrouted(before, &Pace::default()).await?;
        if webhooks > 0 {
            warn!(webhooks, "unrouted webhooks were removed because no app took them in time");
        }
        Ok(())
    }

    async fn prune_calls(&self) -> Result<(), StoreError> {
        let Some(kept) = self.retention.calls else { return Ok(()) };
        let before = self.clock.now() - kept;
        let pruned = self.store.retention().prune_calls(before, &Pace::default()).await?;
        if pruned != PrunedCalls::default() {
            let PrunedCalls { calls, interactions, voicemails, messages } = pruned;
            info!(calls, interactions, voicemails, messages, "old calls and messages were removed");
        }
        Ok(())
    }
}
